"""Puts a record of benchmarks/run.py into docs/benchmarks.md, and a selection into README.md.

usage: publish_figures.py benchmarks/results/RECORD.json
"""

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import report  # noqa: E402

BEGIN, END = "<!-- figures: begin (tools/publish_figures.py) -->", "<!-- figures: end -->"
PICTURE = "images/benchmarks.png"
SELECTION = (
    "a + b of one element, evaluated",
    "100 operations on 16 elements, evaluated once",
    "1,000 additions built, not evaluated",
    "add 16M",
    "exp 16M",
    "exact gelu, compiled where there is a compiler, 16M",
    "sum all 16M",
    "softmax 4096",
    "matmul f32 2048",
    "matmul bf16 2048",
    "sort 4M",
    "random uniform 16M",
    "1,000 additions of 16 elements, alternating between two streams",
    "two chains of 200 sines of 16k, one stream",
    "two chains of 200 sines of 16k, a stream each",
)


def put(path: Path, fragment: str) -> None:
    """Replaces what stands between the two marks of a file."""
    between = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    text = f"{BEGIN}\n{fragment.strip()}\n{END}"
    path.write_text(between.sub(lambda _: text, path.read_text(), count=1))


def selected(record: dict) -> str:
    """Returns the table of the README: Rill, the best peer, and the machine's limit."""
    lines = ["| case | Rill | best peer | | ratio | limit |", "|---|---|---|---|---|---|"]
    for row in report.judge(record):
        if row.case.name not in SELECTION or "rill" not in row.ms:
            continue
        best = (
            (report.milliseconds(row.ms[row.best]), report.NAMES[row.best])
            if row.best
            else ("", "")
        )
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        cells = (row.case.name, report.milliseconds(row.ms["rill"]), *best, ratio)
        lines.append(f"| {' | '.join(cells)} | {report.milliseconds(row.limit_ms)} |")
    machine = f"{record['date']}, {record['cores']} cores of {record['processor']}."
    return "\n".join([machine, "", *lines])


def main() -> None:
    path = Path(sys.argv[1])
    record = json.loads(path.read_text())
    drawn = path.with_suffix(".png")
    if drawn.exists():
        shutil.copyfile(drawn, ROOT / "docs" / PICTURE)
    rows = report.judge(record)
    whole = report.markdown(record, rows, PICTURE if drawn.exists() else "")
    put(ROOT / "docs" / "benchmarks.md", whole)
    put(ROOT / "README.md", selected(record))


if __name__ == "__main__":
    main()
