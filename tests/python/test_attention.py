"""mx.fast.scaled_dot_product_attention: against NumPy in double precision, gradients against
differences."""

import numpy as np
import pytest
from support import (
    FLOATS,
    IS_RILL,
    array,
    assert_near,
    assert_same,
    host,
    mx,
    normal,
    rill_only,
    to_numpy,
    wide,
)

# The peer computes half types in themselves and float64 in float32.
NAMES = FLOATS if IS_RILL else ("float32",)
attention = mx.fast.scaled_dot_product_attention


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q, k, v, scale, mask=None, sinks=None):
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = scale * q @ k.swapaxes(-1, -2)
    if isinstance(mask, str):
        tq, tk = scores.shape[-2:]
        mask = np.arange(tk) <= np.arange(tq)[:, None] + tk - tq
    if mask is not None:
        scores = np.where(mask, scores, -1e300) if mask.dtype == bool else scores + mask
    if sinks is not None:
        more = np.broadcast_to(sinks[:, None, None], (*scores.shape[:-1], 1))
        return softmax(np.concatenate([scores, more], -1))[..., :-1] @ v
    return softmax(scores) @ v


# batch, heads, heads of keys, queries, keys, depth, depth of values
SIZES = [
    (1, 2, 2, 4, 6, 8, 8),
    (2, 4, 2, 70, 150, 64, 64),
    (1, 3, 1, 33, 300, 20, 37),
    (2, 4, 2, 1, 700, 64, 64),  # few queries
    (1, 8, 1, 1, 290, 16, 16),
    (1, 2, 1, 40, 7, 5, 3),  # fewer keys than queries
    (2, 6, 2, 7, 300, 32, 32),  # panels of several heads
    (1, 1, 1, 1, 1, 1, 1),
    (2, 2, 2, 128, 128, 32, 32),  # whole panels
    (1, 1, 1, 300, 310, 64, 96),  # several blocks
    (9, 4, 4, 20, 30, 32, 12),  # a task for each pair of batch and head
    (9, 4, 2, 40, 150, 7, 40),  # the same of several blocks, where it goes back
]
MASKS = {
    "none": lambda *_: None,
    "causal": lambda *_: "causal",
    "boolean": lambda b, h, tq, tk: normal((tq, tk)) > 0.3,
    "boolean of heads": lambda b, h, tq, tk: normal((b, h, 1, tk)) > -1,
    "additive": lambda b, h, tq, tk: normal((b, 1, tq, tk)),
    "additive of heads": lambda b, h, tq, tk: normal((h, 1, 1)),
    "infinite": lambda b, h, tq, tk: np.where(np.arange(tk) > 0, -np.inf, 0.0)[None],
}


def on_device(x, name):
    if x is None or isinstance(x, str):
        return x
    return mx.array(x) if x.dtype == bool else array(x, name)


def problem(size, name, mask, sinks):
    b, h, hk, tq, tk, d, dv = size
    shapes = (b, h, tq, d), (b, hk, tk, d), (b, hk, tk, dv)
    operands = [array(normal(shape, i), name) for i, shape in enumerate(shapes)]
    given = on_device(MASKS[mask](b, h, tq, tk), name)
    return operands, given, array(normal((h,), 4), name) if sinks else None


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_attention(size, mask, sinks):
    for name in NAMES if size == SIZES[1] else NAMES[-2:-1] + ("float32",):
        operands, given, more = problem(size, name, mask, sinks)
        out = attention(*operands, scale=0.3, mask=given, sinks=more)
        expected = attend(*map(wide, operands), 0.3, host(given), host(more))
        assert_near(out, expected, name)


@rill_only
@pytest.mark.parametrize("mask", [m for m in MASKS if m != "infinite"])
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients_of_attention(size, mask, sinks):
    operands, given, more = problem(size, "float32", mask, sinks)
    if sinks:
        operands.append(more)
    g = normal((*operands[0].shape[:3], operands[2].shape[3]), 9)

    def loss(name):
        mask = on_device(host(given), name)
        weights = array(g, name)

        def f(q, k, v, sinks=None):
            return (attention(q, k, v, scale=0.3, mask=mask, sinks=sinks) * weights).sum()

        return f

    places = tuple(range(len(operands)))
    fused = mx.grad(loss("float32"), argnums=places)(*operands)
    doubles = [x.astype(mx.float64) for x in operands]
    plain = mx.grad(loss("float64"), argnums=places)(*doubles)
    for actual, expected in zip(fused, plain, strict=True):
        assert_near(actual, wide(expected), "float32", 1e-4)
    tangents = [array(normal(x.shape, 7), "float64") for x in operands]
    along = sum((t * d).sum().item() for t, d in zip(tangents, plain, strict=True))
    step = 1e-6
    moved = [
        loss("float64")(*[x + sign * step * t for x, t in zip(doubles, tangents, strict=True)])
        for sign in (1, -1)
    ]
    difference = (moved[0].item() - moved[1].item()) / (2 * step)
    assert along == pytest.approx(difference, rel=1e-5, abs=1e-6)
    narrow = [t.astype(mx.float32) for t in tangents]
    _, pushed = mx.jvp(loss("float32"), operands, narrow)
    assert pushed[0].item() == pytest.approx(along, rel=1e-3, abs=1e-3)


@rill_only
def test_gradient_of_an_additive_mask_and_of_halves():
    operands, given, _ = problem(SIZES[1], "float32", "additive", False)
    f = lambda m, *x: (attention(*x, scale=0.3, mask=m) ** 2).sum()
    single = mx.grad(f, argnums=(0, 1))(given, *operands)
    double = mx.grad(f, argnums=(0, 1))(*(x.astype(mx.float64) for x in (given, *operands)))
    half = mx.grad(f, argnums=(0, 1))(*(x.astype(mx.bfloat16) for x in (given, *operands)))
    for actual, rough, expected in zip(single, half, double, strict=True):
        assert_near(actual, wide(expected), "float32", 1e-4)
        assert rough.dtype == mx.bfloat16
        assert_near(rough, wide(expected), "bfloat16", 5e-2)


def test_attention_of_views_and_a_stream():
    x = mx.array(normal((2, 50, 3, 4, 16)).astype(np.float32))  # [B, T, 3, H, D]
    q, k, v = (mx.transpose(x[:, :, i], (0, 2, 1, 3)) for i in range(3))
    expected = attend(wide(q), wide(k), wide(v), 0.25, "causal")
    stream = mx.new_stream(mx.cpu)
    assert_near(attention(q, k, v, scale=0.25, mask="causal", stream=stream), expected)
    last = attention(q[:, :, -1:], k, v, scale=0.25)
    assert_near(last, expected[:, :, -1:])
    swapped = mx.swapaxes(mx.array(to_numpy(mx.swapaxes(k, 2, 3))), 2, 3)
    assert_near(attention(q[:, :, -1:], swapped, v, scale=0.25), expected[:, :, -1:])


def test_rows_that_see_nothing():
    q, k, v = (mx.array(normal((1, 1, 40, 8), i).astype(np.float32)) for i in range(3))
    hidden = mx.zeros((40, 40), mx.bool_)
    average = np.broadcast_to(wide(v).mean(2, keepdims=True), v.shape)
    assert_near(attention(q, k, v, scale=1.0, mask=hidden), average)
    assert_near(attention(q[:, :, :2], k, v, scale=1.0, mask=hidden[:2]), average[:, :, :2])
    short = attention(q, k[:, :, :4], v[:, :, :4], scale=1.0, mask="causal")
    assert_near(
        short[:, :, :36], np.broadcast_to(wide(v)[:, :, :4].mean(2, keepdims=True), (1, 1, 36, 8))
    )
    infinite = mx.full((40, 40), -np.inf)
    assert np.isnan(to_numpy(attention(q, k, v, scale=1.0, mask=infinite))).all()
    assert_near(attention(q, k[:, :, :0], v[:, :, :0], scale=1.0), np.zeros(q.shape))
    assert attention(q[:, :, :0], k, v, scale=1.0).shape == (1, 1, 0, 8)
    nan = mx.array(np.where(np.arange(40) == 3, np.nan, 0.0).astype(np.float32)).reshape(
        1, 1, 40, 1
    )
    out = to_numpy(attention(q + nan, k, v, scale=1.0))
    assert np.isnan(out[0, 0, 3]).all() and np.isfinite(np.delete(out, 3, 2)).all()


Q = mx.ones((1, 4, 5, 8))
KV = mx.ones((1, 2, 6, 8))
BAD_ATTENTION = [
    {"q": Q[0]},
    {"q": Q[:, :3]},
    {"q": Q[..., :4]},
    {"q": mx.ones((2, 4, 5, 8))},
    {"v": mx.ones((1, 4, 6, 8))},
    {"v": KV[:, :, :5]},
    {"mask": "full"},
    {"mask": ""},
    {"mask": mx.zeros((5, 5))},
    {"mask": mx.zeros((1, 1, 1, 5, 6))},
    {"mask": mx.zeros((2, 4, 5, 6))},
    {"sinks": mx.zeros(3)},
    {"sinks": mx.array(0.0)},
    {
        "q": Q.astype(mx.float16),
        "k": KV.astype(mx.float16),
        "v": KV.astype(mx.float16),
        "mask": mx.zeros((5, 6)),
    },
    {
        "q": Q.astype(mx.float16),
        "k": KV.astype(mx.float16),
        "v": KV.astype(mx.float16),
        "sinks": mx.zeros(4),
    },
    {"q": Q.astype(mx.int32), "k": KV.astype(mx.int32), "v": KV.astype(mx.int32)},
    {"q": Q.astype(mx.float64), "force_fused": True},
]


@pytest.mark.parametrize("changed", BAD_ATTENTION, ids=lambda c: ",".join(c))
def test_wrong_operands_of_attention(changed):
    with pytest.raises(ValueError):
        mx.eval(attention(**{"q": Q, "k": KV, "v": KV, "scale": 1.0, **changed}))


@rill_only
@pytest.mark.parametrize("heads, kv_heads, length", [(4, 4, 24), (4, 2, 24), (4, 2, 2), (1, 1, 24)])
def test_attention_lays_out_heads_as_the_queries_lie(heads, kv_heads, length):
    """So that what goes back to (batch, places, features) is a view; the values are the same."""
    depth = 8
    q, k, v = (
        mx.random.normal((2, length, n, depth), key=mx.random.key(i))
        for i, n in enumerate((heads, kv_heads, kv_heads))
    )

    def attend(q, k, v):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=0.3, mask="causal")

    within = [x.transpose(0, 2, 1, 3) for x in (q, k, v)]
    apart = [mx.contiguous(x) for x in within]
    y, plain = attend(*within), attend(*apart)
    assert_same(y, to_numpy(plain))
    rows = mx.transpose(y, (0, 2, 1, 3))
    mx.eval(rows, plain)
    assert np.asarray(rows).flags.c_contiguous
    assert np.asarray(plain).flags.c_contiguous
    weights = mx.random.normal(y.shape, key=mx.random.key(9))
    gradients = [mx.vjp(attend, operands, [weights])[1] for operands in (within, apart)]
    for a, b in zip(*gradients):
        assert_same(a, to_numpy(b))
        assert np.asarray(mx.transpose(a, (0, 2, 1, 3))).flags.c_contiguous
        assert np.asarray(b).flags.c_contiguous
