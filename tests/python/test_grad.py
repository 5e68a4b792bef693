"""Derivatives: every differentiable operation against finite differences in float64."""

import numpy as np
import pytest
from support import (
    IS_RILL,
    assert_near,
    assert_same,
    check_row,
    mx,
    name_of,
    rill_only,
    rows,
    to_numpy,
    value,
)

STEP, TOLERANCE = (1e-5, 2e-7) if IS_RILL else (1e-2, 3e-2)  # the peer's float64 is partly float32

# x is a 3 x 4 float64 array within the span, y another of the same kind.
UNARY = [
    *(
        (name, (-2, 2))
        for name in (
            "exp",
            "expm1",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "arctan",
            "arcsinh",
            "erf",
            "sigmoid",
            "square",
            "negative",
            "degrees",
            "radians",
            "positive",
            "stop_gradient",
        )
    ),
    *(
        (name, (0.5, 3))
        for name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "abs")
    ),
    *((name, (-0.8, 0.8)) for name in ("arcsin", "arccos", "arctanh", "erfinv")),
    ("arccosh", (1.5, 3)),
    ("abs", (-3, -0.5)),
    ("sign", (0.5, 3)),
    *((name, (0.6, 0.9)) for name in ("floor", "ceil", "round", "trunc")),
]

EXPRESSIONS = [
    "x + y",
    "x - y",
    "x * y",
    "x / y",
    "x ** y",
    "x ** 3",
    "2 ** x",
    "x // (3 * y)",
    "x % y",
    "-x",
    "mx.maximum(x, y)",
    "mx.minimum(x, 1.5)",
    "mx.logaddexp(x, y)",
    "mx.arctan2(x, y)",
    "mx.where(x > y, x * x, y)",
    "mx.clip(x, 1, 2)",
    "mx.clip(x, None, y)",
    "mx.sum(x, 0)",
    "mx.sum(x * x, axis=(0, 1), keepdims=True)",
    "mx.mean(x, 1)",
    "mx.prod(x, 1)",
    "mx.prod(x)",
    "mx.max(x, 0)",
    "mx.min(x, 1, keepdims=True)",
    "mx.var(x, 1)",
    "mx.std(x, 0, ddof=1)",
    "mx.logsumexp(x, 1)",
    "mx.softmax(x, 0)",
    "mx.softmax(x, -1) * y",
    "mx.median(x, 1)",
    "mx.cumsum(x, 1)",
    "mx.cumsum(x, 0, reverse=True, inclusive=False)",
    "mx.cumprod(x, 1)",
    "mx.cummax(x, 1)",
    "mx.logcumsumexp(x, 1)",
    "mx.logcumsumexp(x * 300, 1) / 300",
    "mx.logcumsumexp(x, 0, reverse=True, inclusive=False)[:-1]",
    "mx.cumprod(x, 0, reverse=True, inclusive=False)",
    "mx.cumprod(x * mx.array([1.0, 0, 1, 0]), 1)",
    "mx.trace(x)",
    "mx.sort(x, 0)",
    "mx.partition(x, 1, 1)",
    "mx.topk(x, 2)",
    "x @ y.T",
    "x.T @ y",
    "x[0] @ y.T",
    "x @ y[1]",
    "mx.matmul(x[None], y.T)",
    "mx.inner(x, y)",
    "mx.outer(x[0], y[1])",
    "mx.tensordot(x, y, [[0], [0]])",
    "mx.addmm(x[:, :3], x, y.T, 0.5, 2.0)",
    "mx.einsum('ij,kj->ik', x, y)",
    "mx.kron(x[:2], y)",
    "mx.vecdot(x, y)",
    "mx.diff(x, 2)",
    "x.T",
    "x.reshape(2, 6)",
    "x[1]",
    "x[:, ::-2]",
    "x[None, ..., 1:3]",
    "x[mx.array([0, 2, 0])]",
    "x[mx.array([0, 2]), mx.array([1, 1])]",
    "x[:, mx.array([3, 3])]",
    "mx.take(x, mx.array([5, 5, 1]))",
    "mx.take_along_axis(x, mx.stop_gradient(mx.argsort(y, 1)), 1)",
    "mx.put_along_axis(x, mx.array([[1], [0], [2]]), y[:, :1], 1)",
    "x.at[mx.array([0, 0])].add(y[:2])",
    "x.at[1].multiply(y[0])",
    "x.at[:, 1].subtract(y[:, 0])",
    "assign(x, 1, y[0] * x[2])",
    "assign(x, mx.array([2, 0]), y[1:])",
    "mx.concatenate([x, y * x], 1)",
    "mx.stack([x, y], 1)",
    "mx.split(x, 2, 1)[1]",
    "mx.repeat(x, 2, 1)",
    "mx.tile(x, (2, 1))",
    "mx.roll(x, 1, 0)",
    "mx.pad(x, 1)",
    "mx.pad(x, 1, 'edge')",
    "mx.flip(x, 0)",
    "mx.broadcast_to(x[0], (3, 4)) * y",
    "mx.expand_dims(x, 1)",
    "mx.squeeze(x[:1])",
    "mx.flatten(x)",
    "mx.swapaxes(x, 0, 1)",
    "mx.moveaxis(x, 0, 1)",
    "mx.diag(x[0])",
    "mx.diagonal(x)",
    "mx.tril(x)",
    "mx.triu(x, 1)",
    "mx.contiguous(x.T)",
    "mx.as_strided(x, (3, 3), (2, 1), 1)",
    "x[0] + y",
    "mx.slice(x, mx.array([1]), (0,), (2, 4))",
    "mx.slice_update(x, y[:1], mx.array([1]), (0,))",
    "x.astype(mx.float64) * 2",
    "mx.unflatten(x, 1, (2, 2))",
    "mx.nan_to_num(x)" if IS_RILL else "x * 1",
]


def assign(x, index, value):
    x = mx.array(x) + 0
    x[index] = value
    return x


def host(span, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(*span, (3, 4))


def check_gradient(function, points):
    """Directional derivatives of sum(w * f) by reverse mode, forward mode and differences."""
    arrays = [mx.array(p, mx.float64) for p in points]
    shape = function(*arrays).shape
    weight = mx.array(np.random.default_rng(9).uniform(0.5, 1.5, shape), mx.float64)

    def loss(*xs):
        return mx.sum(function(*xs) * weight)

    gradients = mx.grad(loss, argnums=tuple(range(len(arrays))))(*arrays)
    gradients = gradients if len(arrays) > 1 else [gradients]  # one number: one array, no tuple
    for number, (point, gradient) in enumerate(zip(points, gradients)):
        assert name_of(gradient.dtype) == "float64" and gradient.shape == point.shape
        direction = np.random.default_rng(number).uniform(-1, 1, point.shape)
        ends = []
        for distance in (STEP, -STEP):
            moved = mx.array(point + distance * direction, mx.float64)
            ends.append(loss(*arrays[:number], moved, *arrays[number + 1 :]).item())
        numeric = (ends[0] - ends[1]) / (2 * STEP)
        analytic = float((to_numpy(gradient) * direction).sum())
        scale = max(1, abs(numeric), np.abs(to_numpy(gradient)).sum())
        assert abs(analytic - numeric) <= TOLERANCE * scale


@pytest.mark.parametrize("name, span", UNARY, ids=lambda v: v if isinstance(v, str) else "")
def test_unary(name, span):
    point = host(span, 1)
    if name == "stop_gradient":
        gradient = mx.grad(lambda x: mx.sum(mx.stop_gradient(x) * x))(mx.array(point, mx.float64))
        assert_same(gradient, point)
    else:
        check_gradient(getattr(mx, name), [point])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions(expression):
    points = [host((0.5, 2.5), 1), host((0.5, 2.5), 2)]
    points = points if "y" in expression.replace("array", "").replace("copy", "") else points[:1]
    if not IS_RILL and ("at[1].multiply" in expression or "cummax" in expression):
        pytest.skip("not in the peer")

    def function(x, y=None):
        return value(expression, x=x, y=y, assign=assign)

    check_gradient(function, points)


SECOND = [
    "mx.exp(x)",
    "mx.sin(x)",
    "x * x * x",
    "mx.sigmoid(x)",
    "mx.tanh(x)",
    "mx.log(x)",
    "1 / x",
    "mx.sqrt(x)",
    "mx.softmax(x)",
    "mx.logsumexp(x)",
    "x @ x.T",
    "mx.prod(x, 1)",
    "mx.cumsum(x * x, 1)",
    "mx.cumprod(x, 1)",
    "mx.logcumsumexp(x, 1)",
]


@pytest.mark.parametrize("expression", SECOND)
def test_second_derivatives(expression):
    point = host((0.5, 2), 1)

    def gradient(x):
        return mx.grad(lambda z: mx.sum(value(expression, x=z) ** 2))(x)

    check_gradient(gradient, [point])


@rill_only
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
def test_running_products_with_zeros(reverse, inclusive):
    point = host((0.5, 2), 1)
    point[0, 1] = point[1, :2] = point[2, 3] = 0

    def products(x):
        return mx.cumprod(x, 1, reverse=reverse, inclusive=inclusive)

    check_gradient(products, [point])
    check_gradient(lambda x: mx.grad(lambda z: mx.sum(mx.sin(products(z))))(x), [point])


@pytest.mark.parametrize(
    "expression",
    [
        "mx.exp(x) * y",
        "x @ y.T",
        "mx.softmax(x * y)",
        "mx.sum(x, 0)",
        "mx.where(x > y, x, y)",
        "mx.sort(x, 0)",
        "x[1:] / y[:2]",
    ],
)
def test_forward_mode_meets_reverse_mode(expression):
    primals = [mx.array(host((0.5, 2.5), seed), mx.float64) for seed in (1, 2)]
    tangents = [mx.array(host((-1, 1), seed), mx.float64) for seed in (3, 4)]

    def function(x, y):
        return value(expression, x=x, y=y)

    outputs, pushed = mx.jvp(function, primals, tangents)
    cotangent = mx.array(np.random.default_rng(5).uniform(-1, 1, outputs[0].shape), mx.float64)
    again, pulled = mx.vjp(function, primals, [cotangent])
    assert_near(again[0], to_numpy(outputs[0]))
    left = float((to_numpy(pushed[0]) * to_numpy(cotangent)).sum())
    right = sum(float((to_numpy(t) * to_numpy(p)).sum()) for t, p in zip(tangents, pulled))
    np.testing.assert_allclose(left, right, rtol=1e-10 if IS_RILL else 1e-4)


X, Y = "mx.array(3.0)", "mx.array(4.0)"
CALLS = [  # how grad and value_and_grad are called
    (f"mx.grad(lambda x: x * x)({X})", 6, "float32"),
    ("mx.grad(lambda x: x * x)(mx.array(3))", 6, "int32"),
    ("mx.grad(lambda x: x * x)(mx.array(3.0, mx.float16))", 6, "float16"),
    (f"mx.grad(lambda x, y: x * y, argnums=1)({X}, {Y})", 3, "float32"),
    (f"mx.grad(lambda x, y: x * y, argnums=(0, 1))({X}, {Y})[1]", 3, "float32"),
    (f"mx.grad(lambda x, y: x * y, argnames='y')({X}, y={Y})[1]['y']", 3, "float32"),
    (f"mx.grad(lambda x, y: x * y, argnames='y')({X}, y={Y})[0] is None", True),
    (f"mx.grad(lambda x, y: x * y, argnums=0, argnames='y')({X}, y={Y})[0]", 4, "float32"),
    (f"mx.grad(lambda d: d['a'] * d['b'][0])({{'a': {X}, 'b': [{Y}]}})['b'][0]", 3, "float32"),
    (f"mx.grad(lambda d: d['a'] * d['b'][0])({{'a': {X}, 'b': [{Y}]}})['a']", 4, "float32"),
    (f"mx.value_and_grad(lambda x: x * x)({X})[0]", 9, "float32"),
    (f"mx.value_and_grad(lambda x: (x * x, x + 1))({X})[0][1]", 4, "float32"),
    (f"mx.value_and_grad(lambda x: (x * x, x + 1))({X})[1]", 6, "float32"),
    (f"mx.grad(lambda x: mx.grad(lambda y: y**3)(x))({X})", 18, "float32"),
    (f"mx.grad(lambda x: mx.array(2.0))({X})", 0, "float32"),
    ("mx.grad(lambda x: mx.max(x))(mx.array([1.0, 1.0, 0.0]))", [0.5, 0.5, 0], "float32"),
    ("mx.grad(lambda x: mx.abs(x))(mx.array(0.0))", 0, "float32"),
    ("mx.grad(lambda x: mx.maximum(x, 1.0))(mx.array(1.0))", 0, "float32"),
    ("mx.grad(lambda x: mx.sqrt(x))(mx.array(0.0))", np.inf, "float32"),
    (
        "mx.grad(lambda x: mx.sum(mx.square(x.astype(mx.float16))))(mx.array([1.0, 2.0]))",
        [2, 4],
        "float32",
    ),
    ("mx.grad(lambda x: x * x)(3.0)", ValueError),
    ("mx.grad(lambda x: x * x)(mx.array([3.0]))", ValueError),
    (f"mx.grad(lambda x, y: x * y, argnums=5)({X}, {Y})", ValueError),
    (f"mx.grad(lambda x, y: x * y, argnums=-1)({X}, {Y})", ValueError),
    (f"mx.grad(lambda x, y: x * y, argnums=(0, 0))({X}, {Y})", ValueError),
    (f"mx.grad(lambda x, y: x * y, argnames='z')({X}, {Y})", ValueError),
    ("mx.grad(lambda x: x, argnums=[])", ValueError),
    (f"mx.grad(lambda x: 3)({X})", ValueError),
    ("mx.grad(lambda d: d['a'] * d['b'])({'a': mx.array(2.0), 'b': 3})", ValueError),
    ("mx.grad(3)", TypeError),
    (f"mx.grad(lambda x: 1 / 0)({X})", ZeroDivisionError),
]


@rows(CALLS)
def test_calls(row):
    check_row(row)


def test_trees_keep_their_form():
    tree = {"w": [mx.ones((2, 3)), (mx.ones(3), mx.zeros(1))], "b": {"c": mx.array(2.0)}}

    def loss(t):
        return mx.sum(t["w"][0] * t["w"][1][0]) * t["b"]["c"] + t["w"][1][1][0]

    total, gradient = mx.value_and_grad(loss)(tree)
    assert total.item() == 12
    assert isinstance(gradient["w"], list) and isinstance(gradient["w"][1], tuple)
    assert_same(gradient["w"][0], np.full((2, 3), 2))
    assert_same(gradient["w"][1][0], np.full(3, 4))
    assert_same(gradient["w"][1][1], [1])
    assert_same(gradient["b"]["c"], 6)


def test_the_arguments_are_unchanged_and_a_failed_grad_leaves_no_trace():
    x = mx.array(2.0)

    def broken(x):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        mx.grad(broken)(x)
    assert mx.grad(lambda x: x * x)(x).item() == 4 and x.item() == 2


def test_a_branch_on_a_value():
    gradient = mx.grad(lambda x: x * x if x.item() > 0 else -x)
    assert gradient(mx.array(3.0)).item() == 6 and gradient(mx.array(-3.0)).item() == -1


def test_a_gradient_through_an_in_place_update():
    def loss(x):
        y = x * 2
        y[0] = x[1] * x[1]
        y += x
        return mx.sum(y)

    assert_same(mx.grad(loss)(mx.array([1.0, 2.0, 3.0])), [1, 7, 3])


@rill_only
def test_complex_gradients_follow_the_real_and_imaginary_parts():
    z = mx.array(1 + 2j)
    gradient = mx.grad(lambda z: mx.abs(z * z))(z).item()
    h = 1e-3
    for direction, part in ((1, gradient.real), (1j, gradient.imag)):
        numeric = (abs((1 + 2j + h * direction) ** 2) - abs((1 + 2j - h * direction) ** 2)) / (
            2 * h
        )
        assert abs(abs(numeric) - abs(part)) < 1e-2


# Parts of an array: each adds to what the others gave, in place.

PARTS = {  # a function of x [6, 4] and a mask of what it reads, how often
    "slices that overlap": (
        lambda x: [x[1:4], x[::2, 1:], x[2]],
        [(np.s_[1:4], 1), (np.s_[::2, 1:], 1), (np.s_[2], 1)],
    ),
    "slices and the whole": (
        lambda x: [x[0], x, x[:, 3]],
        [(0, 1), (np.s_[:], 1), (np.s_[:, 3], 1)],
    ),
    "rows by number": (
        lambda x: [x[mx.array([1, 1, 5])], x[mx.array([5])], x[1]],
        [(1, 3), (5, 2)],
    ),
    "along an axis": (
        lambda x: [mx.take_along_axis(x, mx.array([[2], [2], [0], [0], [0], [0]]), 1), x[:2, 2]],
        [(np.s_[:2, 2], 2), (np.s_[2:, 0], 1)],
    ),
    "pieces": (lambda x: mx.split(x, 3), [(np.s_[:], 1)]),
    "columns": (lambda x: mx.split(x, [1, 3], axis=1), [(np.s_[:], 1)]),
    "pieces and the whole": (lambda x: [*mx.split(x, 2), x], [(np.s_[:], 2)]),
    "pieces, one twice": (lambda x: [*mx.split(x, 2), x[:3]], [(np.s_[:], 1), (np.s_[:3], 1)]),
    "pieces, one missing": (lambda x: mx.split(x, 3)[::2], [(np.s_[:2], 1), (np.s_[4:], 1)]),
    "pieces that overlap": (lambda x: [x[:4], x[2:]], [(np.s_[:], 1), (np.s_[2:4], 1)]),
    "pieces with steps": (lambda x: [x[::2], x[1::2]], [(np.s_[:], 1)]),
    "pieces backwards": (lambda x: [x[2::-1], x[3:]], [(np.s_[:], 1)]),
    "quarters": (
        lambda x: [x[:3, :2], x[3:, :2], x[:3, 2:], x[3:, 2:]],
        [(np.s_[:], 1)],
    ),
    "empty pieces": (lambda x: mx.split(x, [0, 2]), [(np.s_[:], 1)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_an_array(name, dtype):
    parts, reads = PARTS[name]
    x = mx.arange(24).reshape(6, 4).astype(getattr(mx, dtype))
    expected = np.zeros((6, 4))
    for place, times in reads:
        expected[place] += times
    total = lambda x: sum(mx.real(part).astype(mx.float32).sum() for part in parts(x))
    for gradient in (mx.grad(total), mx.compile(mx.grad(total))):
        assert_same(mx.real(gradient(x)), expected, "float32" if dtype == "complex64" else dtype)
    twice = mx.grad(lambda x: mx.grad(lambda x: total(x * x))(x).sum())(x)
    assert_same(mx.real(twice), 2 * expected, "float32" if dtype == "complex64" else dtype)


def test_a_cotangent_that_is_held_is_not_added_to():
    x, g, h = mx.ones((3, 4)), mx.full((3, 4), 2.0), mx.full((4,), 5.0)
    mx.eval(x, g, h)
    _, (gradient,) = mx.vjp(lambda x: [x, x[1], x[1]], [x], [g, h, h])
    assert_same(gradient, np.full((3, 4), 2.0) + [[0], [10], [0]], "float32")
    assert_same(g, np.full((3, 4), 2.0), "float32")


@rill_only
def test_many_parts_take_no_more_memory_than_the_array():
    x = mx.ones((256, 4096))
    total = mx.grad(lambda x: sum((mx.square(x[i]).sum() for i in range(256)), mx.array(0.0)))
    mx.eval(x)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    gradient = total(x)
    mx.eval(gradient)
    assert mx.get_peak_memory() - before < 2.5 * x.nbytes
    assert_same(gradient, np.full((256, 4096), 2.0), "float32")


INTEGER = {
    "max": lambda x: mx.max(x),
    "min": lambda x: mx.min(x, axis=1),
    "maximum": lambda x: mx.maximum(x, 1),
    "clip": lambda x: mx.clip(x, 0, 2),
    "subtract": lambda x: x[0] - x,
    "cross": lambda x: mx.linalg.cross(x, x[::-1]),
    "power": lambda x: x**x,
    "broadcast_to": lambda x: mx.broadcast_to(x, (2, 2, 2)),
    "tile": lambda x: mx.tile(x, (2, 2)),
    "repeat": lambda x: mx.repeat(x, 2, 0),
    "meshgrid": lambda x: mx.meshgrid(x[0], x[1]),
    "floor": mx.floor,
    "ceil": mx.ceil,
    "round": mx.round,
}


@pytest.mark.parametrize("dtype", ["bool_", "uint8", "int32", "float16"])
@pytest.mark.parametrize("name", INTEGER)
def test_derivatives_have_the_dtype_of_what_they_belong_to(name, dtype):
    x = mx.array([[1, 0], [1, 1]]).astype(getattr(mx, dtype))
    outputs, tangents = mx.jvp(INTEGER[name], [x], [mx.ones_like(x)])
    assert [t.dtype for t in tangents] == [o.dtype for o in outputs]
    _, (gradient,) = mx.vjp(INTEGER[name], [x], [mx.ones_like(o) for o in outputs])
    assert (gradient.dtype, gradient.shape) == (x.dtype, x.shape)
    if name in ("floor", "ceil", "round"):
        assert_same(gradient, np.zeros((2, 2)))
        assert_same(tangents[0], np.zeros((2, 2)))
