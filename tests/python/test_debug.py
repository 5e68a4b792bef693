"""debug_nans and debug: switches and contexts."""

import inspect
import json
import threading
from itertools import pairwise

import numpy as np
import pytest
from support import mx, rill_only, to_numpy

pytestmark = rill_only


def line():
    return inspect.currentframe().f_back.f_lineno


@pytest.fixture(autouse=True)
def off():
    yield
    mx.debug_nans(False)
    mx.debug(serial=False)


def test_the_first_operation_that_made_a_nan_is_named():
    x = mx.array([1.0, -1.0])
    with mx.debug_nans():
        here = line() + 1
        y = mx.log(x * 2)
        z = mx.exp(y).sum()
        with pytest.raises(RuntimeError) as caught:
            mx.eval(z)
    text = str(caught.value)
    assert "log made a NaN" in text and f"{__file__}:{here}" in text and "(2)" in text
    assert np.isnan(mx.log(x).tolist()[1])  # off again


TRACED = {
    "compile": lambda f, x: mx.compile(f)(x),
    "shapeless": lambda f, x: mx.compile(f, shapeless=True)(x),
    "nested": lambda f, x: mx.compile(lambda x: mx.compile(f)(x) + 1)(x),
    "vmap": lambda f, x: mx.vmap(f)(x),
    "checkpoint": lambda f, x: mx.checkpoint(f)(x),
    "value_and_grad": lambda f, x: mx.value_and_grad(lambda x: f(x).sum())(x)[0],
    "scan": lambda f, x: mx.scan(lambda c, x: (c, f(x)), mx.array(0.0), x)[1],
    "while_loop": lambda f, x: mx.while_loop(lambda x: x[0] > 0, f, x),
    "cond": lambda f, x: mx.cond(x[0] > 0, f, mx.sin, x),
    "compiled scan": lambda f, x: mx.compile(
        lambda x: mx.scan(lambda c, x: (c, f(x)), mx.array(0.0), x)[1]
    )(x),
}


@pytest.mark.parametrize("how", TRACED)
def test_the_line_is_the_one_inside_the_function(how):
    here = []

    def f(x):
        y = x - 2
        here.append(line() + 1)
        return mx.log(y)

    with mx.debug_nans(), pytest.raises(RuntimeError, match="log made a NaN") as caught:
        mx.eval(TRACED[how](f, mx.array([1.0, 1.5])))
    assert f"{__file__}:{here[-1]}" in str(caught.value)


@pytest.mark.parametrize("transform", ["grad", "jvp", "compile"])
def test_a_derivative_is_that_of_a_line(transform):
    transforms = {
        "grad": lambda f, x: mx.grad(f)(x),
        "jvp": lambda f, x: mx.jvp(f, [x], [x])[1],
        "compile": lambda f, x: mx.compile(mx.grad(f))(x),
    }
    here = []

    def f(x):
        here.append(line() + 1)
        y = mx.sqrt(x)
        return mx.sum(y * 0)

    with mx.debug_nans(), pytest.raises(RuntimeError, match="made a NaN") as caught:
        mx.eval(transforms[transform](f, mx.array([0.0])))
    assert f"{__file__}:{here[-1]}" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_every_kind_of_float(dtype):
    x = mx.array([0.0, 1.0], dtype=getattr(mx, dtype))
    with mx.debug_nans():
        with pytest.raises(RuntimeError, match="divide"):
            mx.eval(x / x)
        assert to_numpy(x + x).real.tolist() == [0, 2]


def test_nans_that_were_there_are_passed_on():
    x = mx.array([np.nan, 1.0])
    with mx.debug_nans():
        assert np.isnan((x * 2)[0].item())
        assert mx.array([1, 2]).sum().item() == 3


def test_what_is_broadcast_is_looked_at_once():
    with mx.debug_nans():
        mx.eval(
            mx.ones((1 << 20, 1 << 20)), mx.broadcast_to(mx.array([[1.0], [2.0]]), (2, 1 << 40))
        )
        zero = mx.array([[1.0], [0.0]])
        with pytest.raises(RuntimeError, match="divide made a NaN"):
            mx.eval(mx.broadcast_to(zero / zero, (2, 1 << 40)))


def test_in_gradients_and_loops():
    with mx.debug_nans():
        with pytest.raises(RuntimeError, match="made a NaN"):
            mx.eval(mx.grad(lambda x: mx.sqrt(x * 0.0) * 0.0)(mx.array(1.0)))
        with pytest.raises(RuntimeError, match="log made a NaN"):
            mx.eval(mx.scan(lambda c, x: (mx.log(c), c), mx.array(0.5), mx.ones(3)))


def test_switch_and_nesting():
    mx.debug_nans(True)
    with mx.debug_nans(False):
        assert np.isnan(mx.log(mx.array(-1.0)).item())
    with pytest.raises(RuntimeError):
        mx.log(mx.array(-1.0)).item()
    mx.debug_nans(False)
    assert np.isnan(mx.log(mx.array(-1.0)).item())


def test_results_are_the_same_bits():
    def work():
        a, b = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
        x = mx.random.normal((64, 64), key=mx.random.key(0))
        y = mx.add(mx.exp(x, stream=a), mx.sin(x, stream=b), stream=a)
        return to_numpy(mx.matmul(y * 2 + x, x, stream=b) - y)

    expected = work()
    with mx.debug(serial=True):
        np.testing.assert_array_equal(work(), expected)
        with mx.debug_nans():
            np.testing.assert_array_equal(work(), expected)


def test_serial_runs_one_at_a_time_and_unfused(tmp_path):
    file = tmp_path / "trace.json"

    def names():
        events = json.loads(file.read_text())
        events = events["traceEvents"] if isinstance(events, dict) else events
        return sorted(
            (e["ts"], e["ts"] + e["dur"], e["name"]) for e in events if e.get("ph") == "X"
        )

    streams = [mx.new_stream(mx.cpu) for _ in range(3)]
    x = mx.ones((200, 200))
    mx.eval(x)
    with mx.debug(serial=True), mx.trace(str(file)):
        parts = [mx.exp(x, stream=s) * 2 + 1 for s in streams]
        mx.async_eval(sum(parts))
    spans = names()
    assert not any("+" in name for _, _, name in spans)
    assert all(a[1] <= b[0] + 1 for a, b in pairwise(spans))


def test_with_threads():
    errors = []

    def work():
        try:
            for i in range(20):
                assert (mx.exp(mx.array(0.0)) + i).item() == i + 1
        except BaseException as error:
            errors.append(error)

    with mx.debug(serial=True), mx.debug_nans():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
