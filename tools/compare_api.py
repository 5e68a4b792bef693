"""Compares Rill's names and signatures with a list of those of MLX.

usage: PYTHONPATH=python tools/compare_api.py LIST [--strict] [SECTION ...]

LIST is Markdown: a heading `## core.random (13)` for each module or class, then one line for each
name, `- name(parameters) -> type`, `- class name(parameters)`, or `- constant: a, b = 1`. Sections
are core and core.* unless some are named. Reported is whatever would make a call that MLX takes
fail or mean something else in Rill, and types that Rill leaves open; --strict also reports what
Rill takes beyond the list. The exit status is 1 when there is something to report.
"""

import argparse
import importlib
import inspect
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

HEADING = re.compile(r"^## ([\w.()]+) \(\d+\)$")
CONSTANTS = re.compile(r"^- (?:constant|dtype|property|class \(no signature\)): (.*)$")
SIGNATURE = re.compile(r"^- (?:class )?(\w+)(\(.*)$")
OPEN, CLOSE = "([{", ")]}"
# Kinds of parameters, as inspect orders them.
POSITIONAL, EITHER, REST, NAMED, NAMES = range(5)


@dataclass
class Parameter:
    name: str
    kind: int
    default: str | None = None


@dataclass
class Signature:
    parameters: list
    returns: str | None


def split_top(text, mark):
    """Splits at each `mark` outside brackets and quotes."""
    parts, depth, quote = [""], 0, None
    for letter in text:
        quote = None if letter == quote else quote or (letter if letter in "'\"" else None)
        depth += (letter in OPEN) - (letter in CLOSE)
        if letter == mark and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def parse(text):
    """The signature of `(a: type = 1, /, *, b) -> type`."""
    depth = 0
    for end, letter in enumerate(text):
        depth += (letter in OPEN) - (letter in CLOSE)
        if depth == 0:
            break
    returns = text[end + 1 :].partition("->")[2].strip() or None
    parameters, kind = [], EITHER
    for part in split_top(text[1:end], ","):
        if part == "/":
            for earlier in parameters:
                earlier.kind = POSITIONAL
        elif part.startswith("**"):
            parameters.append(Parameter(part[2:].split(":")[0], NAMES))
        elif part.startswith("*"):
            kind = NAMED
            if part != "*":
                parameters.append(Parameter(part[1:].split(":")[0], REST))
        elif part:
            head, *default = split_top(part, "=")
            name = split_top(head, ":")[0]
            unnamed = re.fullmatch(r"arg\d*", name)  # what nanobind calls it
            way = POSITIONAL if unnamed else kind
            parameters.append(Parameter(name, way, default[0] if default else None))
    return Signature([p for p in parameters if p.name != "self"], returns)


def read_list(path):
    """{section: {name: [signatures], empty for what has none}}"""
    sections, names = {}, {}
    for line in path.read_text().splitlines():
        if heading := HEADING.match(line):
            names = sections.setdefault(heading[1], {})
        elif constants := CONSTANTS.match(line):
            for name in constants[1].split(", "):
                names.setdefault(re.split(r"[ (]", name)[0], [])
        elif found := SIGNATURE.match(line):
            names.setdefault(found[1], []).append(parse(found[2]))
    return sections


def written(value):
    """A default as the list writes it."""
    text = re.sub(r"^(?:rill|mlx)\.core\.", "", repr(value))
    if isinstance(value, tuple):
        text = "[" + text[1:-1].rstrip(",") + "]"
    return re.sub(r"\b(?:rill|mlx)\.core\.", "", text)


def signatures_of(value):
    """The signatures of a function or class of Rill; none where it does not tell them."""
    if inspect.isclass(value):
        value = value.__dict__.get("__init__", value)
    if isinstance(value, types.WrapperDescriptorType):
        return []  # an operator: Python knows how it is called
    stored = getattr(value, "__nb_signature__", None)
    if stored is None:
        try:
            return [parse(str(inspect.signature(value)))]
        except (TypeError, ValueError):
            return []
    result = []
    for text, _, defaults in stored:
        text = re.sub(r"\\(\d+)", lambda m: written(defaults[int(m[1])]), text)
        text = text.strip().splitlines()[-1]
        result.append(parse(text[text.index("(") :].rstrip(":")))
    return result


def same_default(a, b):
    if a == b:
        return True
    plain = [
        re.sub(r"[\s'\"]", "", text or "").replace("(", "[").replace(")", "]") for text in (a, b)
    ]
    if plain[0] == plain[1]:
        return True
    try:
        return float(plain[0]) == float(plain[1])
    except ValueError:
        return False


def differences(theirs, ours, strict):
    """What a caller of `theirs` would find different in `ours`."""
    found = []
    by_name = {p.name: p for p in ours.parameters}
    places = [p.name for p in ours.parameters if p.kind in (POSITIONAL, EITHER)]
    rest = {p.kind for p in ours.parameters}
    place = 0
    for p in theirs.parameters:
        if p.kind in (REST, NAMES):
            if p.kind not in rest:
                found.append(f"takes no {'*' * (1 + (p.kind == NAMES))}{p.name}")
            continue
        mine = by_name.pop(p.name, None)
        if p.kind in (POSITIONAL, EITHER):
            if place >= len(places):
                found.append(f"`{p.name}` is not taken by position {place}")
            elif places[place] != p.name and (p.kind == EITHER or strict):
                found.append(f"`{p.name}` is `{places[place]}` at position {place}")
            if mine is None and p.kind == POSITIONAL and place < len(places):
                mine = by_name.pop(places[place], None)
            place += 1
        if mine is None:
            found.append(f"no parameter `{p.name}`")
            continue
        if mine.kind == POSITIONAL and p.kind != POSITIONAL:
            found.append(f"`{p.name}` is not taken by name")
        if p.default is not None and not same_default(p.default, mine.default):
            found.append(f"`{p.name}` defaults to {mine.default}, not {p.default}")
        if strict and (mine.kind != p.kind or (p.default is None) != (mine.default is None)):
            found.append(f"`{p.name}` is taken in more ways")
    for extra in by_name.values():
        if extra.kind not in (REST, NAMES) and (strict or extra.default is None):
            found.append(f"`{extra.name}` is not in the list")
    vague = ours.returns in (None, "object") and theirs.returns not in (None, "object")
    if vague and not strict and theirs.returns != "None":
        found.append(f"returns {ours.returns}, not {theirs.returns}")
    return found


def resolve(section):
    """The module or class of a section, or None."""
    module, *rest = section.split(".")
    try:
        value = importlib.import_module(f"rill.{module}")
    except ImportError:
        return None
    for name in rest:
        value = getattr(value, name, None)
    return value


def compare(section, names, strict):
    """The lines to report of a section."""
    holder = resolve(section)
    if holder is None:
        return [f"{section}: missing"]
    lines = []
    for name, theirs in names.items():
        if not hasattr(holder, name):
            lines.append(f"{section}.{name}: missing")
            continue
        ours = signatures_of(inspect.getattr_static(holder, name))
        for signature in theirs if ours else []:
            options = [differences(signature, mine, strict) for mine in ours]
            lines += [f"{section}.{name}: {text}" for text in min(options, key=len)]
    if strict:
        public = {name for name in vars(holder) if not name.startswith("_")}
        lines += [f"{section}.{name}: not in the list" for name in sorted(public - names.keys())]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("sections", nargs="*")
    parser.add_argument("--strict", action="store_true", help="report what Rill takes beyond it")
    options = parser.parse_args()
    sections = read_list(options.list)
    chosen = options.sections or [s for s in sections if s.split(".")[0] == "core"]
    lines = [line for s in chosen for line in compare(s, sections[s], options.strict)]
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{len(lines)} differences in {len(chosen)} sections", file=sys.stderr)
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
