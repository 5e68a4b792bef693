"""Runs clang-tidy on the sources that changed since it last passed on them.

A source is known by a hash of its text, of .clang-tidy and of its own headers (those of the same
folder that it includes): a change of a header far below checks the files beside it, not the world.

usage: tidy.py [--seconds N] [--build build/release]
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+"(rill/[^"]+)"', re.MULTILINE)
OURS = ("rill/", "python/src/", "tests/cpp/", "examples/")
# Without precompiled headers, which clang cannot read from GCC; Highway for one target only.
DROPPED = ("-Winvalid-pch", "-fpch-preprocess", "-mtls-dialect=")
ADDED = ["-DHWY_COMPILE_ONLY_STATIC", "-Wno-unknown-warning-option"]


def arguments_of(entry: dict) -> list[str]:
    """The compile command of an entry, as clang-tidy can use it."""
    words = shlex.split(entry["command"])
    words = words[next(i for i, word in enumerate(words) if word.endswith("++")) :]
    kept: list[str] = []
    skip = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if skip:
            skip = False
        elif word == "-include" and "cmake_pch" in following:
            skip = True
        elif not word.startswith(DROPPED):
            kept.append(word)
    return kept + ADDED


def digest(source: Path) -> str:
    text = source.read_text()
    beside = [ROOT / name for name in INCLUDE.findall(text)]
    parts = [source, ROOT / ".clang-tidy", Path(__file__)]
    parts += [path for path in beside if path.parent == source.parent and path.is_file()]
    state = hashlib.sha256()
    for path in parts:
        state.update(path.read_bytes())
    return state.hexdigest()


def check(source: Path, build: Path) -> str:
    """The complaints about a source; empty if there are none."""
    command = ["clang-tidy", "--quiet", "-p", str(build), str(source)]
    command.append(f"--header-filter={re.escape(str(source.parent))}/")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    options = parser.parse_args()

    folder = ROOT / "build/tidy"
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {"directory": entry["directory"], "file": entry["file"], "arguments": arguments_of(entry)}
        for entry in json.loads((options.build / "compile_commands.json").read_text())
        if os.path.relpath(entry["file"], ROOT).startswith(OURS)
    ]
    (folder / "compile_commands.json").write_text(json.dumps(entries, indent=1))

    passed = {path.name for path in folder.glob("*.passed")}
    sources = {Path(entry["file"]) for entry in entries}
    waiting = [path for path in sources if f"{digest(path)}.passed" not in passed]
    waiting.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    deadline = time.monotonic() + options.seconds
    failed = left = 0

    def work(source: Path) -> str | None:
        before = digest(source)
        if time.monotonic() > deadline:
            return None
        complaint = check(source, folder)
        if not complaint:
            (folder / f"{before}.passed").touch()
        return complaint

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for complaint in pool.map(work, waiting):
            left += complaint is None
            if complaint:
                failed += 1
                print(complaint, file=sys.stderr)
    print(f"clang-tidy: {len(waiting) - left} of {len(sources)} sources checked, {failed} failed")
    if left:
        print(f"clang-tidy: {left} left for the next run (make lint checks all)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
