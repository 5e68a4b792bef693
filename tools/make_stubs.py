"""Writes the stubs of the extension module rill.core: a folder core/ beside the compiled file.

usage: make_stubs.py path/to/rill/core.*.so
"""

import ast
import importlib.util
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


def stub_of(module: types.ModuleType) -> str:
    generator = StubGen(module, quiet=True)
    generator.put(module)
    return with_late_annotations(generator.get())


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
