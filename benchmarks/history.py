"""Draws the history of the kept records: the mean ratio to the best peer, and each group's.

    python benchmarks/history.py [RESULTS] [PICTURE]

Only records of all cases count (a picked few would shift the mean). Needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

sys.dont_write_bytecode = True  # benchmarks/ stays clean

import cases  # noqa: E402
import report  # noqa: E402

HERE = Path(__file__).resolve().parent


def series(folder: Path) -> dict[tuple[str, str], list[tuple[datetime, float]]]:
    """Returns, per (machine, group), the geometric means by date; the group "all" is everything."""
    lines: dict[tuple[str, str], list[tuple[datetime, float]]] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        rows = report.judge(record)
        if len(rows) < 0.9 * len(cases.CASES):
            continue
        machine = f"{record['processor']}, {record['cores']} cores, {record['device']}"
        date = datetime.strptime(record["date"], "%Y-%m-%d %H:%M")
        for group in ("all", *dict.fromkeys(row.case.group for row in rows)):
            mean = report.geometric_mean([r for r in rows if group in ("all", r.case.group)])
            if mean is not None:
                lines.setdefault((machine, group), []).append((date, mean))
    return lines


def draw(lines: dict, path: Path) -> None:
    """Draws one panel per machine."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    machines = list(dict.fromkeys(machine for machine, _ in lines))
    figure, panels = plt.subplots(len(machines), 1, figsize=(9, 4.2 * len(machines)),
                                  layout="constrained", squeeze=False)  # fmt: skip
    for machine, axes in zip(machines, panels[:, 0], strict=True):
        for (where, group), points in lines.items():
            if where == machine:
                style = {"color": "black", "linewidth": 2.4} if group == "all" else {"alpha": 0.8}
                axes.plot(*zip(*points, strict=True), marker=".", label=group, **style)
        axes.axhline(1, color="#888888", linewidth=0.8)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.set_ylabel("Rill to the best peer")
        axes.set_title(machine, fontsize=10, loc="left")
        axes.legend(fontsize=8, ncols=2, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=140)
    plt.close(figure)


def main() -> int:
    """Draws results/history.png, or what the arguments say."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results"
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else folder / "history.png"
    lines = series(folder)
    if not lines:
        print(f"{folder} has no record of all cases with Rill and a peer", file=sys.stderr)
        return 1
    draw(lines, picture)
    print(f"written: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
