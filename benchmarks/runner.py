"""Drives one worker process per framework through the cases, in rounds, and keeps the figures.

Within a case the frameworks take turns, so that the machine's noise hits all alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from case import PEERS, Case

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "benchmarks"


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds a case, seconds a framework and case, seconds an answer."""

    rounds: int = 5
    seconds: float = 0.8
    patience: float = 240.0


QUICK = Effort(rounds=3, seconds=0.25)
FULL = Effort()


@dataclass
class Result:
    """What became of one case: medians and first calls in ms, or the reason there is none.

    `limit` is the figure of the case's limit, measured in the same turns as the frameworks.
    """

    ms: dict[str, float] = field(default_factory=dict)
    limit: float | None = None
    spread: dict[str, list[float]] = field(default_factory=dict)
    first_ms: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


# What keeps each framework and its libraries from AVX-512, as on an older processor.
AVX2 = {
    "RILL_CPU_TARGET": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}


class WorkerFailed(RuntimeError):
    """The worker's process died, could not start, or did not answer in time."""


class Worker:
    """A framework's process; started on first use, and again after it failed on a case."""

    def __init__(
        self, framework: str, python: str, device: str, patience: float, limits: dict[str, str]
    ):
        self.framework, self.python, self.device = framework, python, device
        self.limits = limits
        self.patience = patience
        self.process: subprocess.Popen | None = None
        self.version: str | None = None
        self.missing: str | None = None

    def start(self) -> None:
        """Starts the process, if none runs; a framework that cannot be imported is missing."""
        if self.missing:
            raise WorkerFailed(self.missing)
        if self.process:
            return
        BUILD.mkdir(parents=True, exist_ok=True)
        # BLAS chooses its kernels itself: what a shell asks for would slow some of the peers down.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        environment |= self.limits
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        if self.framework == "rill":
            paths = [str(ROOT / "python"), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
        with open(BUILD / f"{self.framework}.log", "ab") as log:
            command = [self.python, str(HERE / "worker.py"), self.framework, self.device]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            try:
                self.process = subprocess.Popen(command, env=environment, cwd=BUILD, **pipes)
                answer = self._answer()
            except (OSError, WorkerFailed) as error:
                answer = {"error": str(error)}
        if "error" in answer:
            self.stop()
            self.missing = answer["error"]
            raise WorkerFailed(self.missing)
        self.version = answer["version"]

    def ask(self, request: dict) -> dict:
        """Sends a request and returns the answer; a failing process is ended."""
        self.start()
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            return self._answer()
        except (WorkerFailed, OSError) as error:
            self.stop()
            raise WorkerFailed(str(error)) from error

    def _answer(self) -> dict:
        process = self.process
        assert process and process.stdout
        ready, _, _ = select.select([process.stdout], [], [], self.patience)
        if not ready:
            raise WorkerFailed(f"no answer in {self.patience:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise WorkerFailed(f"the process ended with status {process.wait()}")
        return json.loads(line)

    def processor_time(self) -> int:
        """Returns the ticks (of 10 ms, mostly) for which the process's threads have run."""
        if not self.process:
            return 0
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        return 0

    def stop(self) -> None:
        """Ends the process."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def wait_until_idle(workers: list[Worker], seconds: float = 1.0) -> None:
    """Waits until no process computes, at most `seconds`.

    Threads of OpenBLAS and OpenMP spin for up to 0.1 s after their last call, and would take a core
    from the next framework.
    """
    end, quiet = time.monotonic() + seconds, 0
    while quiet < 2 and time.monotonic() < end:
        before = sum(worker.processor_time() for worker in workers)
        time.sleep(0.02)
        quiet = quiet + 1 if sum(worker.processor_time() for worker in workers) == before else 0


class Limits:
    """The program that measures what the machine allows; measures nothing where it can't be had."""

    seconds = 0.1

    def __init__(self):
        self.process: subprocess.Popen | None = None
        threads = str(len(os.sched_getaffinity(0)))
        try:
            command = [str(build_limits()), threads]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.process = subprocess.Popen(command, text=True, bufsize=1, **pipes)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"limits: {error}", file=sys.stderr)

    def samples(self, kind: str) -> list[float]:
        """Returns figures of `kind` as they are now: milliseconds of a pass, or GFLOP/s."""
        if not self.process:
            return []
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{kind} {self.seconds}\n")
        return json.loads(self.process.stdout.readline())

    def all(self) -> dict[str, float]:
        """Returns each figure now; empty when nothing can be measured."""
        kinds = ("add", "copy", "fill", "sum", "gflops")
        return {kind: self.figure(kind, self.samples(kind)) for kind in kinds if self.process}

    @staticmethod
    def figure(kind: str, samples: list[float]) -> float:
        """Returns the median pass, as for frameworks, or the best rate of arithmetic."""
        return max(samples) if kind == "gflops" else statistics.median(samples)

    def stop(self) -> None:
        """Ends the program."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def run_case(case: Case, workers: list[Worker], limits: Limits, effort: Effort) -> Result:
    """Measures a case on every worker, and its limit; never raises for a worker's failure."""
    result = Result()
    bounds: list[float] = []
    samples: dict[str, list[list[float]]] = {}
    needs: dict[str, float] = {}
    for worker in workers:
        try:
            answer = worker.ask({"prepare": case.name})
        except WorkerFailed as error:
            answer = {"error": str(error)}
        if "ms" in answer:
            samples[worker.framework] = []
            needs[worker.framework] = answer["ms"] / 1e3
            result.first_ms[worker.framework] = answer["first_ms"]
        elif "error" in answer:
            result.reasons[worker.framework] = answer["error"]
    for turn in range(effort.rounds):
        for worker in workers:
            name = worker.framework
            # A call of seconds has no need of many repetitions.
            if name not in samples or turn * needs[name] > 4 * effort.seconds:
                continue
            share = effort.seconds / effort.rounds
            request = {"measure": case.name, "seconds": share, "least": 1 if needs[name] > 1 else 3}
            wait_until_idle(workers)
            try:
                answer = worker.ask(request)
            except WorkerFailed as error:
                answer = {"error": str(error)}
            if "samples" in answer:
                samples[name].append(answer["samples"])
            else:
                result.reasons[name] = answer["error"]
                del samples[name]
            if name == "rill" and case.limit:
                bounds += limits.samples(case.limit.kind)
    for worker in workers:
        if worker.process:
            with contextlib.suppress(WorkerFailed):
                worker.ask({"drop": case.name})
    for name, turns in samples.items():
        result.ms[name] = statistics.median(x for turn in turns for x in turn)
        result.spread[name] = [statistics.median(turn) for turn in turns]
    if case.limit and bounds:
        result.limit = limits.figure(case.limit.kind, bounds)
    return result


def build_limits() -> Path:
    """Compiles limits.cpp if it changed; returns the program."""
    source, program = HERE / "limits.cpp", BUILD / "limits"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    BUILD.mkdir(parents=True, exist_ok=True)
    flags = ("-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-pthread")
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, *flags, str(source), "-o", str(program)], check=True)
    return program


def best_limits(measured: list[dict[str, float]]) -> dict[str, float]:
    """Returns the best of several measurements: the machine can do what it once did."""
    best: dict[str, float] = {}
    for limits in measured:
        for name, value in limits.items():
            better = max if name == "gflops" else min
            best[name] = better(best.get(name, value), value)
    return best


def peers_python() -> str:
    """Returns the Python that has the peers: BENCH_PEERS_PYTHON, or .venv-peers, made on demand."""
    given = os.environ.get("BENCH_PEERS_PYTHON")
    if given:
        return given
    folder = ROOT / ".venv-peers"
    if not (folder / "stamp").exists():
        try:
            subprocess.run([str(ROOT / "tools" / "setup"), "peers"], check=True, stdout=sys.stderr)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"the peers could not be installed: {error}", file=sys.stderr)
    return str(folder / "bin" / "python")


def make_workers(
    frameworks: list[str], device: str, effort: Effort, limits: dict[str, str]
) -> list[Worker]:
    """Returns a worker per framework: Rill in this Python, the peers in theirs.

    `limits` are environment variables that all get.
    """
    peers = peers_python() if set(frameworks) & set(PEERS) else ""
    rill = os.environ.get("BENCH_RILL_PYTHON", sys.executable)
    return [
        Worker(name, rill if name == "rill" else peers, device, effort.patience, limits)
        for name in frameworks
    ]


def processor() -> str:
    """Returns the name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return os.uname().machine


def run_all(cases: list[Case], workers: list[Worker], effort: Effort) -> dict:
    """Runs the cases and returns the record that is kept as JSON."""
    started, load = time.time(), os.getloadavg()[0]
    limits = Limits()
    measured = [limits.all()]
    for worker in workers:
        try:
            worker.start()
        except WorkerFailed as error:
            print(f"{worker.framework}: {error}", file=sys.stderr)
    results = {}
    for number, case in enumerate(cases, 1):
        result = run_case(case, [w for w in workers if not w.missing], limits, effort)
        results[case.name] = vars(result)
        times = "  ".join(f"{name} {ms:.4g}" for name, ms in result.ms.items())
        print(f"[{number}/{len(cases)}] {case.name}: {times}", file=sys.stderr, flush=True)
        for name, reason in result.reasons.items():
            print(f"    {name}: {reason}", file=sys.stderr)
        if number == (len(cases) + 1) // 2 or number == len(cases):
            measured.append(limits.all())
    for process in (*workers, limits):
        process.stop()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.localtime(started)),
        "seconds": round(time.time() - started),
        "device": workers[0].device if workers else "cpu",
        "processor": processor() + (" without AVX-512" if workers and workers[0].limits else ""),
        "load_before": round(load, 2),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {w.framework: w.version for w in workers if w.version},
        "missing": {w.framework: w.missing for w in workers if w.missing},
        "limits": best_limits(measured),
        "cases": results,
    }
