"""cond, while_loop and scan: against the same loops in Python, and differentiated."""

import gc
import threading

import numpy as np
import pytest
from support import assert_near, mx, rill_only, to_numpy

pytestmark = rill_only

DTYPES = ("bool_", "uint8", "int64", "float16", "bfloat16", "float32", "float64", "complex64")


def normal(*shape, seed=0):
    return mx.random.normal(shape, key=mx.random.key(seed))


def python_scan(f, carry, xs, reverse=False):
    ys = [None] * xs.shape[0]
    order = range(xs.shape[0])
    for i in reversed(order) if reverse else order:
        carry, ys[i] = f(carry, xs[i])
    return carry, mx.stack(ys)


# ------------------------------------------------------------------------------------------ cond


@pytest.mark.parametrize("pred", [True, False, mx.array(True), mx.array([0]), mx.array(2.5)])
def test_cond_takes_one_branch(pred):
    y = mx.array([1.0, 2.0])
    result = mx.cond(pred, lambda x: {"a": x + y, "b": 1}, lambda x: {"a": x * 2, "b": 1}, y)
    holds = bool(pred.item()) if isinstance(pred, mx.array) else pred
    assert result["a"].tolist() == [2, 4] and result["b"].item() == 1
    other = mx.cond(pred, lambda x: x + 1, lambda x: x - 1, mx.array(5))
    assert other.item() == (6 if holds else 4)


def test_cond_computes_only_one_branch():
    """The other one would fail."""
    matrix = mx.zeros((2, 2))

    def f(flag):
        return mx.cond(flag, mx.linalg.inv, lambda x: x + 1, matrix)

    assert f(mx.array(False)).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ValueError, match="singular"):
        mx.eval(f(mx.array(True)))


@pytest.mark.parametrize("flag", [True, False])
def test_cond_has_derivatives(flag):
    def f(x, y):
        return mx.cond(x[0] > 0, lambda x: mx.sin(x) * y, lambda x: x * x, x).sum()

    x, y = mx.array([0.5 if flag else -0.5, 2.0]), mx.array(3.0)
    v, t = to_numpy(x), np.ones(2, np.float32)
    dx, dy = mx.grad(f, argnums=(0, 1))(x, y)
    assert_near(dx, np.cos(v) * 3 if flag else 2 * v)
    assert_near(dy, np.float32(np.sin(v).sum() if flag else 0))
    _, (tangent,) = mx.jvp(lambda x: f(x, y), [x], [mx.array(t)])
    assert_near(tangent, np.float32((np.cos(v) * 3 if flag else 2 * v).sum()))
    second = mx.grad(lambda x: mx.grad(f)(x, y).sum())(x)
    assert_near(second, -np.sin(v) * 3 if flag else 0 * v + 2)


@pytest.mark.parametrize(
    "false_fn",
    [
        lambda x: x.astype(mx.int32),
        lambda x: x[:1],
        lambda x: (x, x),
        lambda x: [x],
        lambda x: {"a": x},
    ],
)
def test_cond_wants_the_same_results(false_fn):
    with pytest.raises(ValueError, match="cond"):
        mx.cond(mx.array(True), lambda x: x, false_fn, mx.ones(2))


def test_cond_refuses():
    with pytest.raises(ValueError):
        mx.cond(mx.array([True, False]), lambda: mx.array(1), lambda: mx.array(2))
    with pytest.raises(TypeError):
        mx.cond(mx.array(True), 3, lambda: mx.array(2))
    with pytest.raises(TypeError, match="cond"):
        mx.cond("yes", lambda: mx.array(1), lambda: mx.array(2))
    with pytest.raises(ZeroDivisionError):
        mx.cond(True, lambda: 1 // 0, lambda: mx.array(1))


# ------------------------------------------------------------------------------------ while_loop


def test_while_counts():
    limit = mx.array(1000)
    step = mx.array(3) * 2
    state = mx.while_loop(
        lambda s: s["i"] < limit, lambda s: {"i": s["i"] + step, "n": s["n"] + 1}, {"i": 1, "n": 0}
    )
    assert state["i"].item() == 1003 and state["n"].item() == 167


def test_while_may_run_not_at_all():
    x = mx.array([1.0, 2.0])
    assert mx.while_loop(lambda x: x.sum() > 100, lambda x: x * 2, x).tolist() == [1, 2]


def test_while_swaps_its_state():
    a, b, _ = mx.while_loop(
        lambda s: s[2] > 0,
        lambda s: (s[1], s[0] + s[1], s[2] - 1),
        (mx.array(0), mx.array(1), mx.array(20)),
    )
    assert a.item() == 6765 and b.item() == 10946


def test_while_has_forward_derivatives_only():
    def f(x):
        return mx.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * x, s[1] + 1), (x, 0))[0]

    (out,), (tangent,) = mx.jvp(f, [mx.array(2.0)], [mx.array(1.0)])
    assert out.item() == 16 and tangent.item() == 32
    with pytest.raises(ValueError, match="while_loop"):
        mx.grad(f)(mx.array(2.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_while_keeps_dtypes(dtype):
    x = mx.array([1, 0], dtype=getattr(mx, dtype))
    state = mx.while_loop(lambda s: s[1] < 2, lambda s: (s[0][::-1], s[1] + 1), (x, mx.array(1)))
    assert state[0].dtype == x.dtype and to_numpy(state[0]).tolist() == [0, 1]


@pytest.mark.parametrize(
    "body", [lambda x: x[:1], lambda x: x * 1.5, lambda x: (x,), lambda x: None]
)
def test_while_wants_the_same_state(body):
    with pytest.raises(ValueError, match="while_loop"):
        mx.while_loop(lambda x: x.sum() < 3, body, mx.array([1, 2]))


def test_while_refuses():
    with pytest.raises(ValueError):
        mx.while_loop(lambda x: x < 3, lambda x: x, mx.array([1, 2]))
    with pytest.raises(ValueError):
        mx.while_loop(lambda x: True, lambda x: x, ())


# ------------------------------------------------------------------------------------------ scan


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 7])
def test_scan_is_the_loop(length, reverse):
    w = normal(3, 3, seed=1)

    def f(carry, x):
        carry = mx.tanh(carry @ w + x)
        return carry, carry.sum() * x

    xs = normal(length, 3, seed=2)
    carry, ys = mx.scan(f, mx.ones(3), xs, reverse=reverse)
    assert ys.shape == (length, 3) and ys.dtype == mx.float32
    if length == 0:
        assert carry.tolist() == [1, 1, 1]
        return
    expected = python_scan(f, mx.ones(3), xs, reverse)
    np.testing.assert_array_equal(to_numpy(carry), to_numpy(expected[0]))
    np.testing.assert_array_equal(to_numpy(ys), to_numpy(expected[1]))


BODIES = {  # what a step makes of the carry (two 3x3 matrices) and an element
    "swap": lambda a, b, x: ((b, a), x),
    "read after write": lambda a, b, x: ((a * x, a + b), a - b),
    "write after read": lambda a, b, x: ((a + b, b * x), b),
    "views": lambda a, b, x: ((a.T, b[::-1]), a.T[1] + x[0]),
    "view of the next": lambda a, b, x: (((c := a + x).T, b), c[0]),
    "reshaped": lambda a, b, x: (((a.reshape(9) + 1).reshape(3, 3), a.T.reshape(3, 3)), b),
    "one value, three places": lambda a, b, x: ((c := a - x, c), c),
    "old carry as output": lambda a, b, x: ((a + b, a), (a, b[0])),
    "carry that stays": lambda a, b, x: ((a + b, b), a.sum() * x),
    "constant carry": lambda a, b, x: ((mx.zeros_like(a), x), a * 2 + b),
    "stretched": lambda a, b, x: ((a + x[0], a[:, :1] - b), x[:, 1:2] * b),
    "reduced": lambda a, b, x: ((a - b.sum(), b + a.max(axis=0)), (a + x).sum(axis=1)),
    "sorted": lambda a, b, x: ((mx.sort(a + x, axis=0), mx.cumsum(b, axis=1) - x), mx.argmax(a)),
    "selected": lambda a, b, x: (
        (mx.where(a > x, a, b), mx.maximum(a, b)),
        (a > b).astype(a.dtype),
    ),
    "cast": lambda a, b, x: ((a.astype(mx.float32).astype(a.dtype), b + a), a.astype(mx.int32)),
    "branch": lambda a, b, x: (
        (mx.cond(x[0, 0] > 0, lambda a: a + x, lambda a: a.T, a), b),
        mx.cond(x[0, 0] > 0, lambda: mx.array(1), lambda: mx.array(2)),
    ),
    "loop": lambda a, b, x: (
        (
            mx.scan(lambda c, y: (c - y, c), a[0], x)[1],
            mx.while_loop(lambda c: c.sum() < 0, mx.abs, b),
        ),
        x,
    ),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("body", BODIES)
def test_loops_in_place_have_the_bits_of_the_loop(body, dtype, reverse):
    as_type = lambda x: (x * 4).astype(getattr(mx, dtype))
    a, b = as_type(normal(3, 3, seed=1)), as_type(normal(3, 3, seed=2))
    xs = as_type(normal(3, 5, 3, seed=3)).transpose(1, 2, 0)
    f = lambda carry, x: BODIES[body](*carry, x)
    carry, ys = mx.scan(f, (a, b), xs, reverse=reverse)
    expected, rows = (a, b), [None] * 5
    for i in reversed(range(5)) if reverse else range(5):
        expected, rows[i] = f(expected, xs[i])
    rows = [row if isinstance(row, tuple) else (row,) for row in rows]
    ys = ys if isinstance(ys, tuple) else (ys,)
    pairs = [*zip(carry, expected), *((y, mx.stack(list(row))) for y, row in zip(ys, zip(*rows)))]
    for own, plain in pairs:
        assert own.dtype == plain.dtype
        np.testing.assert_array_equal(to_numpy(own), to_numpy(plain))
    with mx.trace():  # every step by itself
        again, _ = mx.scan(f, (a, b), xs, reverse=reverse)
        mx.eval(again)
    for own, plain in zip(again, expected):
        np.testing.assert_array_equal(to_numpy(own), to_numpy(plain))


@pytest.mark.parametrize("dtype", ["bool_", "int32", "int64", "uint8", "float32", "float64"])
def test_loops_over_single_numbers(dtype):
    dtype = getattr(mx, dtype)
    one, two = mx.array(1).astype(dtype), mx.array(2).astype(dtype)

    def f(c, x):
        sum_ = c * two + x
        part = mx.exp((c - x).astype(mx.float32)) / 3
        return sum_ - (sum_ > two).astype(dtype), (
            sum_,
            part,
            c == x,
            c <= x,
            c >= x,
            c != x,
            c < x,
        )

    xs = (normal(20) * 3).astype(dtype)
    carry, ys = mx.scan(f, one, xs)
    c, rows = one, []
    for i in range(20):
        c, row = f(c, xs[i])
        rows.append(row)
    np.testing.assert_array_equal(to_numpy(carry), to_numpy(c))
    for own, row in zip(ys, zip(*rows)):
        np.testing.assert_array_equal(to_numpy(own), to_numpy(mx.stack(list(row))))


@pytest.mark.parametrize("size", [2, 65, 200])  # small, longer than a tile, too large to be kept
def test_loops_of_all_sizes(size):
    w, xs, h = normal(size, size) / size, normal(4, size, size, seed=1), normal(size, size, seed=2)
    f = lambda h, x: ((h := mx.tanh(h @ w + x @ w.T + mx.arange(size))), h.sum(axis=-1))
    big = mx.ones((300, 300))
    (carry, same), ys = mx.scan(lambda c, x: ((f(c[0], x)[0], c[1]), f(c[0], x)[1]), (h, big), xs)
    expected = python_scan(f, h, xs)
    np.testing.assert_array_equal(to_numpy(carry), to_numpy(expected[0]))
    np.testing.assert_array_equal(to_numpy(ys), to_numpy(expected[1]))
    assert same.shape == big.shape and same.sum().item() == 90_000


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_gradients_of_some_operands(wanted):
    w, xs, h = normal(3, 3, seed=1), normal(5, 3, seed=2), normal(3, seed=3)

    def loss(scan):
        def f(w, xs, h):
            carry, ys = scan(lambda c, x: ((c := mx.tanh(c @ w + x)), c * x), h, xs)
            return carry.sum() + ys.sum()

        return f

    own, plain = (mx.grad(loss(scan), argnums=wanted)(w, xs, h) for scan in (mx.scan, python_scan))
    for a, b in zip(own, plain):
        assert_near(a, to_numpy(b), tolerance=1e-5)


def test_scan_over_trees_and_without_arrays():
    carry, ys = mx.scan(
        lambda c, x: ({"n": c["n"] + x["a"]}, [x["b"] * 2, c["n"]]),
        {"n": 0},
        {"a": mx.arange(4), "b": mx.arange(8).reshape(4, 2).T.reshape(2, 4).T},
    )
    assert carry["n"].item() == 6
    assert ys[0].shape == (4, 2) and ys[1].tolist() == [0, 0, 1, 3]
    carry, ys = mx.scan(lambda c, x: (c * 2, None), mx.array(1), length=10)
    assert carry.item() == 1024 and ys is None
    assert mx.scan(lambda c, x: (c, x), (), mx.arange(3)) is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_scan_keeps_dtypes(dtype):
    xs = mx.array([[1, 0], [0, 1], [1, 1]], dtype=getattr(mx, dtype))
    carry, ys = mx.scan(lambda c, x: (x, c), xs[0], xs[::-1])
    assert carry.dtype == ys.dtype == xs.dtype
    np.testing.assert_array_equal(to_numpy(ys), to_numpy(xs)[[0, 2, 1]])


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_has_derivatives(reverse):
    w, xs, init = normal(3, 3, seed=1), normal(5, 3, seed=2), normal(3, seed=3)

    def step(w):
        return lambda c, x: ((c := mx.tanh(c @ w + x)), mx.sin(c) * x)

    def loss(scan):
        def f(w, xs, init):
            carry, ys = scan(step(w), init, xs, reverse=reverse)
            return mx.square(carry).sum() + ys.sum()

        return f

    def second(gradient):
        squares = lambda *a: sum((x * x).sum() for x in gradient(*a))
        return mx.grad(squares, argnums=(0, 1, 2))

    first = [mx.grad(loss(scan), argnums=(0, 1, 2)) for scan in (mx.scan, python_scan)]
    for own, expected in (first, map(second, first)):
        for a, b in zip(own(w, xs, init), expected(w, xs, init)):
            assert_near(a, to_numpy(b), tolerance=1e-4)
    pushed = [
        mx.jvp(loss(scan), [w, xs, init], [w, xs, init])[1] for scan in (mx.scan, python_scan)
    ]
    assert_near(pushed[0][0], to_numpy(pushed[1][0]), tolerance=1e-5)
    _, hvp = mx.jvp(mx.grad(loss(mx.scan)), [w, xs, init], [w, xs, init])
    _, expected = mx.jvp(mx.grad(loss(python_scan)), [w, xs, init], [w, xs, init])
    assert_near(hvp[0], to_numpy(expected[0]), tolerance=1e-4)


def test_scan_with_an_integer_carry_has_derivatives():
    def f(x):
        (_, total), _ = mx.scan(lambda c, x: ((c[0] + 1, c[1] + c[0] * x), None), (0, 0.0), x)
        return total

    assert mx.grad(f)(mx.ones(4)).tolist() == [0, 1, 2, 3]


def test_nested_control_flow():
    def f(x):
        def step(c, t):
            c = mx.cond(t > 2, lambda c: c * x, lambda c: c + x, c)
            inner, _ = mx.scan(lambda a, b: (a + b * c, None), c, mx.arange(3, dtype=mx.float32))
            return inner, c

        carry, ys = mx.scan(step, x, mx.arange(5))
        return carry + ys.sum()

    def plain(x):
        c, total = x, 0
        for t in range(5):
            c = c * x if t > 2 else c + x
            total = total + c
            c = c + 3 * c
        return c + total

    x = mx.array(0.3)
    assert f(x).item() == pytest.approx(plain(x).item(), rel=1e-5)
    assert mx.grad(f)(x).item() == pytest.approx(mx.grad(plain)(x).item(), rel=1e-4)


def test_scan_traces_once_and_runs_without_python():
    calls = []

    def f(c, x):
        calls.append(1)
        return c + x, c

    mx.eval(mx.scan(f, mx.array(0.0), mx.ones(1000)))
    assert len(calls) == 1


@pytest.mark.parametrize(
    "f",
    [
        lambda c, x: c,
        lambda c, x: (c, x, x),
        lambda c, x: (c.astype(mx.int32), x),
        lambda c, x: (c[None], x),
        lambda c, x: ((c, c), x),
    ],
)
def test_scan_wants_the_same_carry(f):
    with pytest.raises(ValueError, match="scan"):
        mx.scan(f, mx.array(1.0), mx.ones(3))


@pytest.mark.parametrize(
    "init, xs, length", [(1, None, None), (1, mx.ones(3), 4), (1, mx.array(1), None), (1, None, -1)]
)
def test_scan_refuses(init, xs, length):
    with pytest.raises(ValueError):
        mx.scan(lambda c, x: (c, c), init, xs, length)


def test_bodies_must_not_evaluate():
    with pytest.raises(ValueError, match="transformation"):
        mx.scan(lambda c, x: (c + x.item(), x), mx.array(1.0), mx.ones(3))


def test_errors_inside_are_raised():
    def f(c, x):
        return mx.linalg.inv(c), x

    with pytest.raises(ValueError, match="singular"):
        mx.eval(mx.scan(f, mx.zeros((2, 2)), mx.ones(3)))


def test_one_loop_from_many_threads():
    w = normal(4, 4)
    mx.eval(w)
    carry, _ = mx.scan(lambda c, x: (mx.tanh(c @ w + x), None), mx.ones(4), normal(50, 4))
    expected = carry.tolist()
    results = []

    def work():
        for _ in range(5):
            c, _ = mx.scan(lambda c, x: (mx.tanh(c @ w + x), None), mx.ones(4), normal(50, 4))
            results.append(c.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [expected] * 20


def test_streams_inside_and_outside():
    stream, inner = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    f = lambda c, x: (mx.add(c, x, stream=inner), mx.multiply(c, 2, stream=stream))
    carry, ys = mx.scan(f, mx.array(0.0), mx.arange(5, dtype=mx.float32), stream=stream)
    assert carry.item() == 10 and ys.tolist() == [0, 0, 2, 6, 12]


def test_memory_does_not_grow_with_the_steps():
    x = mx.ones((256, 256))
    mx.eval(x)
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(mx.while_loop(lambda s: s[1] < 200, lambda s: (mx.sin(s[0]) @ x, s[1] + 1), (x, 0)))
    assert mx.get_peak_memory() - before < 8 * x.nbytes
    gc.collect()
    assert mx.get_active_memory() <= before + 1024


def test_compiled_gradients_keep_no_sums_of_each_step():
    """Where nothing reads how the carry of the way back grew, it is not kept."""
    w, x = normal(64, 64) / 8, normal(200, 4, 64)

    def f(w, x):
        return mx.scan(lambda h, x: (mx.tanh(x + h @ w), h.sum()), x[0] * 0, x)[1].sum()

    wanted = mx.grad(f)(w, x)
    g = mx.compile(mx.grad(f))
    mx.eval(wanted, g(w, x))
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(g(w, x))
    assert mx.get_peak_memory() - before < 100 * w.nbytes
    assert g(w, x).tolist() == wanted.tolist()
    # The same loop twice, one of them with its history.
    h = mx.compile(mx.grad(lambda w, x: (mx.grad(f)(w, x) * w).sum()))
    assert_near(h(w, x), mx.grad(lambda w, x: (mx.grad(f)(w, x) * w).sum())(w, x), tolerance=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reverse", [False, True])
def test_numbers_that_pass_from_operation_to_operation(dtype, reverse):
    """Each operand of each kind of arithmetic is at times the result before it, or an older one."""
    dtype = getattr(mx, dtype)

    def f(c, x):
        a, b = c
        d = a * x + b
        e = x - d * d
        g = (d / 3 + e) * (2 / (e * e + 1))
        h = mx.where(g > d, g * a + 0.5, 1 - g)
        k = h + mx.exp(-h * h)  # a call between
        return (k * 0.25 + d * 0.125, b - k / 7), (d, g + h, k, a)

    start = mx.array(0.5).astype(dtype), mx.array(-0.25).astype(dtype)
    xs = normal(150).astype(dtype)  # more steps than are done at once
    xs[20], xs[140] = (140.0, float("nan")) if reverse else (float("inf"), 3.0)
    carry, ys = mx.scan(f, start, xs, reverse=reverse)
    expected, rows = start, [None] * 150
    for i in reversed(range(150)) if reverse else range(150):
        expected, rows[i] = f(expected, xs[i])
    pairs = [*zip(carry, expected), *((y, mx.stack(list(row))) for y, row in zip(ys, zip(*rows)))]
    for own, plain in pairs:
        np.testing.assert_array_equal(to_numpy(own), to_numpy(plain))


@pytest.mark.parametrize("limit", [0, 1, 63, 64, 65, 200])
def test_a_while_loop_ends_after_any_number_of_steps(limit):
    start = mx.array(0), mx.array(1.0), mx.zeros(3)
    step = lambda s: (s[0] + 1, s[1] * 0.5 + 1, s[2] + s[1])
    out = mx.while_loop(lambda s: s[0] < limit, step, start)
    expected = start
    for _ in range(limit):
        expected = step(expected)
    for own, plain in zip(out, expected):
        np.testing.assert_array_equal(to_numpy(own), to_numpy(plain))
