"""Independent branches of a compiled function run side by side, and nothing else changes."""

import json
import threading

import numpy as np
import pytest
from support import mx, rill_only, to_numpy

pytestmark = rill_only


def tower(x, depth, scale):
    """Many operations that fuse into steps too small to be divided over the cores."""
    for i in range(depth):
        x = mx.sin(x * scale) + x
        if i % 40 == 39:
            x = mx.sort(x)  # ends a fused step
    return x


def two_towers(x):
    return tower(x, 160, 0.5) + tower(x, 160, -0.25)


def shared_start(x):
    x = mx.cos(mx.sort(x))
    a, b, c = tower(x, 120, 0.5), tower(x, 120, -0.25), tower(x, 120, 0.125)
    return mx.stack([a, b, c]).sum(0) - x


def apart(x):
    return tower(x, 160, 0.5), tower(x + 1, 160, 0.75)


def factors(x):
    matrix = x[:6400].reshape(80, 80)
    q, r = mx.linalg.qr(matrix)
    u, s, vt = mx.linalg.svd(matrix.T + 1)
    return q @ r, (u * s) @ vt, mx.linalg.eigvalsh(matrix @ matrix.T)


def in_a_scan(x):
    def body(carry, _):
        return (tower(carry, 120, 0.5) + tower(carry, 120, -0.25)) / 2, None

    return mx.scan(body, x, length=3)[0]


FUNCTIONS = [two_towers, shared_start, apart, factors, in_a_scan]


def flat(result):
    return [to_numpy(r) for r in (result if isinstance(result, (tuple, list)) else [result])]


@pytest.fixture
def x():
    return mx.random.normal((16384,), key=mx.random.key(3))


@pytest.mark.parametrize("f", FUNCTIONS)
def test_same_bits_as_uncompiled(f, x):
    wanted = flat(f(x))
    g = mx.compile(f)
    for _ in range(5):
        for got, want in zip(flat(g(x)), wanted, strict=True):
            np.testing.assert_array_equal(got, want)


def test_gradients_and_threads(x):
    loss = lambda x: two_towers(x).sum()
    wanted = to_numpy(mx.grad(loss)(x))
    g = mx.compile(mx.grad(loss))
    results = [None] * 4

    def work(i):
        for _ in range(3):
            results[i] = to_numpy(g(x))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for got in results:
        np.testing.assert_array_equal(got, wanted)


def test_branches_overlap_in_the_trace(x, tmp_path):
    if mx.device_info(mx.cpu)["cores"] < 2:
        pytest.skip("one core has nothing to run beside")
    g = mx.compile(two_towers)
    mx.eval(g(x))
    file = tmp_path / "trace.json"
    with mx.trace(str(file)):
        mx.eval(g(x))
    events = json.loads(file.read_text())["traceEvents"]
    names = [e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"]
    assert len(names) == 2 and any(name.endswith(", branch 1") for name in names)


def test_an_error_in_a_branch_is_raised_and_the_rest_goes_on(x):
    def f(x, m):
        return tower(x, 160, 0.5).sum() + mx.linalg.cholesky(m).sum() + tower(x, 160, 0.1).sum()

    g = mx.compile(f)
    good, bad = mx.eye(64) * 2, -mx.eye(64)
    want = to_numpy(f(x, good))
    for _ in range(2):
        with pytest.raises(ValueError, match="cholesky"):
            mx.eval(g(x, bad))
        np.testing.assert_array_equal(to_numpy(g(x, good)), want)


def test_memory_is_given_back(x):
    g = mx.compile(shared_start)
    mx.eval(g(x))
    before = mx.get_active_memory()
    for _ in range(20):
        mx.eval(g(x))
    assert mx.get_active_memory() <= before + 4 * x.nbytes
