"""The examples in README.md and docs/ run and print what they say.

A block ```python with prompts is a doctest, without them a program. The blocks of a file share
their names, in order. `<!-- not run -->` before a block leaves it out.
"""

import doctest
import re
from pathlib import Path

import pytest
from support import IS_RILL, mx

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(<!-- not run -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIGURES = re.compile(r"<!-- figures: begin[^>]*-->\n.*?<!-- figures: end -->", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

pytestmark = pytest.mark.skipif(not IS_RILL, reason="the documentation of Rill")


def relative(path):
    return str(path.relative_to(ROOT))


def blocks(path):
    """Yields (line number, code) of the blocks that are to run."""
    text = path.read_text()
    for match in BLOCK.finditer(text):
        if not match[1]:
            yield text.count("\n", 0, match.start(2)) + 1, match[2]


@pytest.mark.parametrize("path", [p for p in FILES if any(blocks(p))], ids=relative)
def test_the_examples_run(path):
    names = {}
    runner = doctest.DocTestRunner()
    for line, code in blocks(path):
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, path.name, str(path), line - 1)
            report = []
            runner.run(test, out=report.append, clear_globs=False)
            assert not report, "".join(report)
            names.update(test.globs)
        else:
            exec(compile("\n" * (line - 1) + code, str(path), "exec"), names)
    names.clear()
    mx.synchronize()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_what_is_linked_is_there(path):
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", FILES[:1] + [ROOT / "docs" / "benchmarks.md"], ids=relative)
def test_there_is_a_place_for_the_figures(path):
    assert len(FIGURES.findall(path.read_text())) == 1
