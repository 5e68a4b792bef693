"""Writes the stubs of the extension module rill.core: a folder core/ beside the compiled file.

usage: make_stubs.py path/to/rill/core.*.so
"""

import ast
import importlib.util
import re
import sys
import types
from pathlib import Path

from nanobind.stubgen import StubGen


def load(extension: Path) -> types.ModuleType:
    """Imports the extension as rill.core without running rill/__init__.py."""
    package = types.ModuleType("rill")
    package.__path__ = [str(extension.parent)]
    sys.modules["rill"] = package
    spec = importlib.util.spec_from_file_location("rill.core", extension)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rill.core"] = package.core = module
    spec.loader.exec_module(module)
    return module


def submodules(module: types.ModuleType):
    prefix = module.__name__ + "."
    for name, value in sorted(vars(module).items()):
        if isinstance(value, types.ModuleType) and value.__name__ == prefix + name:
            yield name, value


def with_late_annotations(text: str) -> str:
    """For the tools that execute a stub, as documentation makers do."""
    documented = ast.get_docstring(ast.parse(text)) is not None
    line = ast.parse(text).body[0].end_lineno if documented else 0
    lines = text.splitlines()
    lines[line:line] = ["", "from __future__ import annotations", ""]
    return "\n".join(lines).lstrip() + "\n"


# Names that the signatures use, beyond those that the module has.
ALIASES = """
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeAlias, overload

class DLPackCompatible(Protocol):
    def __dlpack__(self, *, stream: Any = None) -> Any: ...

scalar: TypeAlias = bool | int | float | complex
list_or_scalar: TypeAlias = list[Any] | scalar
StreamOrDevice: TypeAlias = Stream | ThreadLocalStream | Device | DeviceType | None
"""
# Types for a submodule: those of the module.
SHARED = """
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rill.core import Device, DeviceType, Dtype, StreamOrDevice, array, scalar
"""
# What CPython says of the slots of operators has no types.
OPERATOR = re.compile(
    r"^    def (__\w+__)\(self(?:, (value|mod=None|value, mod=None))?, /\):", re.M
)
COMPARISONS = {"__eq__", "__ne__"}
NAMED_TUPLE = re.compile(
    r'^class (\w+)\(tuple\):\n((?:    """(?:.|\n)*?"""\n)?)\n    __slots__.*\n\n'
    r"    __match_args__.*\n((?:\n    \w+: _collections\._tuplegetter = \.\.\.\n)+)",
    re.M,
)


def typed_operator(match: re.Match) -> str:
    name, argument = match[1], match[2]
    if argument is None:
        return f"    def {name}(self) -> array:"
    other = "other: object" if name in COMPARISONS else "other: scalar | array | ArrayLike"
    return f"    def {name}(self, {other}, /) -> array:"


def named_tuple(match: re.Match) -> str:
    fields = re.sub(r"_collections\._tuplegetter = \.\.\.", "array", match[3])
    return f"class {match[1]}(NamedTuple):\n{match[2]}{fields}"


def with_types(text: str, names: str) -> str:
    """With the types that nanobind cannot know, and the names that the signatures use."""
    text = OPERATOR.sub(typed_operator, text)
    text = NAMED_TUPLE.sub(named_tuple, text)
    text = text.replace("StreamOrDevice | None", "StreamOrDevice").replace(
        "import _collections\n", ""
    )
    late = "from __future__ import annotations\n"
    return text.replace(late, late + names, 1)


def stub_of(module: types.ModuleType) -> str:
    generator = StubGen(module, quiet=True)
    generator.put(module)
    names = ALIASES if module.__name__ == "rill.core" else SHARED
    return with_types(with_late_annotations(generator.get()), names)


def main() -> None:
    extension = Path(sys.argv[1]).resolve()
    core = load(extension)
    folder = extension.parent / "core"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.pyi"):
        old.unlink()
    for name, module in submodules(core):
        (folder / f"{name}.pyi").write_text(stub_of(module))
    (folder / "__init__.pyi").write_text(stub_of(core))


if __name__ == "__main__":
    main()
