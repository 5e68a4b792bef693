"""vmap: what it is given and gives back, its rules against one application after the other."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from support import assert_near, assert_same, check_row, environment, mx, rill_only, rows, to_numpy

X, Y = "mx.arange(6.0).reshape(2, 3)", "mx.arange(3.0)"
NESTED = "{'a': [x, (y,)]}".replace("x", X).replace("y", Y)
CALLS = [
    (f"mx.vmap(lambda a: a * 2)({X})", [[0, 2, 4], [6, 8, 10]], "float32"),
    (f"mx.vmap(lambda a: a.sum(), in_axes=1)({X})", [3, 5, 7], "float32"),
    (f"mx.vmap(lambda a: a.sum(), in_axes=-1)({X})", [3, 5, 7]),
    (f"mx.vmap(lambda a: a * 2, out_axes=1)({X})", [[0, 6], [2, 8], [4, 10]]),
    (f"mx.vmap(lambda a: a * 2, out_axes=-1)({X})", [[0, 6], [2, 8], [4, 10]]),
    (f"mx.vmap(lambda a: {Y} * 2)({X})", [[0, 2, 4], [0, 2, 4]]),
    (f"mx.vmap(lambda a: {Y} * 2, out_axes=1)({X})", [[0, 0], [2, 2], [4, 4]]),
    (f"mx.vmap(lambda a, b: a + b, in_axes=(0, None))({X}, {Y})", [[0, 2, 4], [3, 5, 7]]),
    (f"mx.vmap(lambda a, b: a + b, in_axes=(1, 0))({X}, {Y})", [[0, 3], [2, 5], [4, 7]]),
    (f"mx.vmap(lambda a: (a, a.sum()))({X})[1]", [3, 12]),
    (f"mx.vmap(lambda a: (a, a.sum()), out_axes=(1, 0))({X})[0]", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a: {{'s': a}}, out_axes={{'s': 1}})({X})['s']", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a: [a], out_axes=1)({X})[0]", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a: a, in_axes=(1,))(({X},))[0]", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a, b: a[0] + a[1] + b, in_axes=((0, None), 0))(({X}, {Y}), {X})", (2, 3)),
    (f"mx.vmap(lambda d: d['a'] + d['b'])({{'a': {X}, 'b': {X}}})", [[0, 2, 4], [6, 8, 10]]),
    (f"mx.vmap(lambda a: a)({X}.astype(mx.int8))", [[0, 1, 2], [3, 4, 5]], "int8"),
    ("mx.vmap(lambda a: a.sum())(mx.zeros((0, 3)))", (0,), "float32"),
    ("mx.vmap(lambda a: (a * 2).sum())(mx.zeros((3, 0)))", [0, 0, 0]),
    (f"mx.vmap(mx.vmap(lambda a: a + 1))({X})", [[1, 2, 3], [4, 5, 6]]),
    (f"mx.vmap(mx.vmap(lambda a, b: a * b, (None, 0)), (0, None))({Y}, {Y})", "outer"),
    (f"mx.vmap(lambda a: a, in_axes=2)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=-3)({X})", ValueError),
    (f"mx.vmap(lambda a: a, out_axes=2)({X})", ValueError),
    ("mx.vmap(lambda a: a)(mx.array(1.0))", ValueError),
    (f"mx.vmap(lambda a, b: a, in_axes=(None, None))({X}, {X})", ValueError),
    (f"mx.vmap(lambda a, b: a, in_axes=(0,))({X}, {X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=(0, 0))({X})", ValueError),
    (f"mx.vmap(lambda a, b: a + b)({X}, {Y})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=1.5)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes='0')({X})", ValueError),
    (f"mx.vmap(lambda d: d['a'], in_axes={{'a': 0}})({{'a': {X}, 'b': {X}}})", ValueError),
    (f"mx.vmap(lambda a: (a, a), out_axes=(0,))({X})", ValueError),
    (f"mx.vmap(lambda a, b: a)({X}, 2)", ValueError),
    (f"mx.vmap(lambda a: 3)({X})", ValueError),
    (f"mx.vmap(lambda a: (a, None))({X})", ValueError),
    (f"mx.vmap(lambda a: mx.array(a.sum().item()))({X})", ValueError),
    ("mx.vmap(lambda: mx.array(1))()", ValueError),
    ("mx.vmap(3)", TypeError),
    (f"mx.vmap(lambda a: 1 / 0)({X})", ZeroDivisionError),
]
RILL_CALLS = [
    (f"mx.vmap(lambda a, b: a + b)({X}, b={X})", [[0, 2, 4], [6, 8, 10]]),
    (f"mx.vmap(lambda a, stream: mx.abs(a, stream=stream))({X}, stream=mx.cpu)", (2, 3)),
    (f"mx.vmap(lambda a, b: a + b, in_axes=(0, None))({X}, 2)", [[2, 3, 4], [5, 6, 7]]),
    (f"mx.vmap(lambda a, b: a + b, in_axes=[0, None])({X}, {Y})", [[0, 2, 4], [3, 5, 7]]),
    (f"mx.vmap(lambda a: (a, {Y}), out_axes=(0, None))({X})[1]", [0, 1, 2]),
    (f"mx.vmap(lambda a: a, out_axes=None)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=None)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=True)({X})", ValueError),
    (f"mx.vmap(lambda a, b: a + b)({X}, b={Y})", ValueError),
]


def check(row):
    expression, expected, *name = row
    if isinstance(expected, str):
        expected = np.outer(np.arange(3), np.arange(3)).tolist()
    if isinstance(expected, tuple):
        result = eval(expression, {"mx": mx})
        mx.eval(result)
        assert result.shape == expected
        return
    check_row((expression, expected, *name))


@rows(CALLS)
def test_calls(row):
    check(row)


@rill_only
@rows(RILL_CALLS)
def test_calls_beyond_the_peer(row):
    check(row)


@rill_only
@pytest.mark.parametrize(
    "function, axes, name",
    [
        ("mx.linalg.solve(a, b[:, 0])", (0, 0), "linalg.solve"),
        ("mx.linalg.solve(a, b[:, 0])", (None, 0), "linalg.solve"),
        ("mx.linalg.inv(a) + b", (0, 0), "linalg.inv"),
        ("a @ b", (0, 0), "matmul"),
        ("a @ b", (0, None), "matmul"),
        ("a @ b[:, 0]", (None, 0), "matmul"),
        ("mx.addmm(a, a, b)", (0, None), "addmm"),
        ("mx.sort(a) + b", (0, 0), "sort"),
        ("a[(b[0] * 0).astype(mx.int32)]", (0, 0), "gather"),
        (
            "mx.random.uniform(0, 1, (2,), key=b[0, :2].astype(mx.uint32))",
            (0, 0),
            "random.uniform",
        ),
    ],
)
def test_a_batch_is_one_operation(function, axes, name):
    rng = np.random.default_rng(1)
    arrays = [mx.array(rng.uniform(0, 3, (5, 4, 4)) + 3 * np.eye(4), mx.float32) for _ in axes]
    arrays = [x if axis == 0 else x[0] for x, axis in zip(arrays, axes)]
    mx.eval(arrays)

    def f(a, b):
        return eval(function, {"mx": mx, "a": a, "b": b})

    result = mx.vmap(f, in_axes=axes)(*arrays)
    with mx.trace() as seen:
        mx.eval(result)
    assert sum(record["name"].split()[0] == name for record in seen.records) == 1
    for i in range(5):
        one = [x[i] if axis == 0 else x for x, axis in zip(arrays, axes)]
        assert_near(result[i], to_numpy(f(*one)))


@rill_only
def test_operations_stay_on_their_streams():
    s, t = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.ones((3, 4))
    mx.eval(x)

    def f(a):
        return mx.sort(mx.exp(a, stream=s), stream=t)

    result = mx.vmap(f)(x)
    with mx.trace() as seen:
        mx.eval(result)
    assert {record["stream"] for record in seen.records} == {s, t}
    gradient = mx.vmap(mx.grad(lambda a: mx.sum(mx.exp(a, stream=s), stream=s)))(x)
    with mx.trace() as seen:
        mx.eval(gradient)
    assert all(record["stream"] == s for record in seen.records if "exp" in record["name"])


def test_per_example_gradients():
    rng = np.random.default_rng(0)
    w, x, y = (mx.array(rng.normal(size=s).astype(np.float32)) for s in ((3, 2), (5, 3), (5, 2)))

    def loss(w, x, y):
        return mx.sum(mx.square(mx.tanh(x @ w) - y))

    each = mx.vmap(mx.grad(loss), in_axes=(None, 0, 0))(w, x, y)
    for i in range(5):
        assert_near(each[i], to_numpy(mx.grad(loss)(w, x[i], y[i])))
    total = mx.grad(lambda w: mx.sum(mx.vmap(loss, in_axes=(None, 0, 0))(w, x, y)))(w)
    assert_near(total, to_numpy(mx.sum(each, 0)))


def test_jacobians_and_hessians_from_vmap():
    x = mx.array([0.5, -1.0, 2.0])

    def f(x):
        return mx.stack([x[0] * x[1], mx.sin(x[2]), x[0]])

    rows = mx.vmap(lambda g: mx.vjp(f, [x], [g])[1][0])(mx.eye(3))
    columns = mx.vmap(lambda t: mx.jvp(f, [x], [t])[1][0], out_axes=1)(mx.eye(3))
    expected = [[-1, 0.5, 0], [0, 0, np.cos(2)], [1, 0, 0]]
    assert_near(rows, np.array(expected, np.float32))
    assert_near(columns, np.array(expected, np.float32))

    def energy(x):
        return mx.sum(x * x * x)

    hessian = mx.vmap(lambda t: mx.jvp(mx.grad(energy), [x], [t])[1][0])(mx.eye(3))
    assert_near(hessian, np.diag([3.0, -6.0, 12.0]).astype(np.float32))


def test_vmap_within_a_gradient_sees_what_is_outside():
    x = mx.array([1.0, 2.0])

    def loss(w):
        return mx.sum(mx.vmap(lambda a: a * w[0] * x)(w))

    assert_same(mx.grad(loss)(x), [12, 3])


def test_keys_give_each_of_the_batch_its_own_numbers():
    keys = mx.random.split(mx.random.key(3), 4)
    draws = mx.vmap(lambda key: mx.random.normal((3,), key=key))(keys)
    for i in range(4):
        assert_near(draws[i], to_numpy(mx.random.normal((3,), key=keys[i])))
    shared = mx.vmap(lambda x: x + mx.random.uniform(shape=(2,)))(mx.zeros((3, 2)))
    assert_same(shared[1], to_numpy(shared[0]))


def test_errors_of_an_operation_come_out_and_leave_nothing_behind():
    x = mx.ones((3, 2, 2))
    with pytest.raises(ValueError):
        mx.vmap(lambda a: a @ mx.ones((3, 3)))(x)
    with pytest.raises((ValueError, RuntimeError)):
        mx.eval(mx.vmap(lambda a: mx.linalg.inv(a, stream=mx.cpu))(x))
    assert_same(mx.vmap(lambda a: a + 1)(x), np.full((3, 2, 2), 2))


@rill_only
def test_a_value_of_a_trace_that_has_ended_cannot_be_read():
    kept = []
    mx.vmap(lambda a: kept.append(a * 2) or a)(mx.ones((2, 3)))
    with pytest.raises(ValueError):
        mx.eval(kept)


@rill_only
def test_axes_nested_in_themselves_are_refused():
    axes, tree = [], []
    axes.append(axes)
    tree.append(tree)
    with pytest.raises(ValueError):
        mx.vmap(lambda a: a, in_axes=[axes])(tree)


class Model:
    """An object that refers to its own gradient."""


@pytest.mark.parametrize("transform", ["grad", "value_and_grad", "vmap"])
def test_cycles_through_a_transformed_function_are_freed(transform):
    model = Model()
    alive = weakref.ref(model)
    model.scale = mx.array(2.0)

    def loss(x, model=model):
        return (x * model.scale).sum()

    model.step = getattr(mx, transform)(loss)
    model.step(mx.ones((2, 3)))
    del model, loss
    gc.collect()
    assert alive() is None


@rill_only
def test_a_transformed_function_shows_what_it_wraps():
    def f(x):
        return x

    assert mx.vmap(f).__wrapped__ is f and "vmap of <function" in repr(mx.vmap(f))
    with pytest.raises(TypeError):
        type(mx.grad(f))()


@rill_only
def test_nothing_is_left_at_exit():
    program = """
import rill.core as mx
class Model: pass
model = Model()
def loss(x, model=model): return (x * model.scale).sum()
model.scale, model.step, model.many = mx.array(2.0), mx.grad(loss), mx.vmap(mx.grad(loss))
model.many(mx.ones((2, 3)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(RILL_LEAK_WARNINGS="1"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
