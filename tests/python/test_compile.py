"""mx.compile: what it gives, what it keeps apart, what it refuses."""

import functools
import gc
import weakref
from collections import namedtuple
from functools import partial

import numpy as np
import pytest
from support import Traced, assert_same, in_threads, mx, rill_only, to_numpy

Pair = namedtuple("Pair", "first second")


@pytest.fixture(autouse=True)
def enabled():
    yield
    mx.enable_compile()


def test_values_and_number_of_traces():
    f = Traced(lambda x, y: mx.exp(-x) * y + x)
    g = mx.compile(f)
    x, y = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    for _ in range(3):
        assert_same(g(x, y), to_numpy(f.fun(x, y)), "float32")
    assert f.count == 1
    assert g(x[:1], y).shape == (2,) and f.count == 2
    assert_same(g(x.astype(mx.int32), y), to_numpy(f.fun(x.astype(mx.int32), y)))
    assert f.count == 3


CONSTANTS = [1, 2, 1.0, True, 0.0, -0.0, None, "a", "b", 2**40, [1, 2], [1, 3], {"k": 1}, {"k": 2}]


def test_a_constant_is_part_of_the_signature():
    f = Traced(lambda x, _: x + f.count)
    g = mx.compile(f)
    x = mx.array(0.0)
    first = [g(x, c).item() for c in CONSTANTS]
    assert first == [i + 1.0 for i in range(len(CONSTANTS))]
    assert [g(x, c).item() for c in CONSTANTS] == first
    assert [g(x, _=c).item() for c in CONSTANTS] != first


@rill_only
@pytest.mark.parametrize(
    "constant", [2**70, b"x", 1 + 2j, mx.float16, mx.cpu, mx.Device(mx.cpu), (1, Pair(2, 3))]
)
def test_more_constants(constant):
    f = Traced(lambda x, c, *, k: x * 2)
    g = mx.compile(f)
    for _ in range(2):
        assert g(mx.array(1.0), constant, k=constant).item() == 2.0
    assert f.count == 1


@rill_only
def test_a_stream_is_an_argument():
    g = mx.compile(lambda x, s: mx.exp(x, stream=s) + 1)
    s = mx.new_stream(mx.cpu)
    for stream in (s, mx.default_stream(mx.cpu), s):
        assert g(mx.array(0.0), stream).item() == 2.0


@pytest.mark.parametrize("bad", [object(), {1, 2}, len, np.ones(2), slice(1)])
def test_other_arguments_are_refused(bad):
    g = mx.compile(lambda x, c: x)
    with pytest.raises(ValueError, match="compile"):
        g(mx.array(1.0), bad)
    with pytest.raises(ValueError, match="compile"):
        g(mx.array(1.0), [{"a": (bad,)}])


def test_deep_and_circular_arguments_are_refused():
    tree = []
    tree.append(tree)
    with pytest.raises((ValueError, RecursionError)):
        mx.compile(lambda x: mx.array(1.0))(tree)


def test_trees():
    def f(tree, scale=1.0, **more):
        a, (b, c) = tree["a"], tree["b"]
        return {"sum": a + b * scale, "rest": [c, (a, more["z"] * 2)]}, 3, None, "text"

    g = mx.compile(f)
    arrays = [mx.array(float(i)) for i in range(4)]
    for scale in (1.0, 2.0, mx.array(3.0)):
        tree = {"a": arrays[0], "b": (arrays[1], arrays[2])}
        result, expected = (h(tree, scale=scale, z=arrays[3]) for h in (g, f))
        assert result[1:] == (3, None, "text")
        assert list(result[0]) == ["sum", "rest"]
        assert result[0]["sum"].item() == expected[0]["sum"].item()
        assert result[0]["rest"][1][1].item() == 6.0


@pytest.mark.parametrize("value", [None, (), [], 3.0, {}])
def test_results_without_arrays(value):
    assert mx.compile(lambda x: value)(mx.array(1.0)) == value


@rill_only
def test_a_named_tuple_stays_one():
    result = mx.compile(lambda p: Pair(p.second, p.first + 1))(Pair(mx.array(1.0), mx.array(2.0)))
    assert isinstance(result, Pair)
    assert (result.first.item(), result.second.item()) == (2.0, 2.0)


def test_no_arguments_and_captured_arrays_are_constants():
    weight = mx.array([1.0, 2.0])
    g = mx.compile(lambda: weight * 2)
    assert_same(g(), [2.0, 4.0])
    holder = [weight]
    h = mx.compile(lambda x: x * holder[0])
    assert_same(h(mx.array(2.0)), [2.0, 4.0])
    holder[0] = mx.array([5.0, 5.0])
    assert_same(h(mx.array(2.0)), [2.0, 4.0])


def test_results_that_are_inputs():
    g = mx.compile(lambda x, y: (y, x, x))
    x, y = mx.array(1.0), mx.array(2.0)
    assert [a.item() for a in g(x, y)] == [2.0, 1.0, 1.0]


def test_attributes():
    def named(x):
        """Text."""
        return x

    g = mx.compile(named)
    assert (g.__name__, g.__doc__, g.__qualname__) == ("named", "Text.", named.__qualname__)
    with pytest.raises(AttributeError):
        g.no_such_name  # noqa: B018


def test_wrong_calls():
    with pytest.raises(TypeError):
        mx.compile(3)
    g = mx.compile(lambda x, y: x + y)
    with pytest.raises(TypeError):
        g(mx.array(1.0))
    assert g(mx.array(1.0), mx.array(1.0)).item() == 2.0


def test_an_exception_of_the_function_passes_through():
    fails = [True]

    def f(x):
        if fails[0]:
            raise KeyError("mine")
        return x + 1

    g = mx.compile(f)
    with pytest.raises(KeyError, match="mine"):
        g(mx.array(1.0))
    fails[0] = False
    assert g(mx.array(1.0)).item() == 2.0


IMPURE = {
    "eval": lambda x: (mx.eval(x + 1), x)[1],
    "item": lambda x: x * x.item(),
    "bool": lambda x: x if x > 0 else -x,
    "print": lambda x: (str(x), x)[1],
    "numpy": lambda x: mx.array(np.array(x)),
    "list": lambda x: x * x.tolist(),
}


@pytest.mark.parametrize("name", IMPURE)
def test_a_value_inside_is_refused(name):
    with pytest.raises((ValueError, RuntimeError), match=r"\beval"):
        mx.eval(mx.compile(IMPURE[name])(mx.array(1.0)))


def test_a_leaked_array_is_refused():
    leaked = []
    g = mx.compile(lambda x: (leaked.append(x * 2), x)[1])
    assert g(mx.array(1.0)).item() == 1.0
    with pytest.raises((ValueError, RuntimeError), match="outputs"):
        mx.eval(leaked[0] + 1)


# Transforms


def loss(w, x):
    return (mx.tanh(x @ w) ** 2).sum()


def test_in_any_nesting_with_gradients():
    rng = np.random.default_rng(0)
    w, x = (mx.array(rng.standard_normal((4, 4), dtype=np.float32)) for _ in range(2))
    expected = to_numpy(mx.grad(loss)(w, x))
    compiled = mx.compile(loss)
    for f in (
        mx.grad(compiled),
        mx.compile(mx.grad(loss)),
        mx.compile(mx.grad(compiled)),
        mx.compile(mx.compile(mx.grad(mx.compile(compiled)))),
    ):
        for _ in range(2):
            assert_same(f(w, x), expected)
    second = lambda f: mx.grad(lambda w: mx.grad(f)(w, x).sum())
    expected = to_numpy(second(loss)(w))
    for f in (second(compiled), mx.compile(second(loss)), mx.compile(second(compiled))):
        np.testing.assert_allclose(to_numpy(f(w)), expected, rtol=1e-5, atol=1e-5)
    value, tangent = mx.jvp(lambda w: compiled(w, x), (w,), (mx.ones_like(w),))
    plain = mx.jvp(lambda w: loss(w, x), (w,), (mx.ones_like(w),))
    assert_same(value[0], to_numpy(plain[0][0]))
    assert_same(tangent[0], to_numpy(plain[1][0]))


def test_an_inner_function_reads_what_the_outer_follows():
    def f(w):
        return mx.compile(lambda x: x * w)(mx.array([1.0, 2.0])).sum()

    assert mx.grad(f)(mx.array(5.0)).item() == 3.0
    assert mx.compile(mx.grad(f))(mx.array(5.0)).item() == 3.0
    assert mx.compile(f)(mx.array(5.0)).item() == 15.0


def test_value_and_grad_with_state():
    rng = np.random.default_rng(1)
    x = mx.array(rng.standard_normal((8, 4), dtype=np.float32))
    start = rng.standard_normal((4, 4), dtype=np.float32)

    def train(wrap):
        state = {"w": mx.array(start)}

        def step(x):
            value, gradient = mx.value_and_grad(loss)(state["w"], x)
            state["w"] = state["w"] - 0.01 * gradient
            return value

        step = wrap(step, state)
        values = [step(x).item() for _ in range(5)]
        return values, to_numpy(state["w"])

    plain = train(lambda f, state: f)
    compiled = train(lambda f, state: mx.compile(f, inputs=state, outputs=state))
    assert compiled[0] == plain[0]
    np.testing.assert_array_equal(compiled[1], plain[1])


# Shapes, switches, streams, threads, memory


def test_switches():
    f = Traced(lambda x: x + 1)
    g = mx.compile(f)
    mx.disable_compile()
    for i in range(3):
        assert g(mx.array(1.0)).item() == 2.0
        assert f.count == i + 1
    mx.enable_compile()
    for _ in range(3):
        assert g(mx.array(1.0)).item() == 2.0
    assert f.count == 4


@rill_only
def test_streams_inside_and_outside():
    first, second = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)

    def f(x):
        y = mx.exp(x, stream=first)
        z = mx.sin(x, stream=second)
        return (y * z).sum(), mx.add(y, z, stream=first)

    f = Traced(f)
    g = mx.compile(f)
    x = mx.array(np.linspace(0, 1, 1000, dtype=np.float32))
    expected = [to_numpy(a) for a in f.fun(x)]
    for stream in (None, first, second, mx.new_stream(mx.cpu)):
        with mx.stream(stream or mx.default_stream(mx.cpu)):
            for value, right in zip(g(x), expected, strict=True):
                assert_same(value, right)
    assert f.count == 1


@rill_only
def test_one_function_in_many_threads():
    other = mx.new_stream(mx.cpu)
    f = Traced(lambda x, w: mx.tanh(mx.add(x @ w, 1.0, stream=other)).sum(axis=0))
    g = mx.compile(f)
    rng = np.random.default_rng(0)
    inputs = [mx.array(rng.standard_normal((16, 16), dtype=np.float32)) for _ in range(8)]
    expected = [to_numpy(f.fun(x, x)) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(30):
            if not np.array_equal(to_numpy(g(inputs[i], inputs[i])), expected[i]):
                wrong.append(i)

    in_threads(work, 8)
    assert not wrong
    assert f.count == 1


@rill_only
def test_memory_stays_flat():
    state = [mx.zeros((64,))]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x):
        state[0] = state[0] * 0.5 + x
        return (state[0] @ state[0], mx.exp(x))

    x = mx.ones((64,))

    def run(count):
        for _ in range(count):
            mx.eval(step(x), state)
        return mx.get_active_memory()

    first = run(100)
    assert run(20_000) == first


@rill_only
def test_a_constant_that_changes_does_not_fill_the_memory():
    g = mx.compile(lambda x, k: x * k)
    x = mx.array(2.0)
    for k in range(1000):
        assert g(x, float(k)).item() == 2.0 * k
    assert g(x, 3.0).item() == 6.0


@rill_only
def test_a_function_that_holds_itself_is_collected():
    class Model:
        def __init__(self):
            self.step = mx.compile(self.forward)

        def forward(self, x):
            return x + 1

    model = Model()
    assert model.step(mx.array(1.0)).item() == 2.0
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@rill_only
def test_pending_results_outlive_the_function():
    results = [mx.compile(lambda x, k=k: mx.exp(x) + k)(mx.array(0.0)) for k in range(5)]
    gc.collect()
    assert [r.item() for r in results] == [1.0 + k for k in range(5)]


def polynomials(x, y, row):
    """More numbers than a program has operands, and every kind of chained arithmetic."""
    total = x * 0.5
    for k in range(20):
        total = (total * y + (k + 0.25)) * (0.125 * k) - x
    ratio = (3 - y * (1.5 + x)) / (x * x + 2.5) + 1 / (mx.square(y) + row)
    return mx.sqrt(mx.abs(total)) * -ratio, total / 7 - 2 / (ratio + 5), row - total * row


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(1,), (511,), (4, 150), (3, 1025), (0, 4), (40, 1031)])
def test_long_arithmetic_has_the_bits_of_single_operations(shape, dtype):
    dtype = getattr(mx, dtype)
    x = mx.random.normal(shape[::-1], key=mx.random.key(1)).astype(dtype).T
    y = mx.random.normal(shape, key=mx.random.key(2)).astype(dtype)
    row = mx.random.normal(shape[-1:], key=mx.random.key(3)).astype(dtype)
    mx.eval(x, y, row)
    fused = mx.compile(polynomials)(x, y, row)
    donated = polynomials(x + 0, y + 0, row)
    mx.eval(fused, donated)
    with mx.debug():  # nothing is fused
        single = polynomials(x, y, row)
        mx.eval(single)
    for one, two, three in zip(fused, donated, single):
        assert one.dtype == three.dtype == dtype
        np.testing.assert_array_equal(to_numpy(one), to_numpy(three))
        np.testing.assert_array_equal(to_numpy(two), to_numpy(three))


def arithmetic_tree(rng, leaves, depth):
    """A random tree of arithmetic whose inner values may be read again; returns its values."""
    values = list(leaves)

    def grow(depth):
        if depth == 0 or rng.random() < 0.1:
            return values[rng.integers(len(values))]
        kind = rng.integers(12)
        if kind < 9:
            a, b = grow(depth - 1), grow(depth - 1)
            out = (a + b, a - b, a * b, a + b * 0.5, 2 - a * b, a * b + a, a / (b * b + 1))[
                kind % 7
            ]
        else:
            a = grow(depth - 1)
            out = (-a, mx.sqrt(mx.square(a)), mx.exp(-a * a))[kind - 9]
        if rng.random() < 0.2:
            values.append(out)
        return out

    root = grow(depth)
    return [root, *values[len(leaves) :], mx.tanh(root)]


def test_layouts_may_differ_from_call_to_call():
    """What a stored program keeps fits its operands: numbers, stretched or not, may come and go."""

    def f(x, y):
        z = x * y + x - y
        return mx.tanh(z) * y + x, (z / 3 + y).sum(-1)

    compiled = mx.compile(f)
    full = mx.random.normal((64, 48), key=mx.random.key(1))
    other = mx.random.normal((48, 64), key=mx.random.key(2))
    number = mx.broadcast_to(mx.array(0.7), (64, 48))
    mx.eval(full, other, number)
    for x in (full, number, full, other.T, mx.broadcast_to(full[:1], (64, 48))):
        for y in (number, full, other.T):
            for got, expected in zip(compiled(x, y), f(x, y), strict=True):
                assert np.array_equal(np.array(got), np.array(expected))


def test_many_small_steps_side_by_side():
    """An unrolled recurrence: all products with the inputs may run before the first state."""

    def f(xs, w, u):
        h = mx.zeros((16, 32))
        for x in xs:
            h = mx.tanh(x @ w + h @ u)
        return h

    draw = lambda shape, i: mx.random.normal(shape, key=mx.random.key(i)) * 0.2
    xs, w, u = draw((400, 16, 32), 1), draw((32, 32), 2), draw((32, 32), 3)
    expected = np.array(f(xs, w, u))
    compiled = mx.compile(f)
    results = [None] * 3

    def work(i):
        results[i] = [np.array(compiled(xs, w, u)) for _ in range(5)]

    in_threads(work, 3)
    for one in results:
        for got in one:
            assert np.array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(12))
def test_trees_of_arithmetic_have_the_bits_of_single_operations(seed, dtype):
    keys = mx.random.split(mx.random.key(seed), 3)
    leaves = [mx.random.normal((3, 701), key=k).astype(getattr(mx, dtype)) for k in keys]
    leaves += [leaves[0][:, :1] + 0, mx.array(1.25).astype(getattr(mx, dtype))]
    mx.eval(leaves)

    def tree(*arrays):
        return arithmetic_tree(np.random.default_rng(seed), arrays, 6)

    fused = mx.compile(tree)(*leaves)
    donated = tree(*(leaf * 1 for leaf in leaves))
    mx.eval(fused, donated)
    with mx.debug():
        single = tree(*leaves)
        mx.eval(single)
    for one, two, three in zip(fused, donated, single):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(three))
        np.testing.assert_array_equal(to_numpy(two), to_numpy(three))


def names_in_trace(function, operands):
    """The operations of a compiled function, which gives the same bits as the plain one."""
    expected = function(*operands)
    compiled = mx.compile(function)
    mx.eval(compiled(*operands))
    with mx.trace() as trace:
        result = compiled(*operands)
        mx.eval(result)
    as_list = lambda x: [x] if isinstance(x, mx.array) else list(x)
    for got, wanted in zip(as_list(result), as_list(expected), strict=True):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        assert np.array_equal(to_numpy(got), to_numpy(wanted))
    return [record["name"] for record in trace.records]


# A product and the sum that follows it.

# A function of x, w, a matrix and a bias; how many products are joined with a sum, how many not.
PRODUCTS = {
    "a bias": (lambda x, w, c, b: x @ w + b, 1, 0),
    "a bias, first": (lambda x, w, c, b: b + x @ w, 1, 0),
    "another matrix": (lambda x, w, c, b: mx.tanh(x @ w + c), 1, 0),
    "rows of a batch": (lambda x, w, c, b: mx.reshape(x, (2, 6, 24)) @ w + b, 1, 0),
    "a batch and a matrix": (
        lambda x, w, c, b: mx.reshape(x, (2, 6, 24)) @ w + mx.reshape(c, (2, 6, -1)),
        0,
        1,
    ),
    "two products": (lambda x, w, c, b: x @ w + (x * 2) @ w, 1, 1),
    "a product that is read again": (lambda x, w, c, b: (lambda y: (y + b) * y)(x @ w), 0, 1),
    "a product that is a result": (lambda x, w, c, b: (lambda y: [y, y + b])(x @ w), 0, 1),
    "twice the same": (lambda x, w, c, b: [x @ w + b, (x @ w + b) * 2], 1, 0),
    "the same product in two places": (
        lambda x, w, c, b: [x @ w + b, mx.tanh(x @ w)],
        0,
        1,
    ),
    "halves": (lambda x, w, c, b: x.astype(mx.float16) @ w.astype(mx.float16) + 1.5, 0, 1),
    "another dtype": (lambda x, w, c, b: x @ w + b.astype(mx.float64), 0, 1),
    "a larger sum": (lambda x, w, c, b: x[:1] @ w + c, 0, 1),
    "other axes": (lambda x, w, c, b: mx.reshape(x @ w, (-1, 12)) + b[:12], 0, 1),
    "a column": (lambda x, w, c, b: x @ w + c[:, :1], 1, 0),
    "a small result": (lambda x, w, c, b: x @ w[:, :16] + b[:16], 0, 1),
    "a gradient": (
        lambda x, w, c, b: mx.grad(lambda x, w: mx.square(x @ w + b).sum(), (0, 1))(x, w),
        1,
        2,
    ),
}


@rill_only
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_joined_with_sums(name):
    function, *counts = PRODUCTS[name]
    rng = np.random.default_rng(0)
    shapes = ((12, 24), (24, 30000), (12, 30000), (30000,))
    operands = [mx.array(rng.standard_normal(shape, np.float32)) for shape in shapes]
    names = names_in_trace(function, operands)
    assert [names.count("addmm"), names.count("matmul")] == counts


# Products of the rows of an array and a matrix.

# A function of x (9 rows), v (of two dimensions), w and a second matrix; how many products it has.
ROWS = {
    "a loop": (lambda x, v, w, u: [x[t] @ w for t in range(9)], 1),
    "a recurrence": (
        lambda x, v, w, u: functools.reduce(
            lambda h, t: mx.tanh(x[t] @ w + h @ w), range(9), x[0] * 0
        ),
        10,
    ),
    "some rows, in any order": (lambda x, v, w, u: [x[t] @ w for t in (5, 3, 2, 4)], 1),
    "a row twice": (lambda x, v, w, u: [x[t] @ w for t in (1, 2, 3, 4, 2)], 1),
    "from the end": (lambda x, v, w, u: [x[-t] @ w + 1 for t in range(1, 6)], 1),
    "two matrices": (lambda x, v, w, u: [x[t] @ w + x[t] @ u for t in range(9)], 2),
    "two layers": (lambda x, v, w, u: [mx.tanh(x[t] @ w) @ u for t in range(5)], 6),
    "a row of a product": (
        lambda x, v, w, u: [mx.stack([x[t] @ w for t in range(4)])[i] @ u for i in range(4)],
        2,
    ),
    "a matrix that is a product": (
        lambda x, v, w, u: (
            [mx.stack([w, u, w, u])[i] @ u for i in range(4)]
            + [x[t] @ (mx.stack([w, u, w, u])[0] @ u) for t in range(9)]
        ),
        2,
    ),
    "a turned matrix": (lambda x, v, w, u: [x[t] @ w.T for t in range(9)], 1),
    "a row left out": (lambda x, v, w, u: [x[t] @ w for t in (0, 1, 2, 4, 5)], 5),
    "few rows": (lambda x, v, w, u: [x[t] @ w for t in range(3)], 3),
    "vectors": (lambda x, v, w, u: [v[t] @ w for t in range(9)], 9),
    "another dtype": (
        lambda x, v, w, u: [x[t].astype(mx.float16) @ w.astype(mx.float16) for t in range(5)],
        5,
    ),
    "a gradient": (
        lambda x, v, w, u: mx.grad(lambda w: sum((x[t] @ w).square().sum() for t in range(9)))(w),
        10,
    ),
}


@rill_only
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("shape", [(6, 24), (2, 3, 24), (1, 24), (40, 24)], ids=str)
def test_products_of_rows_joined(name, shape):
    function, count = ROWS[name]
    rng = np.random.default_rng(0)
    shapes = ((9, *shape), (9, 24), (24, 24), (24, 24))
    operands = [mx.array(rng.standard_normal(s, np.float32)) for s in shapes]
    made = names_in_trace(function, operands).count("matmul")
    assert shape[-2] == 1 or made == count  # single rows add up in another order, so they stay
