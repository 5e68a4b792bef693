"""Turns the docstrings of rill.core into the page reference.md.

Sphinx's autodoc does not know the function type of nanobind, whose docstrings begin with the
signatures.
"""

import inspect
import re
import types

import rill.core
from sphinx.ext.napoleon import Config, GoogleDocstring

MARK = ".. generated from rill.core by reference.py"
SIGNATURE = re.compile(r"^(\w+)(\(.*\))( -> .*)?$")
MODULES = ("", "random", "linalg", "fft", "fast", "distributed", "cuda", "metal")


def fill(app, name, source):
    """Puts the generated text where reference.md has its mark (an event of Sphinx)."""
    if name == "reference":
        source[0] = source[0].replace(MARK, "\n".join(page()))


def page():
    """Returns the lines of the reference, as reStructuredText."""
    lines = []
    for module in MODULES:
        holder = getattr(rill.core, module, None) if module else rill.core
        if holder is None:
            continue
        lines += [f".. rubric:: rill.core{'.' * bool(module)}{module}", ""]
        for name in sorted(vars(holder), key=str.lower):
            value = getattr(holder, name)
            if not name.startswith("_") and not isinstance(value, types.ModuleType):
                lines += entry(f"{module}.{name}".lstrip("."), value)
    return lines


def entry(name, value):
    """Returns the lines of a function, a class or a constant."""
    if inspect.isclass(value):
        return class_entry(name, value)
    if callable(value):
        return function_entry("function", name, value)
    return [f".. py:data:: {name}", f"   :value: {value!r}", ""]


def class_entry(name, value):
    lines = [f".. py:class:: {name}", "", *indented(documentation(inspect.getdoc(value)))]
    for member in sorted(vars(value)):
        if member.startswith("_"):
            continue
        item = inspect.getattr_static(value, member)
        if isinstance(item, property):
            text = documentation(item.__doc__)
            lines += indented([f".. py:property:: {member}", "", *indented(text)])
        elif callable(item):
            lines += indented(function_entry("method", member, item))
    return lines


def function_entry(kind, name, function):
    """Returns a directive with all signatures of a function, and its text."""
    text = (function.__doc__ or "").split("\n")
    signatures = []
    while text and (match := SIGNATURE.match(text[0])):
        signatures.append(simple(match[2]) + (match[3] or ""))
        text = text[1:]
    first, *others = signatures or ["()"]
    lead = f".. py:{kind}:: "
    heads = [f"{lead}{name}{first}", *(" " * len(lead) + name + s for s in others)]
    return [*heads, "", *indented(documentation("\n".join(text)))]


def simple(signature):
    """Leaves out `self`, and defaults that are no Python expression."""
    signature = re.sub(r"^\(self(: [\w.]+)?(, /)?(, )?", "(", signature)
    return re.sub(r"=\s*<[^>]*>", "=...", signature)


def documentation(text):
    """Returns the lines of a docstring; bars and stars are no markup of reStructuredText."""
    text = re.sub(
        r"^(?!\s*(?:>>>|\.\.\.)).*$",
        lambda line: re.sub(r"\||(?<!`)\*(?=\*?\w)", r"\\\g<0>", line[0]),
        text or "",
        flags=re.M,
    )
    config = Config(napoleon_use_rtype=False, napoleon_use_param=True)
    return str(GoogleDocstring(inspect.cleandoc(text), config)).splitlines() + [""]


def indented(lines):
    return ["   " + line if line else "" for line in lines]
