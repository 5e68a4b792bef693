"""Times every operation that NumPy has too beside NumPy, on large input.

    python benchmarks/sweep.py [--quick] [--only REGEX] [--slower] [--output FOLDER]

Prints the rows by their ratio, Rill to NumPy, and writes results/sweep/<date>-<processor>.json.
Rill and NumPy run in one process and take turns, which begin when the threads of the turn before
sleep; each time is the median of the rounds, each result is compared with NumPy's in some places.
sweep_table.py has the table.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import re
import statistics
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

for variable in [v for v in os.environ if v.startswith(("OPENBLAS_", "OMP_"))]:
    del os.environ[variable]  # BLAS chooses its kernels itself
sys.dont_write_bytecode = True  # benchmarks/ stays clean

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "python"), str(HERE)]

import numpy as np  # noqa: E402
import rill.core as mx  # noqa: E402
import runner  # noqa: E402
import sweep_moves  # noqa: E402, F401
import sweep_table  # noqa: E402
import sweep_values  # noqa: E402, F401

LONG = 0.05  # seconds: a call that takes longer is repeated less often
SHORT = 0.003  # calls that take less are timed in bundles


def has_arrays(result) -> bool:
    """Whether there is something to evaluate: lists of numbers (tolist) have none."""
    while isinstance(result, list) and result:
        result = result[0]
    return not isinstance(result, (bool, int, float))


def evaluated(result):
    """`result` with its arrays computed."""
    mx.eval(result)
    return result


def leaves(result) -> list:
    """The arrays and numbers of a result, which may be nested."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [leaf for part in result[:100] for leaf in leaves(part)]
    return [] if result is None else [result]


def difference(rill, numpy) -> str | None:
    """Says how two results differ, looking at some thousand elements; None where they agree."""
    mine, theirs = leaves(rill), leaves(numpy)
    if len(mine) != len(theirs):
        return f"{len(mine)} results, NumPy has {len(theirs)}"
    for a, b in zip(mine, theirs):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return f"shape {a.shape}, NumPy has {b.shape}"
        step = a.size // 5000 + 1
        a, b = (np.ravel(v)[::step] for v in (a, b))
        loose = 2e-2 if np.float16 in (a.dtype, b.dtype) else 2e-3
        with np.errstate(all="ignore"):
            scale = np.nanmax(np.abs(np.where(np.isfinite(b), b, 0)), initial=1.0)
            close = np.isclose(a, b, rtol=loose, atol=loose * float(scale), equal_nan=True)
        if not close.all():
            k = int(np.argmin(close))
            return f"{a[k]} where NumPy has {b[k]}"
    return None


def seconds(call, count: int) -> float:
    """The mean time of `count` calls."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def others_run() -> bool:
    """Whether another thread of this process computes or spins."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            state = (task / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state == "R" and int(task.name) != threading.get_native_id():
                return True
    return False


def turn(call, count: int) -> float:
    """`seconds` once the threads of the turn before have gone to sleep.

    OpenBLAS's spin for 0.1 s after their last call, and would take a core from whose turn it is.
    """
    end = time.monotonic() + 1
    while others_run() and time.monotonic() < end:
        time.sleep(0.002)
    return seconds(call, count)


def measure(row, rounds: int, long: float = LONG) -> dict:
    """One row: the medians in milliseconds, or the reason that there are none.

    Rows whose calls take more than `long` seconds have two rounds.
    """
    seeds = (0 if row.alike else place for place in range(len(row.operands)))
    arguments = [operand.made(seed).copy() for operand, seed in zip(row.operands, seeds)]
    inputs = [evaluated(operand.viewed(mx.array(a))) for operand, a in zip(row.operands, arguments)]
    arguments = [operand.viewed(a) for operand, a in zip(row.operands, arguments)]
    rill = lambda: evaluated(row.rill(mx, *inputs))
    numpy = lambda: row.numpy(np, *arguments)
    result = {"name": row.name}
    with np.errstate(all="ignore"):
        try:
            if not has_arrays(row.rill(mx, *inputs)):
                rill = lambda: row.rill(mx, *inputs)
            differs = difference(rill(), numpy()) if row.checked else None
        except Exception as error:  # the row's fault, to be seen in the table
            return {**result, "reason": f"{type(error).__name__}: {error}".splitlines()[0]}
        if differs:
            return {**result, "reason": differs}
        first = (turn(rill, 1), turn(numpy, 1))
        if max(first) > long:
            rounds = min(rounds, 2)
        # The same number of calls for both: the first finds cold caches.
        bundle = max(1, min(200, int(SHORT / min(first)), int(long / max(first))))
        times = [(turn(rill, bundle), turn(numpy, bundle)) for _ in range(rounds)]
    mine, theirs = (1e3 * statistics.median(column) for column in zip(*times))
    return {**result, "rill": mine, "numpy": theirs, "ratio": mine / theirs}


def geometric_mean(ratios: list[float]) -> float:
    """Returns the geometric mean; NaN of nothing."""
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.nan


def text(results: list[dict]) -> str:
    """The table, the slowest beside NumPy first, and a summary."""
    timed = sorted((r for r in results if "ratio" in r), key=lambda r: -r["ratio"])
    lines = [f"{'Rill':>10} {'NumPy':>10} {'ratio':>7}  milliseconds"]
    lines += [f"{r['rill']:10.4g} {r['numpy']:10.4g} {r['ratio']:7.2f}  {r['name']}" for r in timed]
    lines += [f"not timed: {r['name']}: {r['reason']}" for r in results if "reason" in r]
    slower = sum(r["ratio"] > 1 for r in timed)
    mean = geometric_mean([r["ratio"] for r in timed])
    lines.append(f"{len(timed)} rows, {slower} slower than NumPy, geometric mean {mean:.3f}")
    return "\n".join(lines)


def main() -> int:
    """Measures the chosen rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--slower", action="store_true", help="again those that were slower")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "sweep", help="folder")
    arguments = parser.parse_args()
    pattern = re.compile(arguments.only)
    rows = [row for row in sweep_table.ROWS if pattern.search(row.name)]
    rounds = 3 if arguments.quick else 5
    begin = time.perf_counter()
    results = []
    for k, row in enumerate(rows):
        mx.clear_cache()
        gc.collect()
        results.append(measure(row, rounds, LONG / 5 if arguments.quick else LONG))
        if arguments.slower and results[-1].get("ratio", 0) > 1:
            results[-1] = measure(row, 2 * rounds + 1)
        if sys.stderr.isatty():
            print(f"\r{k + 1}/{len(rows)} {row.name:60.60}", end="", file=sys.stderr)
    print(text(results))
    took = time.perf_counter() - begin
    record = {
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "processor": runner.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"rill": mx.__version__, "numpy": np.__version__},
        "seconds": round(took),
        "rows": results,
    }
    if arguments.only:
        return 0
    slug = re.sub(
        "[^a-z0-9]+", "-", f"{record['date'].replace(':', '')} {record['processor']}".lower()
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{slug}.json"
    path.write_text(json.dumps(record).replace('{"name"', '\n{"name"') + "\n")
    print(f"written: {path}; {record['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
