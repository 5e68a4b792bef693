"""mx.compile with shapeless: right for every shape, traced again only where that is needed."""

import random
import threading
from functools import partial

import numpy as np
import pytest
from support import Traced, assert_same, in_threads, mx, rill_only, to_numpy

pytestmark = rill_only

SHAPES = [(3, 4), (5, 2), (1, 4), (7, 7), (3, 4), (2, 1), (8, 6)]
SOME = mx.array([0, -1])


def normal(shape, seed=0):
    return mx.random.normal(shape, key=mx.random.key(seed))


def leaves(tree):
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def assert_equal(actual, expected):
    actual, expected = leaves(actual), leaves(expected)
    for a, b in zip(actual, expected, strict=True):
        if isinstance(b, mx.array):
            assert_same(a, to_numpy(b))
            assert a.dtype == b.dtype
        else:
            assert a == b and type(a) is type(b)


def check(fun, shapes, traces=None, operands=1):
    """The values for all shapes, twice, and the number of traces."""
    traced = Traced(fun)
    compiled = mx.compile(traced, shapeless=True)
    for seed, shape in enumerate(shapes * 2):
        inputs = [normal(shape, seed + k) for k in range(operands)]
        assert_equal(compiled(*inputs), fun(*inputs))
    if traces is not None:
        assert traced.count == traces


def layer_norm(x):
    """A norm of single operations."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * mx.rsqrt(centred.square().mean(-1, keepdims=True) + 1e-5)


def written(x):
    y = x + 0
    y[0] = 5.0
    y[-1:, ::2] += x[-1:, ::2]
    return y


ONE_TRACE = {
    "elementwise": lambda x: mx.exp(x) * 2 + 1,
    "gelu": lambda x: x * (1 + mx.erf(x / 2**0.5)) / 2,
    "comparison": lambda x: mx.where(x > 0.5, x, 0).astype(mx.float16),
    "isnan of integers": lambda x: mx.isnan(x.astype(mx.int32)),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(0),
    "variance": lambda x: (x.var(-1), x.std()),
    "extrema": lambda x: (x.max(0), x.argmin(), mx.argmax(x, 1, keepdims=True)),
    "softmax": lambda x: (mx.softmax(x, 0), mx.softmax(x, -1), mx.logsumexp(x, 0)),
    "norm": lambda x: mx.linalg.norm(x),
    "matmul": lambda x: x @ x.T,
    "matmul of transposed": lambda x: x.mT @ x,
    "einsum": lambda x: mx.einsum("ij,kj->ik", x, x),
    "outer": lambda x: mx.outer(x[0], x[:, 0]),
    "layer norm": layer_norm,
    "fast norms": lambda x: (
        mx.fast.rms_norm(x, None, 1e-5),
        mx.fast.layer_norm(x, None, None, 1e-5),
    ),
    "last": lambda x: x[-1],
    "first five": lambda x: x[:5] * 2,
    "slices": lambda x: x[..., None, ::-1],
    "index arrays": lambda x: x[SOME],
    "writing": written,
    "at": lambda x: x.at[SOME].add(x[0]),
    "take": lambda x: mx.take(x, SOME, axis=1),
    "reshape": lambda x: x.reshape(-1) * 2,
    "reshape that may change nothing": lambda x: x.reshape(-1, 1).reshape(1, -1) + x.reshape(-1, 1),
    "flatten": lambda x: mx.flatten(x),
    "squeeze": lambda x: x[:, None].squeeze(1),
    "concatenate": lambda x: mx.concatenate([x, x + 1], axis=0),
    "stack and split": lambda x: mx.split(mx.stack([x, x + 1], axis=1), 2, axis=1),
    "zeros_like": lambda x: mx.where(x > 0, x, mx.zeros_like(x)),
    "ones_like": lambda x: mx.ones_like(x),
    "full_like": lambda x: mx.full_like(x, 3) - mx.ones_like(x, dtype=mx.int32),
    "tile": lambda x: mx.tile(x, (2, 3)),
    "pad": lambda x: mx.pad(x, 1),
    "broadcasting": lambda x: x + x[:1] + x[:, :1],
    "sort": lambda x: (mx.sort(x, 0), mx.argsort(x), mx.topk(x, 1)),
    "scan": lambda x: mx.cumsum(x, axis=0),
    "triangles": lambda x: mx.tril(x) - mx.triu(x, 1),
    "array_equal": lambda x: (mx.array_equal(x, x), mx.allclose(x, x + 1)),
    "fft": lambda x: mx.fft.fft(x),
    "gradient": mx.grad(lambda x: (mx.tanh(x) * x).mean()),
    "gradient of products": mx.value_and_grad(lambda x: mx.softmax(x @ x.T).sum()),
    "second gradient": mx.grad(lambda x: mx.grad(lambda y: mx.sin(y).sum())(x).sum()),
    "vjp": lambda x: mx.vjp(lambda y: y.sum(axis=0), (x,), (x[0],)),
    "jvp": lambda x: mx.jvp(lambda y: y * y.mean(), (x,), (x + 1,)),
    "compiled inside": lambda x: mx.compile(lambda y: mx.exp(y) + 1)(x),
    "no array": lambda x: (1, "two", x),
    "itself": lambda x: x,
}


@pytest.mark.parametrize("name", ONE_TRACE)
def test_is_traced_once(name):
    check(ONE_TRACE[name], SHAPES, traces=1)


def catching(x):
    try:
        return x + mx.zeros((3, 4))
    except ValueError:
        return x


def catching_for_nothing(x):
    try:
        x.reshape(3, 4)
    except ValueError:
        return x - 1
    return x + 1


MORE_TRACES = {
    "shape": lambda x: x / x.shape[0],
    "size": lambda x: x.reshape(x.size) / x.size,
    "nbytes": lambda x: x + x.nbytes,
    "len": lambda x: x + 1 if len(x) > 3 else x - 1,
    "shape of a result": lambda x: x * (x[:2] * x[:2]).sum(0).shape[0],
    "iteration": lambda x: sum(row * 2 for row in x),
    "arange": lambda x: mx.arange(x.shape[0])[:, None] + x,
    "random": lambda x: mx.random.normal(x.shape, key=mx.random.key(1)) * x,
    "a rank that depends on sizes": lambda x: x.squeeze() + 1 if x.squeeze().ndim > 1 else x[0],
    "an exception": catching,
    "an exception and a result that nobody uses": catching_for_nothing,
    "a result in numbers": lambda x: (x, x.shape, len(x)),
    "vmap": mx.vmap(lambda row: row * row.sum()),
    "checkpoint": mx.grad(lambda x: mx.checkpoint(lambda y: mx.exp(y) * y)(x).sum()),
    "an operation that is not recorded": lambda x: mx.linalg.qr(x.T @ x + 1, stream=mx.cpu)[1],
    "a function of equal sizes": lambda x: x @ x if x.shape[0] == x.shape[1] else x,
    "a gradient by what is no argument": lambda x: mx.grad(lambda w: (x * w).sum())(mx.ones(())),
    "a thread": lambda x: in_thread(lambda: x * x.shape[0]),
}


def in_thread(fun):
    results = []
    thread = threading.Thread(target=lambda: results.append(fun()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("name", MORE_TRACES)
def test_is_right_where_it_depends_on_sizes(name):
    check(MORE_TRACES[name], SHAPES)


def test_sizes_that_are_the_same_again_need_no_trace():
    f = Traced(lambda x, w: x @ w / w.shape[0] ** 0.5)
    g = mx.compile(f, shapeless=True)
    for rows in (3, 1, 8, 0, 3, 5):
        x, w = normal((rows, 4)), normal((4, 4), 1)
        assert_equal(g(x, w), f.fun(x, w))
    assert f.count == 1
    assert_equal(g(normal((2, 9)), normal((9, 9), 1)), f.fun(normal((2, 9)), normal((9, 9), 1)))
    assert f.count == 2
    for rows in (4, 6):  # both recipes hold
        g(normal((rows, 4)), normal((4, 4))), g(normal((rows, 9)), normal((9, 9)))
    assert f.count == 2


def test_rank_dtype_and_constants_are_part_of_the_signature():
    f = Traced(lambda x, k: x * k)
    g = mx.compile(f, shapeless=True)
    calls = [(mx.ones((2, 3)), 2), (mx.ones(3), 2), (mx.ones((2, 3), mx.int32), 2), (mx.ones(3), 3)]
    for count, (x, k) in enumerate(calls, 1):
        assert_equal(g(x, k), f.fun(x, k))
        assert_equal(g(x[:1], k), f.fun(x[:1], k))
        assert f.count == count


@pytest.mark.parametrize("first", [(2, 3), (1, 3), (2, 1), (0, 3), (1, 1)])
@pytest.mark.parametrize("second", [(2, 3), (1, 3), (4, 1), (4, 0), (4, 3)])
def test_sizes_zero_and_one(first, second):
    fun = lambda x, y: (x + y, mx.maximum(x, y).sum(0), mx.concatenate([x, x]), (x * y).mean())
    g = mx.compile(fun, shapeless=True)
    for a, b in ((first, second), (second, first), (first, first), (second, second)):
        x, y = normal(a), normal(b, 1)
        try:
            expected = fun(x, y)
        except ValueError:
            with pytest.raises(ValueError, match="shapes"):
                g(x, y)
        else:
            assert_equal(g(x, y), expected)


@pytest.mark.parametrize(
    ("fun", "good", "bad", "error"),
    [
        (lambda x: x.reshape(3, 4), [(3, 4), (4, 3), (2, 6)], (5, 2), ValueError),
        (lambda x: x.reshape(-1, 4), [(2, 4), (2, 6), (4, 1)], (5, 2), ValueError),
        (lambda x: x[2], [(3, 4), (5, 2)], (2, 2), IndexError),
        (lambda x: x + mx.ones((3, 1)), [(3, 4), (1, 2)], (5, 2), ValueError),
        (lambda x: x.squeeze(0), [(1, 4), (1, 3)], (2, 3), ValueError),
        (lambda x: mx.broadcast_to(x, (3, 4)), [(3, 4), (1, 4), (3, 1)], (2, 4), ValueError),
    ],
)
def test_what_a_shape_does_not_allow_is_refused(fun, good, bad, error):
    g = mx.compile(fun, shapeless=True)
    for shape in good:
        assert_equal(g(normal(shape)), fun(normal(shape)))
    with pytest.raises(error):
        g(normal(bad))
    for shape in good:
        assert_equal(g(normal(shape)), fun(normal(shape)))


def second_gradient(f):
    return mx.grad(lambda *args: mx.grad(f)(*args).sum())


def test_gradients_of_a_shapeless_function():
    f = Traced(lambda w, x: (mx.tanh(x @ w) ** 2).mean())
    g = mx.compile(f, shapeless=True)
    for n, m in ((3, 4), (5, 4), (2, 7)):
        w, x = normal((m, 6)), normal((n, m), 1)
        for transform in (mx.grad, mx.value_and_grad, lambda f: mx.grad(mx.compile(f))):
            assert_equal(transform(g)(w, x), transform(f.fun)(w, x))
        assert_equal(mx.vmap(g, (None, 0))(w, x[:, None]), mx.vmap(f.fun, (None, 0))(w, x[:, None]))
        assert_equal(second_gradient(g)(w, x), second_gradient(f.fun)(w, x))
    assert f.count == 1


def test_a_custom_function_inside():
    @mx.custom_function
    def f(x):
        return mx.exp(x)

    @f.vjp
    def f_vjp(primals, cotangents, outputs):
        return cotangents * outputs * primals.shape[0]

    check(mx.grad(lambda x: f(x).sum()), SHAPES)


def test_control_flow_inside():
    double = lambda x: mx.cond(x.sum() > 0, lambda y: y * 2, lambda y: y - 1, x)
    check(double, SHAPES)


def test_state_is_read_and_written():
    def run(wrap):
        state = {"mean": mx.zeros(3), "count": mx.array(0)}

        def update(x):
            state["mean"] = 0.5 * state["mean"] + 0.5 * x.mean(0)
            state["count"] = state["count"] + 1
            return x - state["mean"]

        f = Traced(update)
        step = wrap(f, state)
        return f, [step(normal((n, 3), n)) for n in (4, 2, 7, 1, 4, 5)] + list(state.values())

    f, compiled = run(lambda f, state: mx.compile(f, inputs=state, outputs=state, shapeless=True))
    assert_equal(compiled, run(lambda f, state: f)[1])
    assert f.count == 1


def test_state_that_grows():
    def run(wrap):
        state = {}

        def update(x):
            state["first"] = state.get("second", 0 * x.sum(0)) + x.sum(0)
            state["second"] = x.mean(0)
            return x * 2 - state["first"]

        step = wrap(update, state)
        return [step(normal((n, 3), n)) for n in (4, 2, 7, 1, 4)] + list(state.values())

    compiled = run(lambda f, state: mx.compile(f, inputs=state, outputs=state, shapeless=True))
    assert_equal(compiled, run(lambda f, state: f))


def test_state_that_is_only_written():
    state = {}

    def keep(x):
        state["sum"] = x.sum(0)
        return x * 2

    f = Traced(keep)
    step = mx.compile(f, outputs=state, shapeless=True)
    for n in (4, 2, 7, 4):
        x = normal((n, 3), n)
        assert_equal([step(x), state["sum"]], [x * 2, x.sum(0)])
    assert f.count == 1


def test_a_training_step():
    def run(wrap):
        state = {"w": normal((4, 4))}

        def step(x):
            value, gradient = mx.value_and_grad(lambda w: (mx.tanh(x @ w) ** 2).mean())(state["w"])
            state["w"] = state["w"] - 0.1 * gradient
            return value

        f = Traced(step)
        step = wrap(f, state)
        return f, [step(normal((n, 4), n)) for n in (8, 3, 8, 5)] + [state["w"]]

    f, compiled = run(lambda f, state: mx.compile(f, inputs=state, outputs=state, shapeless=True))
    assert_equal(compiled, run(lambda f, state: f)[1])
    assert f.count == 1


def test_random_state():
    step = partial(mx.compile, inputs=mx.random.state, outputs=mx.random.state, shapeless=True)
    f = lambda x: x + mx.random.normal((3,))
    g = step(f)
    for n in (1, 2, 4):
        x = mx.zeros((n, 3))
        mx.random.seed(n)
        expected = [f(x), f(x)]
        mx.eval(expected)
        mx.random.seed(n)
        assert_equal([g(x), g(x)], expected)


def test_streams():
    side = mx.new_stream(mx.cpu)
    f = Traced(lambda x: mx.exp(x, stream=side).sum() + mx.sin(x, stream=side).mean() + x)
    g = mx.compile(f, shapeless=True)
    for n, stream in ((3, side), (5, mx.default_stream(mx.cpu)), (9, mx.new_stream(mx.cpu))):
        with mx.stream(stream):
            assert_equal(g(normal((n,))), f.fun(normal((n,))))
    assert f.count == 1


def test_threads():
    f = Traced(lambda x: mx.softmax(x @ x.T) / x.mean())
    g = mx.compile(f, shapeless=True)
    shapes = [(n, m) for n in (2, 3, 5, 8) for m in (2, 4, 7)]
    inputs = {shape: normal(shape) for shape in shapes}
    expected = {shape: to_numpy(f.fun(x)) for shape, x in inputs.items()}
    wrong = []

    def work(seed):
        for shape in random.Random(seed).choices(shapes, k=40):
            if not np.array_equal(to_numpy(g(inputs[shape])), expected[shape]):
                wrong.append(shape)

    in_threads(work, 6)
    assert not wrong
    assert f.count == 1


def test_many_shapes_do_not_fill_the_memory():
    f = Traced(lambda x: x * 2 + 1)
    g = mx.compile(f, shapeless=True)
    for n in range(600):
        x = mx.ones(n)
        assert_equal(g(x), f.fun(x))
    assert f.count == 1


UNARY = (mx.exp, mx.tanh, mx.abs, mx.sin, mx.negative, mx.square, mx.sigmoid)
BINARY = (mx.add, mx.multiply, mx.subtract, mx.maximum)
WHOLE = (
    lambda x: mx.softmax(x, -1),
    lambda x: x.T if x.ndim == 2 else x,
    lambda x: x - x.mean(-1, keepdims=True),
    lambda x: x.sum(0, keepdims=True) + x,
    lambda x: x[::-1],
    lambda x: mx.concatenate([x, x[:1]], 0)[1:],
    lambda x: mx.cumsum(x, axis=0),
    lambda x: mx.sort(x, axis=-1),
    lambda x: x.reshape(-1).reshape(x.shape),
    lambda x: x / x.shape[-1],
    lambda x: mx.where(x > 0, x, mx.zeros_like(x)),
    lambda x: x.astype(mx.float16).astype(mx.float32),
    lambda x: x @ mx.ones_like(x).T @ x if x.ndim == 2 else x,
    lambda x: mx.grad(lambda y: mx.tanh(y).mean())(x),
    lambda x: x + len(x) if len(x) % 2 else x - 1,
    lambda x: mx.stop_gradient(x) * x[:1],
)


def random_program(rng):
    """A function of two arrays of one shape, of random operations."""
    steps = []
    for count in range(2, rng.randint(4, 12)):
        kind = rng.random()
        if kind < 0.4:
            steps.append((rng.choice(BINARY), rng.randrange(count), rng.randrange(count)))
        else:
            steps.append((rng.choice(UNARY if kind < 0.6 else WHOLE), rng.randrange(count)))

    def program(x, y):
        values = [x, y]
        for f, *operands in steps:
            try:
                values.append(f(*(values[i] for i in operands)))
            except ValueError:  # shapes that do not fit
                values.append(values[operands[0]])
        return values[2:]

    return program


@pytest.mark.parametrize("seed", range(10))
def test_random_programs(seed):
    rng = random.Random(seed)
    for _ in range(20):
        program = random_program(rng)
        compiled = mx.compile(program, shapeless=True)
        for _ in range(5):
            shape = tuple(rng.choice((0, 1, 2, 3, 5, 8)) for _ in range(rng.choice((1, 2, 2))))
            x, y = normal(shape, rng.randrange(99)), normal(shape, rng.randrange(99))
            try:
                expected = program(x, y)
            except IndexError:
                continue
            assert_equal(compiled(x, y), expected)
