"""Runs the cases of one framework in a process of its own, driven by runner.py.

Usage: worker.py FRAMEWORK DEVICE. Reads one JSON request a line on standard input, answers one
JSON object a line on what was standard output; the framework's own prints go to standard error.
Requests: {"prepare": case}, {"measure": case, "seconds": s, "least": n}, {"drop": case}.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import math
import os
import statistics
import sys
import time
import traceback

import cases
import numpy as np

THREADS = len(os.sched_getaffinity(0))


class NumPy:
    """Loads arrays, forces evaluation and reads results back; other frameworks override this."""

    module = "numpy"

    def __init__(self, device: str):
        self.device = device
        self.m = importlib.import_module(self.module)
        if device == "gpu" and type(self) is NumPy:
            raise RuntimeError("NumPy has no GPU")

    def version(self) -> str:
        return self.m.__version__

    def load(self, array: np.ndarray, bf16: bool):
        return array

    def evaluate(self, result) -> None:
        """Waits until `result` (an array or a tuple) is computed."""

    def read(self, array) -> np.ndarray:
        return np.asarray(array)

    def bind(self, case, function, arguments):
        """Returns a call without arguments that computes the case and forces the result."""
        return functools.partial(function, self.m, *arguments)


class MLX(NumPy):
    module = "mlx.core"

    def __init__(self, device: str):
        super().__init__(device)
        self.m.set_default_device(self.m.gpu if device == "gpu" else self.m.cpu)

    def version(self) -> str:
        return getattr(self.m, "__version__", "unknown")

    def load(self, array, bf16):
        loaded = self.m.array(array)
        loaded = loaded.astype(self.m.bfloat16) if bf16 else loaded
        self.m.eval(loaded)
        return loaded

    def evaluate(self, result):
        self.m.eval(result)

    def read(self, array):
        if array.dtype == self.m.bfloat16:
            array = array.astype(self.m.float32)
        return np.array(array)

    def bind(self, case, function, arguments):
        lazy, evaluate = super().bind(case, function, arguments), self.m.eval

        def call():
            result = lazy()
            evaluate(result)
            return result

        return lazy if case.built_only else call


class Rill(MLX):
    module = "rill.core"


class Torch(NumPy):
    module = "torch"

    def __init__(self, device: str):
        super().__init__(device)
        self.m.set_num_threads(THREADS)
        if device == "gpu":
            self.m.set_default_device("cuda")

    def load(self, array, bf16):
        loaded = self.m.from_numpy(array).to("cuda" if self.device == "gpu" else "cpu")
        return loaded.to(self.m.bfloat16) if bf16 else loaded

    def evaluate(self, result):
        if self.device == "gpu":
            self.m.cuda.synchronize()

    def read(self, array):
        return array.detach().float().cpu().numpy() if array.is_floating_point() else (
            array.cpu().numpy())  # fmt: skip

    def bind(self, case, function, arguments):
        call = super().bind(case, function, arguments)
        if self.device == "cpu" or case.built_only:
            return call
        synchronize = self.m.cuda.synchronize

        def synchronised():
            result = call()
            synchronize()
            return result

        return synchronised


class JAX(NumPy):
    module = "jax.numpy"

    def __init__(self, device: str):
        os.environ["JAX_PLATFORMS"] = "cuda" if device == "gpu" else "cpu"
        self.jax = importlib.import_module("jax")
        super().__init__(device)

    def version(self) -> str:
        return self.jax.__version__

    def load(self, array, bf16):
        return self.m.asarray(array, dtype=self.m.bfloat16 if bf16 else None)

    def evaluate(self, result):
        self.jax.block_until_ready(result)

    def read(self, array):
        wide = array.dtype == self.m.bfloat16
        return np.asarray(array.astype(self.m.float32) if wide else array)

    def bind(self, case, function, arguments):
        function = functools.partial(function, self.m)
        if case.jit:
            function = self.jax.jit(function)
        lazy, wait = functools.partial(function, *arguments), self.jax.block_until_ready
        return lazy if case.built_only else lambda: wait(lazy())


ADAPTERS = {"rill": Rill, "mlx": MLX, "torch": Torch, "jax": JAX, "numpy": NumPy}


def differs(got: np.ndarray, want: np.ndarray, tolerance: float) -> str | None:
    """Returns how `got` is wrong: the shape, or an error over `tolerance` of the largest value."""
    if got.shape != np.shape(want):
        return f"wrong shape {got.shape}, expected {np.shape(want)}"
    error = float(np.max(np.abs(got - want), initial=0))
    scale = float(np.max(np.abs(want), initial=0))
    if math.isfinite(error) and error <= tolerance * scale:
        return None
    return f"wrong result: error {error:.3g} where the largest value is {scale:.3g}"


class Worker:
    """The prepared calls of one framework."""

    def __init__(self, framework: str, device: str):
        self.framework = framework
        self.adapter = ADAPTERS[framework](device)
        self.calls = {}

    def prepare(self, name: str) -> dict:
        """Builds, runs and checks a case; returns the time of the first call and of a later one."""
        case = cases.BY_NAME[name]
        function, setup = case.code(self.framework), case.prepare(self.framework)
        if function is None:
            return {"absent": True}
        inputs = case.inputs(np.random.default_rng(0))
        arguments = tuple(
            {key: self.adapter.load(v, case.bf16) for key, v in x.items()}
            if isinstance(x, dict)
            else self.adapter.load(x, case.bf16)
            for x in inputs
        )
        if setup:
            arguments = setup(self.adapter.m, *arguments)
        call = self.adapter.bind(case, function, arguments)
        first, result = self._timed(call)
        outcome = self._outcome(result) if case.check_runs == 1 else np.array(
            [float(self._outcome(result))]
            + [float(self._outcome(call())) for _ in range(case.check_runs - 1)])  # fmt: skip
        del result
        if case.verify:
            wrong = None if case.verify(inputs, outcome) else "wrong result"
        else:
            wrong = differs(outcome, case.oracle(*inputs), case.tolerance)
        if wrong:
            return {"error": wrong}
        self.calls[name] = call
        return {"first_ms": first * 1e3, "ms": self._timed(call)[0] * 1e3}

    def _outcome(self, result) -> np.ndarray:
        self.adapter.evaluate(result)
        if isinstance(result, tuple | list):
            return np.stack([self.adapter.read(x) for x in result])
        return self.adapter.read(result)

    @staticmethod
    def _timed(call):
        start = time.perf_counter()
        result = call()
        return time.perf_counter() - start, result

    def measure(self, name: str, seconds: float, least: int) -> dict:
        """Times the call for about `seconds`, `least` samples or more.

        A sample of a short call is the mean of a batch of about 0.2 ms.
        """
        call, clock = self.calls[name], time.perf_counter
        gc.collect()
        gc.disable()
        try:
            single, _ = self._timed(call)
            batch = max(1, min(1000, int(0.0002 / max(single, 1e-7))))
            samples, end = [], clock() + seconds
            while len(samples) < least or clock() < end:
                start = clock()
                for _ in range(batch):
                    call()
                samples.append((clock() - start) / batch * 1e3)
        finally:
            gc.enable()
        return {"samples": samples, "median": statistics.median(samples)}

    def drop(self, name: str) -> dict:
        """Forgets the case's arrays."""
        self.calls.pop(name, None)
        gc.collect()
        return {}


def main() -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = None
    try:
        worker = Worker(sys.argv[1], sys.argv[2])
        print(json.dumps({"version": worker.adapter.version()}), file=answers)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
        return
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                answer = worker.prepare(request["prepare"])
            elif "measure" in request:
                answer = worker.measure(request["measure"], request["seconds"], request["least"])
            else:
                answer = worker.drop(request["drop"])
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
