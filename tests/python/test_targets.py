"""The instruction sets that the environment may choose (RILL_CPU_TARGET)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import mx

PROGRAM = """
import hashlib, numpy as np, rill.core as mx
x = mx.random.normal((67, 129), key=mx.random.key(3))
w = mx.random.normal((129, 65), key=mx.random.key(4))
results = [x @ w, mx.softmax(mx.tanh(x), -1), mx.sum(x, 0), mx.argmax(x, 1), mx.sort(x, 1),
           mx.fast.layer_norm(x, None, None, 1e-5), mx.exp(x).astype(mx.bfloat16).view(mx.uint16),
           mx.cumsum(x, 1), mx.sin(x) / mx.log(mx.abs(x)), mx.contiguous(x.T)]
digests = [hashlib.sha256(np.asarray(r).tobytes()).hexdigest() for r in results]
print(mx.device_info()["instructions"], *digests)
"""


def run(target: str, program: str = PROGRAM, *arguments: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"RILL_CPU_TARGET": target, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_targets_agree_bit_for_bit():
    results = {}
    widest = ""
    for target in ("avx512", "avx2", "scalar"):
        child = run(target)
        assert child.returncode == 0, child.stderr
        used, *results[target] = child.stdout.split()
        widest = widest or used  # the first target is no limit
        order = ("scalar", "neon", "avx2", "avx512")
        assert used == min(target, widest, key=order.index)
    assert results["avx512"] == results["avx2"]
    # Products on a processor without fused multiply-add round twice.
    assert results["avx2"][1:] == results["scalar"][1:]


@pytest.mark.parametrize("target", ["", "sse", "AVX2"])
def test_an_unknown_target_is_refused(target):
    child = run(target)
    assert child.returncode != 0
    assert f'[RILL_CPU_TARGET] expected avx512, avx2 or scalar, got "{target}"' in child.stderr


ARITHMETIC = """
import ctypes, hashlib, sys, numpy as np, rill.core as mx
refuse_executable_memory = 65  # PR_SET_MDWE
if sys.argv[1] == "refuse":
    assert ctypes.CDLL(None).prctl(refuse_executable_memory, 1, 0, 0, 0) == 0
x = mx.random.normal((300, 1021), key=mx.random.key(3))
y = total = x
for k in range(30):
    total = total * y + 0.25 * k - x / (y * y + 1)
print(hashlib.sha256(np.asarray(total)).hexdigest())
"""


def test_machine_code_has_the_bits_of_kernels_and_can_be_done_without():
    results = set()
    for way, target in (("allow", "avx512"), ("refuse", "avx512"), ("allow", "scalar")):
        child = run(target, ARITHMETIC, way)
        if way == "refuse" and "AssertionError" in child.stderr:
            continue  # a system that cannot refuse it
        assert child.returncode == 0, child.stderr
        results.add(child.stdout)
    assert len(results) == 1


# Vectors of all widths, in lines short and long; and convolutions in rows of all lengths.
LIBRARIES = """
import numpy as np, rill.core as mx
rng = np.random.default_rng(0)
for n in (7, 304, 2500, 5000, 2**14):
    x = rng.standard_normal((3, n))
    for name in ("fft", "ifft", "rfft"):
        expected = getattr(np.fft, name)(x)
        for dtype, tolerance in ((mx.float32, 2e-6), (mx.float64, 2e-6)):
            for lines in (x, x[0]):
                actual = np.asarray(getattr(mx.fft, name)(mx.array(lines, dtype=dtype)))
                error = np.abs(actual - getattr(np.fft, name)(lines)).max()
                assert error < tolerance * np.abs(expected).max(), (name, n, dtype, error)
x, w = rng.standard_normal((2, 9, 29, 16)), rng.standard_normal((40, 3, 3, 16))
results = [np.asarray(mx.conv2d(mx.array(x, dtype=t), mx.array(w, dtype=t), padding=1))
           for t in (mx.float32, mx.float64)]
assert np.abs(results[0] - results[1]).max() < 1e-4
"""


@pytest.mark.parametrize("target", ["avx512", "avx2", "scalar"])
def test_transforms_and_convolutions(target):
    child = run(target, LIBRARIES)
    assert child.returncode == 0, child.stderr


# What has kernels of its own for each target, and is tried on many shapes.
FILES = [
    "attention",
    "composed",
    "conv",
    "fft",
    "halves",
    "linalg",
    "matmul",
    "quantized",
    "random",
    "reductions",
    "shape_ops",
    "sort",
]


@pytest.mark.parametrize("name", FILES)
def test_files_with_avx2(name):
    if mx.device_info()["instructions"] != "avx512":
        pytest.skip("all tests run without AVX-512 here")
    child = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", f"tests/python/test_{name}.py"],
        env=os.environ | {"RILL_CPU_TARGET": "avx2"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout[-4000:]
