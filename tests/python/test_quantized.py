"""Quantised matrices and their products, against the formats written out in NumPy."""

import numpy as np
import pytest
from support import array, assert_near, assert_same, dtype, mx, rill_only, values

FLOATS = ("float32", "float16", "bfloat16")
BITS = (2, 3, 4, 5, 6, 8)
MODES = {"mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}
TOLERANCE = {"float32": 2e-5, "float16": 3e-3, "bfloat16": 2e-2}
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def e4m3(codes):
    """The values of 8-bit floats: 4 bits of exponent, 3 of significand, no specials."""
    codes = np.asarray(codes).astype(np.int64)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    size = np.where(exponent, (8 + fraction) * 2.0 ** (exponent - 10), fraction * 2.0**-9)
    return np.where(codes & 128, -size, size).astype(np.float32)


def nearest_e4m3(x):
    """The codes of the nearest 8-bit floats, ties to even."""
    table = e4m3(np.arange(127)).astype(np.float64)
    size = np.minimum(np.abs(np.asarray(x, np.float64)), 448)
    above = np.clip(np.searchsorted(table, size), 1, 126)
    low, high = size - table[above - 1], table[above] - size
    up = (high < low) | ((high == low) & (above % 2 == 0))
    return np.where(up, above, above - 1) + np.where(np.signbit(x), 128, 0)


def nearest_e2m1(x):
    """The codes of the nearest 4-bit floats, ties towards zero, never -0."""
    middles = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5])
    code = np.searchsorted(middles, np.abs(x))
    return np.where((x < 0) & (code > 0), code + 8, code)


def unpacked(words, bits):
    """The codes in rows of uint32, from the lowest bit on."""
    stream = np.unpackbits(np.array(words).view(np.uint8), axis=-1, bitorder="little")
    stream = stream.reshape(*stream.shape[:-1], -1, bits).astype(np.int64)
    return (stream << np.arange(bits)).sum(-1)


def affine(w, group, bits):
    """(codes, scales, biases) of groups: the end of the range farther from zero is exact."""
    groups = w.astype(np.float32).reshape(*w.shape[:-1], -1, group)
    low, high = groups.min(-1), groups.max(-1)
    most = np.float32(2**bits - 1)
    scale = np.maximum((high - low) / most, np.float32(1e-7))
    scale = np.where(np.abs(low) > np.abs(high), scale, -scale)
    edge = np.where(np.abs(low) > np.abs(high), low, high)
    steps = np.rint(edge / scale)
    scale = np.where(steps != 0, edge / np.where(steps == 0, 1, steps), scale)
    bias = np.where(steps == 0, np.float32(0), edge)
    codes = np.clip(np.rint((groups - bias[..., None]) / scale[..., None]), 0, most)
    return codes.reshape(w.shape).astype(np.int64), scale, bias


def small_floats(w, mode):
    """(codes, scale codes) of groups of small floats."""
    group, _ = MODES[mode]
    groups = w.astype(np.float32).reshape(*w.shape[:-1], -1, group)
    ratio = np.abs(groups).max(-1) / np.float32(448 if mode == "mxfp8" else 6)
    if mode == "nvfp4":
        scales = nearest_e4m3(ratio)
        decoded = e4m3(scales)
    else:
        fraction, exponent = np.frexp(ratio)
        exponent = np.where(ratio == 0, 0, exponent - (fraction == 0.5))
        scales, decoded = exponent + 127, np.exp2(exponent.astype(np.float32))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(decoded[..., None] == 0, 0, groups / decoded[..., None])
    codes = (nearest_e4m3 if mode == "mxfp8" else nearest_e2m1)(scaled)
    return codes.reshape(w.shape), scales


def weights(name, shape=(6, 256), seed=0):
    """Rows of very different sizes, one of them zero, one of one sign."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape) * np.exp(2 * rng.standard_normal((shape[-2], 1)))
    w[..., 0, :] = 0
    w[..., 1, :] = np.abs(w[..., 1, :])
    return np.array(array(w, name).astype(mx.float32))


def host(x):
    return np.array(x.astype(mx.float32))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", BITS)
def test_affine_format(bits, group, name):
    w = weights(name)
    words, scales, biases = mx.quantize(array(w, name), group, bits)
    codes, scale, bias = affine(w, group, bits)
    assert words.shape == (6, 256 * bits // 32)
    assert_same(mx.array(unpacked(words, bits)), codes)
    assert_same(scales, host(array(scale, name)), name)
    assert_same(biases, host(array(bias, name)), name)
    # The product and the sum are each rounded to the dtype.
    spread = [np.repeat(host(x), group, -1) for x in (scales, biases)]
    scaled = host(array(codes * spread[0], name))
    result = mx.dequantize(words, scales, biases, group, bits)
    assert_same(result, host(array(scaled + spread[1], name)), name)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("mode", MODES)
def test_small_float_formats(mode, name):
    group, bits = MODES[mode]
    w = weights(name)
    words, scales = mx.quantize(array(w, name), mode=mode)
    codes, scale = small_floats(w, mode)
    assert_same(scales, scale, "uint8")
    assert_same(mx.array(unpacked(words, bits)), codes)
    value = (e4m3 if bits == 8 else E2M1.__getitem__)(codes)
    factor = e4m3(scale) if mode == "nvfp4" else np.exp2(scale.astype(np.float32) - 127)
    exact = value * np.repeat(factor, group, -1)
    for out in FLOATS:
        result = mx.dequantize(words, scales, mode=mode, dtype=dtype(out))
        assert_same(result, host(array(exact, out)), out)
    assert mx.dequantize(words, scales, mode=mode).dtype == mx.bfloat16


@pytest.mark.parametrize("size", [1.0, 0.37, 100.0])
def test_global_scale(size):
    w = weights("float32")
    scale = mx.array(size)
    words, scales = mx.quantize(mx.array(w), mode="nvfp4", global_scale=scale)
    decode = np.float32(size) / np.float32(2688)
    ratio = np.abs(w.reshape(6, -1, 16)).max(-1) / np.float32(6)
    assert_same(scales, nearest_e4m3(ratio / decode), "uint8")
    factor = np.repeat(e4m3(np.array(scales)) * decode, 16, -1)
    result = mx.dequantize(words, scales, mode="nvfp4", global_scale=scale)
    assert_same(result, E2M1[unpacked(words, 4)] * factor, "float32")


@rill_only  # the peer reads strided float64 wrongly
def test_fp8_covers_every_value():
    assert_same(mx.from_fp8(mx.arange(256).astype(mx.uint8), mx.float32), e4m3(np.arange(256)))
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    assert_same(mx.to_fp8(mx.array(halves)), nearest_e4m3(halves), "uint8")
    assert_same(mx.to_fp8(mx.array([np.inf, -np.inf, np.nan, 1e9])), [126, 254, 126, 126])
    for name in ("float32", "bfloat16", "float64"):
        # 3, 5, 11 elements: parts of vectors; one of them strided.
        x = array(np.linspace(-500, 500, 11), name)[::2]
        assert_same(mx.to_fp8(x), nearest_e4m3(np.linspace(-500, 500, 11)[::2]))
        assert mx.from_fp8(mx.to_fp8(x), x.dtype).dtype == x.dtype


FORMATS = [("affine", g, b) for b in BITS for g in (32, 128)] + [(m, *s) for m, s in MODES.items()]


def quantized(w, mode, group, bits, name="float32"):
    """The arrays of a matrix, their keywords, and what they stand for."""
    keywords = {"group_size": group, "bits": bits, "mode": mode}
    parts = mx.quantize(array(w, name), **keywords)
    exact = host(
        mx.dequantize(
            *(p if p.dtype != dtype(name) else p.astype(mx.float32) for p in parts),
            **keywords,
            dtype=mx.float32,
        )
    )
    return parts, keywords, exact.astype(np.float64)


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("mode, group, bits", FORMATS, ids=str)
def test_product(mode, group, bits, transpose):
    # One row, few, and many: three kernels. 272 columns end within a tile, 600 within a block.
    for m, n, k in [(1, 40, 384), (3, 7, 128), (6, 33, 256), (21, 272, 640)]:
        w = values("float32", (n, k), (-1, 1), seed=bits)
        parts, keywords, exact = quantized(w, mode, group, bits)
        x = values("float32", (m, k if transpose else n), (-1, 1))
        result = mx.quantized_matmul(mx.array(x), *parts, transpose=transpose, **keywords)
        assert_near(result, x @ (exact.T if transpose else exact), "float32")


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("shape", [(128,), (2, 128), (2, 3, 128), (9, 128), (5, 1, 0, 128)])
def test_product_dtypes_and_shapes(shape, name):
    parts, keywords, exact = quantized(values(name, (48, 128), (-1, 1)), "affine", 64, 4, name)
    x = values(name, shape, (-1, 1), seed=1)
    if 0 in shape and not mx.__name__.startswith("rill"):
        pytest.skip("the peer divides by zero")
    result = mx.quantized_matmul(array(x, name), *parts, **keywords)
    assert_near(result, x.astype(np.float64) @ exact.T, name, TOLERANCE[name])


@rill_only
def test_batches_of_weights_broadcast():
    parts, keywords, exact = quantized(values("float32", (3, 24, 64)), "affine", 32, 5)
    for shape in [(64,), (4, 64), (3, 4, 64), (2, 1, 4, 64)]:
        x = values("float32", shape, seed=2)
        expected = x.astype(np.float64) @ exact.swapaxes(-1, -2)
        assert_near(mx.quantized_matmul(mx.array(x), *parts, **keywords), expected, "float32")


def test_operands_in_any_layout():
    w, x = values("float32", (32, 64)), values("float32", (64, 5))
    parts, keywords, exact = quantized(w, "affine", 32, 4)
    views = [mx.concatenate([p, p], axis=1)[:, : p.shape[1]] for p in parts]
    views = [mx.stack([v, v], axis=1)[:, 1] for v in views]
    result = mx.quantized_matmul(mx.array(x).T, *views, **keywords)
    assert_near(result, x.T @ exact.T, "float32")
    wide = mx.stack([mx.array(w)] * 2, axis=-1)[..., 0]
    for part, expected in zip(mx.quantize(wide, **keywords), parts):
        assert_same(part, np.array(expected))


INDICES = [
    (None, None),
    (None, [2, 0, 1]),
    ([0, 2], [3, 3]),
    ([[0], [2]], [3, 0]),
    ([1, 1, 0, 2, 1], [3, 1, 3, 3, 1]),
    (1, 2),
]


def gathered(x, w, left, right):
    """x[left] @ w[right] with None for all."""
    left = np.arange(len(x)) if left is None else np.array(left)
    right = np.arange(len(w)) if right is None else np.array(right)
    left, right = np.broadcast_arrays(left, right)
    return x[left].astype(np.float64) @ w[right]


def indices(value):
    return None if value is None else mx.array(value)


@pytest.mark.parametrize("left, right", INDICES, ids=str)
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("rows_each", [1, 5])
def test_gather_qmm(left, right, transpose, rows_each):
    count = 3 if right is None else 4
    for mode, group, bits in [("affine", 32, 3), ("mxfp4", 32, 4), ("nvfp4", 16, 4)]:
        parts, keywords, exact = quantized(values("float32", (count, 32, 64)), mode, group, bits)
        x = values("float32", (3, rows_each, 64 if transpose else 32), seed=3)
        result = mx.gather_qmm(
            mx.array(x),
            *parts,
            lhs_indices=indices(left),
            rhs_indices=indices(right),
            transpose=transpose,
            **keywords,
        )
        dense = exact.swapaxes(-1, -2) if transpose else exact
        assert_near(result, gathered(x, dense, left, right), "float32")


@rill_only
@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("mode", MODES)
def test_products_of_two_quantised_sides(mode, name):
    group, bits = MODES[mode]
    w, x = values(name, (24, 64), (-1, 1)), values(name, (5, 64), (-1, 1), seed=1)
    parts, keywords, exact = quantized(w, mode, group, bits, name)
    left = quantized(x, mode, group, bits, name)[2]
    for result in (
        mx.qqmm(array(x, name), array(w, name), mode=mode),
        mx.qqmm(array(x, name), *parts, **keywords),
        mx.gather_qqmm(array(x[None], name), array(w[None], name), mode=mode)[0],
        mx.gather_qqmm(array(x[None], name), *(p[None] for p in parts), **keywords)[0],
    ):
        assert_near(result, left @ exact.T, name, TOLERANCE[name])
    assert mx.qqmm(array(x[0], name), array(w, name), mode=mode).shape == (24,)


@rill_only
def test_products_with_global_scales():
    w, x = values("float32", (24, 64)), values("float32", (5, 64), seed=1)
    scales = {"global_scale_x": mx.array(abs(x).max()), "global_scale_w": mx.array(abs(w).max())}
    sides = []
    for side, scale in zip((x, w), scales.values()):
        parts = mx.quantize(mx.array(side), mode="nvfp4", global_scale=scale)
        sides.append(host(mx.dequantize(*parts, mode="nvfp4", global_scale=scale)))
    expected = sides[0].astype(np.float64) @ sides[1].T
    assert_near(mx.qqmm(mx.array(x), mx.array(w), **scales), expected, "float32")
    assert_near(mx.qqmm(mx.array(x), *parts, **scales), expected, "float32")
    assert_near(mx.gather_qqmm(mx.array(x[None]), *(p[None] for p in parts), **scales)[0], expected)


def slope(f, x, direction, step=1e-2):
    """The derivative of a linear f along a direction."""
    high, low = (float(f(mx.array(x + s * direction))) for s in (step, -step))
    return (high - low) / (2 * step)


def check_gradients(f, *arguments):
    """Gradients of a scalar function that is linear in each argument."""
    for i, x in enumerate(arguments):
        others = [mx.array(a) for a in arguments]

        def of_one(y, i=i, others=others):
            return f(*others[:i], y, *others[i + 1 :])

        direction = values("float32", x.shape, (-1, 1), seed=11)
        gradient = np.array(mx.grad(f, argnums=i)(*others))
        assert gradient.shape == x.shape
        expected = slope(of_one, x, direction)
        assert np.vdot(gradient, direction) == pytest.approx(expected, rel=2e-3, abs=2e-2)
        if mx.__name__.startswith("rill"):
            _, (tangent,) = mx.jvp(of_one, [mx.array(x)], [mx.array(direction)])
            assert float(tangent) == pytest.approx(expected, rel=2e-3, abs=2e-2)


@rill_only  # the peer cannot differentiate scales gathered without transpose
@pytest.mark.parametrize("transpose", [True, False])
def test_gradients_of_products(transpose):
    w, scales, biases = mx.quantize(mx.array(values("float32", (4, 32, 64))), 32, 4)
    keywords = {"group_size": 32, "bits": 4, "transpose": transpose}
    x = values("float32", (3, 5, 64 if transpose else 32))
    c = mx.array(values("float32", (3, 5, 32 if transpose else 64), seed=4))
    s, b = np.array(scales), np.array(biases)
    check_gradients(
        lambda x, s, b: (c[0] * mx.quantized_matmul(x, w[0], s, b, **keywords)).sum(),
        *(x[0], s[0], b[0]),
    )
    right = mx.array([3, 1, 3])
    check_gradients(
        lambda x, s, b: (
            c * mx.gather_qmm(x, w, s, b, mx.array([0, 0, 2]), right, **keywords)
        ).sum(),
        *(x, s, b),
    )
    check_gradients(
        lambda s, b: (mx.dequantize(w, s, b, 32, 4) * mx.sin(mx.arange(64))).sum(), s, b
    )


def test_gradients_through_quantize():
    # The bias is the element farthest from zero, the scale a fraction of it.
    w = np.linspace(-1, 2, 64, dtype=np.float32).reshape(2, 32)
    _, scales, biases = mx.quantize(mx.array(w), 32, 4)
    for output, factor in ((1, np.array(scales / biases)[:, 0]), (2, np.ones(2))):
        g = mx.grad(lambda w, k=output: mx.quantize(w, 32, 4)[k].sum())(mx.array(w))
        expected = np.zeros_like(w)
        expected[[0, 1], np.abs(w).argmax(1)] = factor
        assert_near(g, expected, "float32", 1e-3)


@rill_only  # the peer refuses these
def test_codes_have_no_gradient():
    """They are integers; what goes on to scales and biases does so."""
    w = mx.array(values("float32", (2, 64)))
    parts = mx.quantize(w, 32, 4)

    def product(*parts):
        return mx.quantized_matmul(mx.ones((1, 64)), *parts, group_size=32).sum()

    words, scales, biases = mx.grad(product, argnums=(0, 1, 2))(*parts)
    assert words.dtype == mx.uint32 and not words.any() and scales.any() and biases.any()
    through = mx.grad(lambda w: mx.dequantize(*mx.quantize(w, 32, 4), 32, 4).sum())(w)
    chained = mx.vjp(lambda w: mx.quantize(w, 32, 4)[1:], [w], [scales, biases])[1][0]
    assert_near(through, np.array(chained), "float32", 1e-5)
    for mode in MODES:
        words, scales = mx.grad(
            lambda *parts, mode=mode: mx.dequantize(*parts, mode=mode).sum(), argnums=(0, 1)
        )(*mx.quantize(w, mode=mode))
        assert not words.any() and not scales.any()


@rill_only
def test_fp8_codes_neither_vary_nor_pass_anything_on():
    x = mx.array(values("float32", (3, 5)))

    def through(x):
        return mx.from_fp8(mx.to_fp8(x), mx.float32) * x

    coarse = np.array(mx.from_fp8(mx.to_fp8(x), mx.float32))
    assert_same(mx.grad(lambda x: through(x).sum())(x), coarse, "float32")
    assert_same(mx.jvp(through, [x], [mx.ones(x.shape)])[1][0], coarse, "float32")
    assert_same(mx.vmap(through)(x), np.array(through(x)), "float32")
    codes = mx.arange(6).astype(mx.uint8)
    assert not mx.grad(lambda c: mx.from_fp8(c).sum())(codes).any()


@rill_only
def test_derivatives_by_a_global_scale():
    w = mx.array(values("float32", (2, 32)))
    words, scales = mx.quantize(w, mode="nvfp4", global_scale=mx.array(2.0))

    def values_of(g):
        return mx.dequantize(words, scales, mode="nvfp4", global_scale=g)

    for shape in ((), (1,)):
        g = mx.full(shape, 3.0)
        slopes = np.array(values_of(mx.array(1.0)))
        assert_near(mx.jvp(values_of, [g], [mx.ones(shape)])[1][0], slopes, "float32", 1e-6)
        gradient = mx.grad(lambda g: values_of(g).sum())(g)
        assert gradient.shape == shape
        assert_near(gradient.sum(), slopes.sum(), "float32", 1e-5)


@rill_only
def test_gradients_pass_through_rounding():
    x, w = values("float32", (4, 64)), values("float32", (8, 64), seed=1)
    gx, gw = mx.grad(lambda x, w: mx.qqmm(x, w).sum(), argnums=(0, 1))(mx.array(x), mx.array(w))
    sides = [quantized(side, "nvfp4", 16, 4)[2] for side in (x, w)]
    assert_near(gx, np.ones((4, 8)) @ sides[1], "float32")
    assert_near(gw, np.ones((8, 4)) @ sides[0], "float32")


@rill_only
def test_wild_values_stay_in_their_group():
    w = np.ones((1, 128), np.float32)
    w[0, 3], w[0, 70] = np.nan, np.inf
    for mode, (group, _) in {"affine": (32, 4), **MODES}.items():
        parts = mx.quantize(mx.array(w), group, mode=mode)
        result = mx.dequantize(*parts, group_size=group, mode=mode, dtype=mx.float32)
        result = np.array(result)[0]
        np.testing.assert_allclose(np.delete(result, 3)[:31], 1, rtol=0.1)
        np.testing.assert_allclose(result[32:64], 1, rtol=0.1)
        np.testing.assert_allclose(result[96:], 1, rtol=0.1)


def test_streams():
    w = mx.array(values("float32", (64, 128)))
    x = mx.array(values("float32", (2, 128)))
    parts = mx.quantize(w)
    expected = np.array(mx.quantized_matmul(x, *parts))
    for _ in range(3):
        stream = mx.new_stream(mx.cpu)
        here = mx.quantize(w, stream=stream)
        assert_same(mx.quantized_matmul(x, *here, stream=mx.new_stream(mx.cpu)), expected)
