"""Measures Rill beside its peers on this machine, and says which marks are reached.

    python benchmarks/run.py [--quick] [--cases REGEX] [--frameworks rill,torch] [--device gpu]
                             [--avx2]

Writes results/<date>-<processor>.json, .md and .png. BENCH_PEERS_PYTHON names a Python that has
the peers (otherwise .venv-peers is made; on a GPU it must be named), BENCH_RILL_PYTHON one
that has Rill.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # benchmarks/ stays clean

HERE = Path(__file__).resolve().parent


def _arguments(frameworks: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", help="only cases whose name or group matches")
    parser.add_argument("--frameworks", default=",".join(frameworks), help="comma-separated")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--strict", action="store_true", help="fail when a mark is missed")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--avx2", action="store_true", help="no framework may use AVX-512")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder")
    parser.add_argument("--list", action="store_true", help="list the cases, measure nothing")
    arguments = parser.parse_args()
    arguments.frameworks = [name for name in arguments.frameworks.split(",") if name]
    unknown = set(arguments.frameworks) - set(frameworks)
    if unknown:
        parser.error(f"no such framework: {', '.join(sorted(unknown))}")
    return arguments


def _slug(record: dict) -> str:
    name = record["processor"] if record["device"] == "cpu" else f"{record['processor']} gpu"
    day = record["date"].replace(" ", "-").replace(":", "")
    return f"{day}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"


def _draw(path: Path, python: str) -> None:
    """Draws with the first Python that has matplotlib; says so when there is none."""
    if importlib.util.find_spec("matplotlib"):
        python = sys.executable
    command = [python, str(HERE / "report.py"), str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        print(f"no picture: {lines[-1]}", file=sys.stderr)


def main() -> int:
    """Runs the chosen cases; with --strict, 1 when a mark was missed."""
    import cases
    import report
    import runner
    from case import FRAMEWORKS, PEERS

    arguments = _arguments(FRAMEWORKS)
    pattern = re.compile(arguments.cases)
    chosen = [
        case
        for case in cases.CASES
        if arguments.device in case.devices
        and (pattern.search(case.name) or pattern.search(case.group))
    ]
    if arguments.list:
        print("\n".join(f"{case.group:12} {case.name}" for case in chosen))
        return 0
    effort = runner.QUICK if arguments.quick else runner.FULL
    limits = runner.AVX2 if arguments.avx2 else {}
    workers = runner.make_workers(arguments.frameworks, arguments.device, effort, limits)
    record = runner.run_all(chosen, workers, effort)

    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{_slug(record)}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    rows = report.judge(record)
    print(report.text_table(rows, sys.stdout.isatty()))
    print(report.summary(record, rows))
    _draw(path, next((w.python for w in workers if w.framework in PEERS), sys.executable))
    report.write_markdown(path)
    print(f"written: {path.with_suffix('')}.json, .md, .png; {record['seconds']} s")
    return 1 if arguments.strict and any(row.passed is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
