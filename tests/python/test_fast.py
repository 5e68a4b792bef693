"""mx.fast: values against NumPy in double precision, gradients against differences."""

import numpy as np
import pytest
from support import (
    FLOATS,
    IS_RILL,
    array,
    assert_near,
    host,
    mx,
    name_of,
    normal,
    rill_only,
    to_numpy,
    values,
    wide,
)

EPS = 1e-5
# The peer computes half types in themselves and float64 in float32.
NAMES = FLOATS if IS_RILL else ("float32",)
attention = mx.fast.scaled_dot_product_attention


def norm(x, weight, bias, centred):
    x = x - x.mean(-1, keepdims=True) if centred else x
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def apply_norm(x, weight, bias, centred):
    if centred:
        return mx.fast.layer_norm(x, weight, bias, EPS)
    return mx.fast.rms_norm(x, weight, EPS)


# rms_norm has no bias.
NORMS = [(True, True, True), (True, True, False), (True, False, True), (True, False, False)]
NORMS += [(False, True, False), (False, False, False)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("centred, weighted, biased", NORMS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 64), (4, 200), (7,), (1, 1), (2, 1000)])
def test_norms(name, centred, weighted, biased, shape):
    x = array(3 + values(name, shape), name)
    w = array(values(name, shape[-1:], seed=1), name) if weighted else None
    b = array(values(name, shape[-1:], seed=2), name) if biased else None
    expected = norm(wide(x), host(w), host(b), centred)
    assert_near(apply_norm(x, w, b, centred), expected, name)


def test_norms_promote_and_take_views():
    x = mx.array(normal((6, 40)), mx.float16)
    assert mx.fast.rms_norm(x, mx.ones(40), EPS).dtype == mx.float32
    bias = mx.zeros(40, mx.bfloat16)
    assert mx.fast.layer_norm(x, mx.ones(40, mx.float16), bias, EPS).dtype == mx.float32
    assert mx.fast.layer_norm(x, None, bias, EPS).dtype == mx.float16
    y = mx.array(normal((40, 6)).astype(np.float32))
    w = mx.array(normal((80,)).astype(np.float32))[::2]
    assert_near(mx.fast.rms_norm(y.T, w, EPS), norm(wide(y).T, wide(w), None, False))
    assert mx.fast.rms_norm(mx.zeros((0, 4)), None, EPS).shape == (0, 4)
    assert mx.fast.layer_norm(mx.zeros((2, 0)), None, None, EPS).shape == (2, 0)


@rill_only
@pytest.mark.parametrize("centred", [True, False])
def test_a_large_norm_is_written_past_the_cache_alike(centred):
    x = mx.array(normal((3000, 4096)).astype(np.float32))
    some = [0, 1, 2, 3, 1499, 2999]
    expected = apply_norm(x[mx.array(some)], None, None, centred)
    result = apply_norm(x, None, None, centred)[mx.array(some)]
    assert mx.array_equal(result, expected).item()
    half = apply_norm(x.astype(mx.bfloat16), None, None, centred)[mx.array(some)]
    assert_near(half, expected, "bfloat16")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: mx.fast.rms_norm(x.astype(mx.int32), None, EPS),
        lambda x: mx.fast.rms_norm(x.astype(mx.complex64), None, EPS),
        lambda x: mx.fast.rms_norm(mx.array(1.0), None, EPS),
        lambda x: mx.fast.rms_norm(x, mx.ones(3), EPS),
        lambda x: mx.fast.rms_norm(x, mx.ones((1, 4)), EPS),
        lambda x: mx.fast.layer_norm(x, None, mx.array(1.0), EPS),
        lambda x: mx.fast.layer_norm(x, mx.ones(1), None, EPS),
        lambda x: mx.fast.cross_entropy(x.astype(mx.int32), mx.array([0, 1])),
        lambda x: mx.fast.cross_entropy(x, mx.array([0.0, 1.0])),
        lambda x: mx.fast.cross_entropy(x, mx.array([True, False])),
        lambda x: mx.fast.cross_entropy(x, mx.array([0, 1, 2])),
        lambda x: mx.fast.cross_entropy(x, mx.array(1)),
        lambda x: mx.fast.cross_entropy(mx.array(1.0), mx.array(1)),
        lambda x: mx.fast.cross_entropy(mx.zeros((2, 0)), mx.array([0, 1])),
    ],
)
def test_wrong_operands_of_norms_and_losses(call):
    with pytest.raises(ValueError):
        mx.eval(call(mx.ones((2, 4))))


# Cross entropy.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 100), (2, 20000)])
def test_cross_entropy(name, shape):
    logits = array(values(name, shape), name)
    targets = np.random.default_rng(0).integers(0, shape[-1], shape[:-1])
    x = wide(logits)
    picked = np.take_along_axis(x, targets[..., None], -1)[..., 0]
    expected = np.log(np.exp(x).sum(-1)) - picked
    loss = mx.fast.cross_entropy(logits, mx.array(targets.astype(np.uint32)))
    assert loss.dtype == mx.float32
    assert_near(loss, expected, "float32")
    g = normal(shape[:-1], 3)
    f = lambda z: (mx.fast.cross_entropy(z, mx.array(targets)) * mx.array(g, mx.float32)).sum()
    soft = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    hot = np.arange(shape[-1]) == targets[..., None]
    assert_near(
        mx.grad(f)(logits), (soft - hot) * g[..., None], name if name != "float64" else "float32"
    )


@rill_only
def test_targets_out_of_range_and_infinite_logits():
    x = mx.array([[1.0, 2.0], [3.0, -np.inf]])
    assert_near(mx.fast.cross_entropy(x, mx.array([-1, 0])), [np.log(1 + np.exp(-1)), 0.0])
    assert mx.fast.cross_entropy(x, mx.array([0, 1])).tolist()[1] == np.inf
    for bad in (2, -3, 2**40):
        f = lambda z, targets: mx.fast.cross_entropy(z, targets).sum()
        for function in (f, mx.grad(f)):
            with pytest.raises(IndexError):
                mx.eval(function(x, mx.array([0, bad])))
    assert np.isnan(mx.fast.cross_entropy(mx.array([np.nan, np.inf]), mx.array(0)).item())


# Rotary positions.


def rotate(x, dims, traditional, rates, scale, offsets):
    length = x.shape[-2]
    positions = (np.reshape(offsets, (-1, 1)) + np.arange(length)) * scale
    theta = positions[..., None] * rates
    theta = theta.reshape((len(theta),) + (1,) * (x.ndim - 3) + theta.shape[1:])
    half = dims // 2
    a, b = (
        (x[..., :dims:2], x[..., 1:dims:2]) if traditional else (x[..., :half], x[..., half:dims])
    )
    first = a * np.cos(theta) - b * np.sin(theta)
    second = a * np.sin(theta) + b * np.cos(theta)
    out = x.copy()
    if traditional:
        out[..., :dims:2], out[..., 1:dims:2] = first, second
    else:
        out[..., :half], out[..., half:dims] = first, second
    return out


ROPES = [
    ((2, 5, 8), 8, 0, 1.0),
    ((2, 3, 5, 8), 6, 7, 0.5),
    ((3, 2, 2, 4, 40), 36, (4, 0, 100), 1.0),
    ((2, 1, 64), 64, (3,), 2.0),
    ((1, 2, 33, 10), 4, 1000, 1.0),
] + [((1, 2, 3, 10), 2, 5, 1.0)] * IS_RILL  # the peer turns a single pair wrongly


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("traditional", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("shape, dims, offset, scale", ROPES)
def test_rope(name, traditional, given, shape, dims, offset, scale):
    x = array(values(name, shape), name)
    freqs = np.abs(normal((dims // 2,))) + 0.5
    rates = 1 / freqs.astype(np.float32).astype(np.float64)
    if not given:
        rates = 100.0 ** (-2 * np.arange(dims // 2) / dims)
    rope = lambda z: mx.fast.rope(
        z,
        dims,
        traditional=traditional,
        base=None if given else 100.0,
        scale=scale,
        offset=mx.array(offset) if isinstance(offset, tuple) else offset,
        freqs=mx.array(freqs, mx.float32) if given else None,
    )
    tolerance = {"float64": 1e-6, "float32": 5e-4}.get(name)  # the peer's angles are float32
    expected = rotate(wide(x), dims, traditional, rates, scale, offset)
    assert_near(rope(x), expected, name, tolerance)
    g = array(values(name, shape, seed=5), name)
    gradient = mx.grad(lambda z: (rope(z) * g).sum())(x)
    back = rotate(wide(g), dims, traditional, -rates, scale, offset)
    assert_near(gradient, back, name, tolerance)


def test_rope_of_views_and_of_nothing():
    options = {"traditional": False, "base": 1e4, "scale": 1.0, "offset": 3}
    x = mx.array(normal((2, 6, 4, 8)).astype(np.float32))
    view = mx.swapaxes(x, 1, 2)
    assert_near(
        mx.fast.rope(view, 8, **options), wide(mx.fast.rope(mx.array(to_numpy(view)), 8, **options))
    )
    assert mx.fast.rope(mx.zeros((2, 0, 8)), 8, **options).shape == (2, 0, 8)


BAD_ROPES = [
    {"dims": 7},
    {"dims": 0},
    {"dims": -2},
    {"dims": 10},
    {"base": None},
    {"freqs": mx.ones(4)},
    {"base": None, "freqs": mx.ones(3)},
    {"offset": 1.5},
    {"offset": mx.array([1, 2])},
    {"offset": mx.array([[1]])},
    {"a": mx.ones((4, 8))},
    {"a": mx.ones((1, 4, 8), mx.int32)},
]


@pytest.mark.parametrize("changed", BAD_ROPES, ids=str)
def test_wrong_operands_of_rope(changed):
    good = {"a": mx.ones((3, 4, 8)), "dims": 8, "traditional": False, "base": 1e4, "scale": 1.0}
    good["offset"] = 0
    options = {**good, **changed}
    with pytest.raises(ValueError):
        mx.eval(mx.fast.rope(options.pop("a"), options.pop("dims"), **options))


# Derivatives of the others.


SMOOTH = {
    "rms_norm": (lambda x, w: mx.fast.rms_norm(x, w, EPS), ((4, 3, 37), (37,))),
    "rms_norm plain": (lambda x: mx.fast.rms_norm(x, None, EPS), ((3, 70),)),
    "layer_norm": (lambda x, w, b: mx.fast.layer_norm(x, w, b, EPS), ((90, 37), (37,), (37,))),
    "layer_norm bias": (lambda x, b: mx.fast.layer_norm(x, None, b, EPS), ((3, 70), (70,))),
    "rope": (
        lambda x, f: mx.fast.rope(
            x, 6, traditional=True, base=None, scale=1.0, offset=2, freqs=1 + f * f
        ),
        ((2, 3, 8), (3,)),
    ),
    "cross_entropy": (lambda x: mx.fast.cross_entropy(x, mx.array([1, 0, 6])), ((3, 7),)),
    "attention": (
        lambda q, k, v, m, s: attention(q, k, v, scale=0.5, mask=m, sinks=s),
        ((2, 4, 5, 3), (2, 2, 6, 3), (2, 2, 6, 4), (5, 6), (4,)),
    ),
}


@rill_only
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("case", SMOOTH)
def test_derivatives(case, name):
    """Gradients against differences, then gradients of gradients against differences of them."""
    function, shapes = SMOOTH[case]
    points = [normal(shape, i) for i, shape in enumerate(shapes)]
    directions = [normal(shape, 10 + i) for i, shape in enumerate(shapes)]
    probe = function(*[array(p, "float64") for p in points])
    weights = normal(probe.shape, 20)
    places = tuple(range(len(shapes)))
    f = lambda *x: (function(*x) * array(weights, name_of(x[0].dtype))).sum()
    gradients = lambda *x: mx.grad(f, argnums=places if len(places) > 1 else 0)(*x)

    def slope(*x):
        all_of = gradients(*x)
        all_of = all_of if isinstance(all_of, tuple) else (all_of,)
        pairs = zip(all_of, directions, strict=True)
        return sum((g * array(d, name_of(g.dtype))).sum() for g, d in pairs)

    def difference(g, step):
        moved = lambda t: [
            array(p + t * d, "float64") for p, d in zip(points, directions, strict=True)
        ]
        return (g(*moved(step)).item() - g(*moved(-step)).item()) / (2 * step)

    tolerance = 2e-3 if name == "float32" or case == "cross_entropy" else 1e-5
    operands = [array(p, name) for p in points]
    tangents = [array(d, name) for d in directions]
    step = 1e-3 if case == "cross_entropy" else 1e-6  # its losses are float32
    expected = difference(f, step)
    scale = max(1.0, abs(expected))
    assert slope(*operands).item() == pytest.approx(expected, abs=tolerance * scale)
    assert mx.jvp(f, operands, tangents)[1][0].item() == pytest.approx(
        expected, abs=tolerance * scale
    )
    second = difference(slope, step)
    scale = max(1.0, abs(second))
    forward = mx.jvp(slope, operands, tangents)[1][0].item()
    assert forward == pytest.approx(second, abs=tolerance * scale)
    reverse = mx.grad(slope, argnums=places if len(places) > 1 else 0)(*operands)
    reverse = reverse if isinstance(reverse, tuple) else (reverse,)
    total = sum((g * t).sum().item() for g, t in zip(reverse, tangents, strict=True))
    assert total == pytest.approx(second, abs=tolerance * scale)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_gradients_of_norms_in_halves(name):
    x, w, b, g = (
        array(values(name, s, seed=i), name)
        for i, s in enumerate([(64, 80), (80,), (80,), (64, 80)])
    )
    f = lambda x, w, b: (
        (mx.fast.layer_norm(x, w, b, EPS) * g.astype(x.dtype)).astype(mx.float32).sum()
    )
    narrow = mx.grad(f, argnums=(0, 1, 2))(x, w, b)
    full = mx.grad(f, argnums=(0, 1, 2))(*(z.astype(mx.float32) for z in (x, w, b)))
    for actual, expected in zip(narrow, full, strict=True):
        assert actual.dtype == x.dtype
        assert_near(actual, wide(expected), name, 3e-2)


# Kernels in other languages.


def test_custom_kernels_of_other_devices():
    with pytest.raises(RuntimeError, match="CUDA"):
        mx.fast.cuda_kernel(name="f", input_names=["x"], output_names=["y"], source="")
    with pytest.raises(RuntimeError, match="CUDA"):
        mx.fast.precompiled_cuda_kernel(
            name="f",
            compiled_source=b"",
            inputs=[mx.ones(1)],
            output_shapes=[(1,)],
            output_dtypes=[mx.float32],
            scalars=[],
            grid=(1, 1, 1),
            threadgroup=(1, 1, 1),
        )


@rill_only
def test_a_metal_kernel_can_be_defined_but_not_called():
    kernel = mx.fast.metal_kernel(name="f", input_names=["x"], output_names=["y"], source="")
    with pytest.raises(RuntimeError, match="Metal"):
        kernel(inputs=[mx.ones(1)], grid=(1, 1, 1))
