"""Judges a record against the marks, and shows it as text, Markdown and a picture.

`python report.py RECORD.json` makes the Markdown and the picture of a record again.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from case import FRAMEWORKS, PEERS, Case
from cases import BY_NAME

NAMES = {"rill": "Rill", "mlx": "MLX", "torch": "PyTorch", "jax": "JAX", "numpy": "NumPy"}


@dataclass(frozen=True)
class Row:
    """A case judged: `passed` is None where Rill or all that it is held against is missing."""

    case: Case
    ms: dict[str, float]
    limit_ms: float | None
    best: str | None
    ratio: float | None
    limit_ratio: float | None
    passed: bool | None

    def mark(self) -> str:
        """States the conditions of the mark, such as "<= 0.4 best, <= 1.5 limit"."""
        mark, parts = self.case.mark, []
        if mark.under_ms is not None:
            parts.append(f"< {mark.under_ms:g} ms")
        if mark.ratio is not None:
            parts.append(f"<= {mark.ratio:g} best")
        if mark.limit_ratio is not None:
            parts.append(f"<= {mark.limit_ratio:.3g} limit")
        if mark.against is not None:
            parts.append(f"<= {mark.against[1]:.3g} one stream")
        return ", ".join(parts)


def judge(record: dict) -> list[Row]:
    """Returns a row per case of the record that the table still has."""
    results = record["cases"]
    times = {name: result["ms"] for name, result in results.items()}
    gpu = record["device"] == "gpu"
    return [
        _row(BY_NAME[name], result["ms"], _limit(BY_NAME[name], result, record), times, gpu)
        for name, result in results.items()
        if name in BY_NAME
    ]


def _limit(case: Case, result: dict, record: dict) -> float | None:
    """Returns the limit measured beside the case; old records have one for all cases."""
    if not case.limit or record["device"] == "gpu":
        return None
    figure = result.get("limit") or record["limits"].get(case.limit.kind)
    return case.limit.ms(figure) if figure else None


def _row(case: Case, ms: dict, limit: float | None, times: dict, gpu: bool) -> Row:
    peers = [name for name in PEERS if name in ms]
    best = min(peers, key=ms.__getitem__, default=None)
    rill = ms.get("rill")
    ratio = rill / ms[best] if rill and best else None
    limit_ratio = rill / limit if rill and limit else None
    mark, held = case.mark, []
    if mark.ratio is not None or gpu:
        held.append((ratio, 1.0 if gpu else mark.ratio))
    held.append((rill, mark.under_ms))
    held.append((limit_ratio, mark.limit_ratio))
    if mark.against:
        other = times.get(mark.against[0], {}).get("rill")
        held.append((rill / other if rill and other else None, mark.against[1]))
    verdicts = [value <= bound for value, bound in held if value is not None and bound is not None]
    return Row(case, ms, limit, best, ratio, limit_ratio, all(verdicts) if verdicts else None)


def geometric_mean(rows: list[Row]) -> float | None:
    """Returns the mean ratio of Rill to the best peer, or None without any."""
    logs = [math.log(row.ratio) for row in rows if row.ratio]
    return math.exp(sum(logs) / len(logs)) if logs else None


def milliseconds(value: float | None) -> str:
    """Formats three significant digits, without an exponent."""
    if value is None:
        return ""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _cells(row: Row, bold: str, unbold: str, columns: list[str]) -> list[str]:
    cells = [row.case.name, milliseconds(row.limit_ms)]
    for name in columns:
        text = milliseconds(row.ms.get(name))
        cells.append(f"{bold}{text}{unbold}" if name == row.best else text)
    verdict = {True: "pass", False: "FAIL", None: ""}[row.passed]
    return [*cells, _times(row.ratio), _times(row.limit_ratio), row.mark(), verdict]


def _header(columns: list[str]) -> list[str]:
    names = [NAMES[name] for name in columns]
    return ["case", "limit", *names, "to best", "to limit", "mark", ""]


def _columns(rows: list[Row]) -> list[str]:
    return [n for n in FRAMEWORKS if n == "rill" or any(n in row.ms for row in rows)]


def text_table(rows: list[Row], colour: bool) -> str:
    """Returns the table for a terminal; the best peer is bold, or starred without colour."""
    columns = _columns(rows)
    bold, unbold = ("\033[1m", "\033[0m") if colour else ("*", "")
    table = [_header(columns), *(_cells(row, bold, unbold, columns) for row in rows)]
    visible = [[c.replace("\033[1m", "").replace("\033[0m", "") for c in line] for line in table]
    widths = [max(len(line[i]) for line in visible) for i in range(len(table[0]))]
    lines = []
    for cells, plain in zip(table, visible, strict=True):
        padded = []
        for i, (cell, shown) in enumerate(zip(cells, plain, strict=True)):
            gap = " " * (widths[i] - len(shown))
            left = i in (0, len(cells) - 1, len(cells) - 2)
            padded.append(cell + gap if left else gap + cell)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def summary(record: dict, rows: list[Row]) -> str:
    """Returns the machine, the versions, the limits and the verdict in a few lines."""
    versions = ", ".join(f"{NAMES[n]} {v}" for n, v in record["versions"].items())
    limits = record["limits"]
    lines = [f"{record['date']}, {record['cores']} cores of {record['processor']}: {versions}."]
    if limits:
        rate = 3 * (1 << 26) / limits["add"] / 1e6
        lines.append(
            f"Limits: add 16M {limits['add']:.2f} ms ({rate:.0f} GB/s), copy {limits['copy']:.2f},"
            f" fill {limits['fill']:.2f}, sum {limits['sum']:.2f} ms;"
            f" multiply-add {limits['gflops']:.0f} GFLOP/s."
        )
    if record.get("load_before", 0) > 0.5:
        lines.append(f"The machine was busy: load {record['load_before']} before the start.")
    judged = [row.passed for row in rows if row.passed is not None]
    mean = geometric_mean(rows)
    if mean is not None:
        lines.append(
            f"Rill to the best peer, geometric mean: {mean:.2f};"
            f" {sum(judged)} of {len(judged)} marks reached."
        )
    return "\n".join(lines)


def markdown(record: dict, rows: list[Row], picture: str) -> str:
    """Returns the fragment for docs/benchmarks.md."""
    columns = _columns(rows)
    header = _header(columns)
    lines = [
        summary(record, rows).replace("\n", "  \n"),
        "",
        "Milliseconds, median of repeated runs; the best peer is bold.",
        "",
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(_cells(row, "**", "**", columns)) + " |" for row in rows),
        "",
    ]
    if picture:
        lines += [f"![Rill's time as a multiple of the best peer's]({picture})", ""]
    return "\n".join(lines)


def draw(rows: list[Row], path: Path, title: str) -> None:
    """Draws each framework's time as a multiple of the best peer's; bars are Rill's.

    Needs matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows if row.best][::-1]
    figure, axes = plt.subplots(figsize=(10, 1.6 + 0.29 * len(rows)), layout="constrained")
    markers = {"mlx": "o", "torch": "s", "jax": "^", "numpy": "D"}
    colours = {"mlx": "#7b5ea7", "torch": "#d2691e", "jax": "#3b8f8c", "numpy": "#4573b5"}
    for y, row in enumerate(rows):
        axes.axhline(y, color="#eeeeee", zorder=0)
        if row.ratio:
            colour = {True: "#3f9b4f", False: "#c8503c", None: "#999999"}[row.passed]
            axes.barh(y, row.ratio - 1, left=1, color=colour, height=0.62, zorder=2)
            shift = (-4, "right") if row.ratio < 1 else (4, "left")
            axes.annotate(f"{row.ratio:.2f}", (row.ratio, y), (shift[0], 0), fontsize=7,
                          textcoords="offset points", ha=shift[1], va="center")  # fmt: skip
    for name in PEERS:
        points = [(row.ms[name] / row.ms[row.best], y) for y, row in enumerate(rows)
                  if name in row.ms]  # fmt: skip
        if points:
            axes.scatter(*zip(*points, strict=True), s=16, marker=markers[name], zorder=3,
                         color=colours[name], label=NAMES[name])  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8, zorder=4)
    axes.set_xscale("log")
    low = min((row.ratio for row in rows if row.ratio), default=1.0)
    axes.set_xlim(min(0.5, low / 2), None)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_yticks(range(len(rows)), [_short(row.case.name) for row in rows], fontsize=8)
    axes.set_xlabel("time as a multiple of the best peer's (log scale; left is faster)")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower right", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _short(name: str) -> str:
    return name if len(name) <= 58 else name[:56].rstrip(" ,") + " …"


def picture_of(record_path: Path) -> None:
    """Draws the picture beside a record; without Rill's times, the peers alone."""
    record = json.loads(record_path.read_text())
    rows = judge(record)
    mean = geometric_mean(rows)
    title = f"{record['processor']}, {record['cores']} cores, {record['date']}"
    if mean is not None:
        title = f"Rill (bars) and its peers: {title}; geometric mean {mean:.2f}"
    draw(rows, record_path.with_suffix(".png"), title)


def write_markdown(record_path: Path) -> Path:
    """Writes the Markdown fragment beside a record, and returns its path."""
    record = json.loads(record_path.read_text())
    picture = record_path.with_suffix(".png")
    path = record_path.with_suffix(".md")
    path.write_text(markdown(record, judge(record), picture.name if picture.exists() else ""))
    return path


if __name__ == "__main__":
    picture_of(Path(sys.argv[1]))
    write_markdown(Path(sys.argv[1]))
