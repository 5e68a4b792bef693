"""Convolutions against a sum over the kernel written out."""

import itertools

import numpy as np
import pytest
from support import array, assert_near, mx, rill_only, to_numpy, values


def several(value, axes):
    return (value,) * axes if isinstance(value, int) else tuple(value)


def reference(x, w, stride=1, padding=0, kernel_dilation=1, input_dilation=1, groups=1, flip=False):
    """conv_general, in float64."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    axes = x.ndim - 2
    stride, dilation = several(stride, axes), several(kernel_dilation, axes)
    spread = several(input_dilation, axes)
    pair = isinstance(padding, tuple) and len(padding) == 2 and not isinstance(padding[0], int)
    low, high = padding if pair else (padding, padding)
    low, high = several(low, axes), several(high, axes)
    if flip:
        w = np.flip(w, tuple(range(1, axes + 1)))
    wide = np.zeros(
        (x.shape[0], *((n - 1) * d + 1 for n, d in zip(x.shape[1:], spread)), x.shape[-1])
    )
    wide[(slice(None), *(slice(None, None, d) for d in spread))] = x
    cut = tuple(slice(max(0, -a), n - max(0, -b)) for a, b, n in zip(low, high, wide.shape[1:]))
    wide = np.pad(
        wide[(slice(None), *cut)],
        [(0, 0), *((max(0, a), max(0, b)) for a, b in zip(low, high)), (0, 0)],
    )
    size = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(wide.shape[1:], w.shape[1:], dilation, stride)
    ]
    y = np.zeros((x.shape[0], *size, w.shape[0]))
    for tap in np.ndindex(w.shape[1:-1]):
        seen = wide[
            (
                slice(None),
                *(
                    slice(k * d, k * d + (n - 1) * s + 1, s)
                    for k, d, n, s in zip(tap, dilation, size, stride)
                ),
            )
        ]
        for g in range(groups):
            ci, co = w.shape[-1], w.shape[0] // groups
            y[..., g * co : (g + 1) * co] += (
                seen[..., g * ci : (g + 1) * ci] @ w[(slice(g * co, (g + 1) * co), *tap)].T
            )
    return y


def check(x, w, name="float32", tolerance=None, **kwargs):
    kwargs.pop("_", None)
    actual = mx.conv_general(array(x, name), array(w, name), **kwargs)
    assert_near(actual, reference(x, w, **kwargs), name, tolerance)


CASES = [
    # (spatial, kernel, in, out, options)
    ((9,), (3,), 4, 6, {}),
    ((9,), (3,), 4, 6, {"stride": 2, "padding": 2, "kernel_dilation": 2}),
    ((64,), (1,), 16, 16, {}),
    ((9,), (9,), 1, 1, {}),
    ((9,), (4,), 3, 2, {"padding": ([1], [4])}),
    ((9,), (4,), 3, 2, {"padding": ([-1], [3])}),
    ((9,), (4,), 3, 2, {"padding": (-2)}),
    ((9,), (3,), 4, 6, {"groups": 2}),
    ((9,), (3,), 8, 8, {"groups": 8, "padding": 1}),
    ((9,), (3,), 4, 6, {"flip": True, "padding": 1}),
    ((7, 8), (3, 2), 4, 6, {}),
    ((7, 8), (3, 3), 16, 32, {"padding": 1, "stride": 2}),
    (
        (12, 5),
        (3, 3),
        6,
        8,
        {"padding": ([1, 0], [2, 1]), "stride": (1, 2), "kernel_dilation": (3, 1)},
    ),
    ((7, 8), (2, 3), 6, 9, {"groups": 3, "flip": True}),
    ((7, 8), (3, 3), 24, 24, {"groups": 24, "padding": 1}),
    ((5, 6, 4), (2, 3, 2), 3, 5, {}),
    ((5, 6, 4), (3, 3, 3), 16, 16, {"padding": 1, "stride": (2, 1, 2)}),
    ((5, 6, 4), (1, 2, 2), 4, 6, {"groups": 2, "kernel_dilation": (1, 2, 1)}),
    ((6,), (3,), 2, 3, {"input_dilation": 2}),
    ((6,), (3,), 2, 3, {"input_dilation": 3, "padding": 4, "stride": 2}),
    ((6,), (2,), 2, 3, {"input_dilation": 3, "kernel_dilation": 3, "padding": 1}),
    (
        (6,),
        (4,),
        2,
        4,
        {"input_dilation": 4, "kernel_dilation": 6, "padding": ([9], [8]), "groups": 2},
    ),
    ((6,), (3,), 2, 3, {"input_dilation": 2, "padding": ([-3], [1])}),
    ((1,), (1,), 2, 3, {"input_dilation": 5, "padding": 3}),
    ((4, 5), (3, 2), 2, 3, {"input_dilation": (2, 3), "padding": 2, "flip": True}),
    ((3, 4, 2), (2, 2, 2), 2, 3, {"input_dilation": (1, 2, 3), "padding": 1}),
]


@pytest.mark.parametrize("spatial, kernel, ins, outs, options", CASES)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_conv_general(spatial, kernel, ins, outs, options, name):
    w = values(name, (outs, *kernel, ins // options.get("groups", 1)), (-1, 1), seed=1)
    for batch in (1, 3):
        check(values(name, (batch, *spatial, ins), (-1, 1)), w, name, **options)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves(name):
    for spatial, kernel in (((9,), (3,)), ((8, 7), (3, 3)), ((4, 5, 6), (2, 2, 2))):
        x = values(name, (2, *spatial, 16), (-1, 1))
        w = values(name, (8, *kernel, 16), (-1, 1), seed=1)
        check(x, w, name, padding=1, tolerance=2e-2 if name == "bfloat16" else 2e-3)


def test_mixed_dtypes_promote():
    x, w = mx.ones((1, 4, 2), mx.float16), mx.ones((3, 2, 2), mx.float32)
    y = mx.conv1d(x, w)
    assert y.dtype == mx.float32 and y.tolist() == [[[4.0] * 3] * 3]


def test_many_rows_are_divided():
    x = values("float32", (1, 60, 40, 32), (-1, 1))
    w = values("float32", (64, 3, 3, 32), (-1, 1), seed=1)
    for options in ({"padding": 1}, {"stride": 2}, {"padding": 5, "kernel_dilation": 4}):
        check(x, w, **options)
    check(values("float32", (2, 40, 8), (-1, 1)), values("float32", (4, 3, 8), seed=1), padding=30)


def test_parts_that_see_only_padding():
    options = {"padding": ([2, 1, 2], [5, 4, 6]), "stride": (3, 1, 1), "groups": 2}
    for dilation in (1, 2):
        x = values("float32", (3, 4, 8, 10, 22), (-1, 1))
        w = values("float32", (82, 2, 2, 5, 11), (-1, 1), seed=1)
        check(x, w, kernel_dilation=(dilation, 1, dilation), **options)


def test_a_part_of_one_size_in_many_convolutions():
    for rows in range(40, 80, 3):
        for columns in (9, 12, 20):
            w = values("float32", (12, 3, 3, 8), (-1, 1), seed=rows)
            check(values("float32", (1, rows, columns, 8), (-1, 1)), w, padding=1)


# Sizes for which a kernel of our own reads the input as it lies: (input, kernel, out, options).
DIRECT = [
    ((2, 30, 56, 24), (3, 3), 32, {"padding": 1}),
    ((3, 9, 61, 16), (3, 5), 20, {"padding": (0, 3), "stride": (1, 2)}),
    ((1, 200, 16), (5,), 48, {"padding": 9}),
    ((2, 90, 64), (3,), 16, {"stride": 3, "kernel_dilation": 2, "padding": 2}),
    ((1, 3000, 32), (9,), 40, {"padding": 4, "groups": 2}),
    ((1, 6, 7, 30, 16), (2, 3, 3), 16, {"padding": 1, "stride": (2, 1, 1)}),
    ((2, 12, 20, 96), (3, 3), 96, {"padding": 1, "groups": 3}),
    ((1, 8, 9, 600), (3, 3), 33, {"padding": 1}),
    ((1, 10, 10, 16), (3, 3), 16, {"kernel_dilation": 60, "padding": 60}),
    ((1, 5, 40, 16), (2, 2), 17, {"padding": ([3, -2], [-1, 40]), "flip": True}),
]


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size, kernel, outs, options", DIRECT)
def test_wide_channels(size, kernel, outs, options, name):
    x = values(name, size, (-1, 1))
    w = values(name, (outs, *kernel, size[-1] // options.get("groups", 1)), (-1, 1), seed=1)
    tolerance = {"float32": 2e-4, "float16": 0.05, "bfloat16": 0.4}[name]
    check(x, w, name, tolerance, **options)


# One channel a group: (input, kernel, options).
DEPTHWISE = [
    ((2, 20, 30, 70), (3, 3), {"padding": 1}),
    ((3, 9, 61, 5), (3, 5), {"padding": (0, 3), "stride": (1, 2)}),
    ((1, 200, 131), (5,), {"padding": 9, "stride": 3, "kernel_dilation": 2}),
    ((2, 6, 7, 30, 16), (2, 3, 3), {"padding": 1, "stride": (2, 1, 1)}),
    ((1, 8, 9, 64), (3, 3), {"padding": ([3, -2], [-1, 12]), "flip": True}),
    ((1, 4, 4, 33), (3, 3), {"kernel_dilation": 6, "padding": 9}),
    ((40, 3, 1, 17), (2, 1), {"padding": (1, 0)}),
]


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size, kernel, options", DEPTHWISE)
def test_depthwise(size, kernel, options, name):
    channels = size[-1]
    options = {**options, "groups": channels}
    x = values(name, size, (-1, 1))
    w = values(name, (channels, *kernel, 1), (-1, 1), seed=1)
    check(x, w, name, {"float32": 2e-4, "float16": 0.01, "bfloat16": 0.05}[name], **options)
    c = values(name, mx.conv_general(array(x, name), array(w, name), **options).shape, seed=2)

    def gradients(name):  # float64 goes another way
        total = lambda x, w: (mx.conv_general(x, w, **options) * array(c, name)).sum()
        return mx.grad(total, (0, 1))(array(x, name), array(w, name))

    scale = int(np.prod(c.shape[:-1]))
    for part, expected in zip(gradients(name), gradients("float64")):
        tolerance = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}[name] * (10 + scale)
        assert part.dtype == getattr(mx, name)
        assert_near(part, np.array(expected), name, tolerance)


def test_far_apart():
    x, w = mx.ones((1, 4, 4, 16)), mx.ones((16, 3, 3, 16))
    far = 10**6
    y = mx.conv2d(x, w, padding=far, dilation=far)
    assert y.shape == (1, 4, 4, 16) and mx.all(y == 16)


def test_conv_functions_agree_with_conv_general():
    for axes in (1, 2, 3):
        x = mx.array(values("float32", (2, *range(6, 6 + axes), 4)))
        w = mx.array(values("float32", (4, *(3,) * axes, 2), seed=1))
        plain = getattr(mx, f"conv{axes}d")(x, w, 2, 1, 2, 2)
        general = mx.conv_general(x, w, 2, 1, 2, groups=2)
        assert mx.array_equal(plain, general)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_conv_transpose(axes):
    x = values("float32", (2, *range(4, 4 + axes), 4), (-1, 1))
    function = getattr(mx, f"conv_transpose{axes}d")
    parameters = itertools.product((1, 2, 3), (0, 1), (1, 2), (0, 1), (1, 2))
    for stride, padding, dilation, more, groups in parameters:
        w = values("float32", (6, *(3,) * axes, 4 // groups), (-1, 1), seed=1)
        reach = dilation * 2
        expected = reference(
            x,
            w,
            1,
            ((reach - padding,) * axes, (reach - padding + more,) * axes),
            dilation,
            stride,
            groups,
            True,
        )
        actual = function(mx.array(x), mx.array(w), stride, padding, dilation, more, groups)
        assert_near(actual, expected, "float32")


def test_views():
    x, w = values("float32", (2, 9, 8, 4)), values("float32", (6, 3, 3, 4), seed=1)
    y = mx.conv2d(mx.array(x)[:, ::-1, ::2], mx.array(w)[::2].transpose(0, 2, 1, 3))
    assert_near(y, reference(x[:, ::-1, ::2], w[::2].transpose(0, 2, 1, 3)), "float32")
    one = mx.broadcast_to(mx.array(x[:1]), (3, 9, 8, 4))
    assert_near(mx.conv2d(one, mx.array(w)), reference(np.repeat(x[:1], 3, 0), w), "float32")


@rill_only
def test_nothing_to_do():
    assert mx.conv1d(mx.zeros((0, 9, 4)), mx.zeros((6, 3, 4))).shape == (0, 7, 6)
    assert mx.conv1d(mx.zeros((2, 9, 4)), mx.zeros((0, 3, 4))).shape == (2, 7, 0)
    y = mx.conv1d(mx.zeros((2, 9, 0)), mx.zeros((6, 3, 0)))
    assert y.shape == (2, 7, 6) and mx.all(y == 0)
    assert mx.all(mx.conv1d(mx.zeros((2, 0, 4)), mx.ones((6, 3, 4)), padding=2) == 0)
    gradient = mx.grad(lambda w: mx.conv1d(mx.zeros((0, 9, 4)), w).sum())(mx.ones((6, 3, 4)))
    assert gradient.shape == (6, 3, 4) and mx.all(gradient == 0)


X, W = "mx.zeros((2, 9, 4))", "mx.zeros((6, 3, 4))"
ERRORS = [
    (f"mx.conv1d({X}.astype(mx.int32), {W})", ValueError),
    (f"mx.conv1d({X}, {W}.astype(mx.complex64))", ValueError),
    (f"mx.conv1d({X}, {W}, groups=2)", ValueError),
    (f"mx.conv1d({X}, mx.zeros((6, 3, 1)), groups=4)", ValueError),
    (f"mx.conv1d({X}, {W}, stride=-1)", ValueError),
    (f"mx.conv1d({X}[:, :2], {W})", ValueError),
    (f"mx.conv1d({X}[:, :0], {W})", ValueError),
    (f"mx.conv2d({X}, {W})", ValueError),
    (f"mx.conv_general({X}[0], {W}[0])", ValueError),
    (f"mx.conv_general({X}, {W}, [1, 2])", ValueError),
    ("mx.conv_general(mx.zeros((1, 4, 4, 4, 4, 2)), mx.zeros((1, 2, 2, 2, 2, 2)))", ValueError),
    (
        "mx.conv2d(mx.zeros((2, 9, 8, 4)), mx.zeros((6, 3, 2, 4)), stride=(1, 2, 3))",
        (ValueError, TypeError),
    ),
    (f"mx.conv1d('a', {W})", (TypeError, ValueError)),
]
RILL_ERRORS = [
    (f"mx.conv1d({X}, {W}, groups=0)", ValueError),
    (f"mx.conv1d({X}, {W}, stride=0)", ValueError),
    (f"mx.conv1d({X}, {W}, dilation=0)", ValueError),
    (f"mx.conv1d({X}, {W}[:, :0])", ValueError),
    (f"mx.conv_general({X}, {W}, input_dilation=0)", ValueError),
    (f"mx.conv1d({X}, {W}, stride=1 << 40)", ValueError),
]


@pytest.mark.parametrize(
    "expression, error",
    ERRORS + [pytest.param(*row, marks=rill_only) for row in RILL_ERRORS],
    ids=lambda e: str(e)[:70],
)
def test_errors(expression, error):
    with pytest.raises(error):
        mx.eval(eval(expression, {"mx": mx}))


def options_of_gradients():
    return [
        ((7,), (3,), 4, 6, {"padding": 1, "groups": 2}),
        ((9,), (3,), 2, 3, {"stride": 3, "kernel_dilation": 2, "padding": ([2], [1])}),
        ((8,), (2,), 2, 3, {"stride": 3}),
        ((6, 5), (3, 2), 3, 4, {"stride": (2, 1), "padding": 1}),
        ((4, 3), (2, 3), 4, 4, {"groups": 4, "padding": 2, "flip": True}),
        ((5,), (3,), 2, 3, {"input_dilation": 2, "padding": 2, "stride": 2}),
        ((5,), (3,), 2, 3, {"padding": ([-1], [2])}),
        ((3, 4, 3), (2, 2, 2), 2, 2, {"stride": (1, 2, 1), "padding": 1}),
    ]


@pytest.mark.parametrize("spatial, kernel, ins, outs, options", options_of_gradients())
def test_gradients(spatial, kernel, ins, outs, options):
    """The loss is linear in each operand, so that differences are exact."""
    x = values("float32", (2, *spatial, ins), (-1, 1))
    w = values("float32", (outs, *kernel, ins // options.get("groups", 1)), (-1, 1), seed=1)
    shape = reference(x, w, **options).shape
    c = values("float32", shape, (-1, 1), seed=2)
    gx, gw = mx.grad(lambda x, w: (mx.conv_general(x, w, **options) * mx.array(c)).sum(), (0, 1))(
        mx.array(x), mx.array(w)
    )
    rng = np.random.default_rng(3)
    for _direction in range(3):
        dx, dw = rng.normal(size=x.shape), rng.normal(size=w.shape)
        expected = (reference(dx, w, **options) * c).sum()
        assert abs((to_numpy(gx) * dx).sum() - expected) < 1e-3
        expected = (reference(x, dw, **options) * c).sum()
        assert abs((to_numpy(gw) * dw).sum() - expected) < 1e-3
    tx, tw = rng.normal(size=x.shape), rng.normal(size=w.shape)
    _, (tangent,) = mx.jvp(
        lambda x, w: mx.conv_general(x, w, **options),
        [mx.array(x), mx.array(w)],
        [mx.array(tx, dtype=mx.float32), mx.array(tw, dtype=mx.float32)],
    )
    assert_near(tangent, reference(tx, w, **options) + reference(x, tw, **options), "float32", 1e-4)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_gradients_keep_the_dtype(name):
    x, w = array(values(name, (2, 8, 4)), name), array(values(name, (6, 3, 4)), name)
    gx, gw = mx.grad(lambda x, w: mx.conv1d(x, w, padding=1).sum(), (0, 1))(x, w)
    assert gx.dtype == x.dtype and gw.dtype == w.dtype


@rill_only
def test_second_derivative():
    x = mx.array(values("float32", (1, 6, 2)))
    w = mx.array(values("float32", (3, 3, 2), seed=1))

    def inner(x, w):
        gx, gw = mx.grad(lambda x, w: mx.square(mx.conv1d(x, w, 2, 1)).sum(), (0, 1))(x, w)
        return (gx * gx).sum() + (gw * gw * gw).sum()

    gx, gw = mx.grad(inner, (0, 1))(x, w)
    t = values("float32", w.shape, seed=5)
    h = 1e-2
    difference = (inner(x, w + h * mx.array(t)) - inner(x, w - h * mx.array(t))).item() / (2 * h)
    assert abs((to_numpy(gw) * t).sum() - difference) < 2e-2 * abs(difference)
    t = values("float32", x.shape, seed=6)
    difference = (inner(x + h * mx.array(t), w) - inner(x - h * mx.array(t), w)).item() / (2 * h)
    assert abs((to_numpy(gx) * t).sum() - difference) < 2e-2 * abs(difference)


@rill_only
def test_same_bits_on_a_stream():
    x = mx.array(values("float32", (3, 20, 20, 8)))
    w = mx.array(values("float32", (8, 3, 3, 8)))
    once = to_numpy(mx.conv2d(x, w))
    again = mx.conv2d(x, w, stream=mx.new_stream(mx.cpu))
    np.testing.assert_array_equal(to_numpy(again), once)
