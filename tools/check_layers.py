"""Checks that each #include in rill/ names a header of its own folder or of a lower layer."""

import re
import sys
from pathlib import Path

# From the lowest up. Folders of one row do not see each other.
LAYERS = [
    ["base"],
    ["memory"],
    ["graph"],
    ["ops"],
    ["transforms"],
    ["runtime"],
    ["cpu", "cuda", "null", "io", "distributed"],
]

# (file, included header): the reason why this one may point the other way.
EXCEPTIONS: dict[tuple[str, str], str] = {}

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
LEVEL = {folder: level for level, row in enumerate(LAYERS) for folder in row}


def may_include(folder: str, other: str) -> bool:
    return folder == other or LEVEL[other] < LEVEL[folder]


def errors_in(path: Path, used: set[tuple[str, str]]):
    file = path.relative_to(ROOT).as_posix()
    folder = file.split("/")[1]
    text = path.read_text()
    if folder not in LEVEL:
        yield f"{file}: the folder rill/{folder} is not in LAYERS"
        return
    if path.suffix == ".h" and "#pragma once" not in text and not file.endswith("-inl.h"):
        yield f"{file}: has no #pragma once"
    for header in INCLUDE.findall(text):
        other = header.split("/")[1] if header.startswith("rill/") else None
        if other not in LEVEL or not (ROOT / header).is_file():
            yield f'{file}: "{header}" is not a file of a layer (write rill/<folder>/<file>)'
        elif (file, header) in EXCEPTIONS:
            used.add((file, header))
        elif not may_include(folder, other):
            yield f'{file}: "{header}" is of rill/{other}, which does not stand below rill/{folder}'


def main() -> int:
    used: set[tuple[str, str]] = set()
    files = [
        path
        for pattern in ("*.h", "*.cpp", "*.def", "*.cu", "*.cuh")
        for path in sorted((ROOT / "rill").glob(f"*/**/{pattern}"))
    ]
    errors = [error for path in files for error in errors_in(path, used)]
    errors += [
        f"{file}: needs no exception for {header}" for file, header in EXCEPTIONS.keys() - used
    ]
    for error in errors:
        print(f"check_layers: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
