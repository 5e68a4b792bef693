"""The instruction sets that the environment may choose (RILL_CPU_TARGET)."""

import os
import subprocess
import sys

import pytest
import rill.core as mx

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


def run(target: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"RILL_CPU_TARGET": target, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_targets_agree_bit_for_bit():
    widest = mx.device_info()["instructions"]
    results = {}
    for target in ("avx512", "avx2", "scalar"):
        child = run(target)
        assert child.returncode == 0, child.stderr
        used, *results[target] = child.stdout.split()
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
