"""Products of gathered, masked and segmented matrices, against NumPy in float64."""

import numpy as np
import pytest
from support import FLOATS, array, assert_near, check_row, mx, rill_only, rows, values

TOLERANCE = {"float16": 3e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-13}
HERE = mx.__name__.startswith("rill")
NAMES = FLOATS if HERE else ("float32",)  # the peer knows no other


def exact(a, b):
    return np.matmul(a.astype(np.float64), b.astype(np.float64))


INDICES = [
    (None, None, 3),
    (None, [2, 0, 1], 4),
    ([0, 2], [3, 3], 4),
    ([[0], [2]], [3, 0], 4),
    ([1, 1, 0, 2, 1], [3, 1, 3, 3, 1], 4),
    (1, 2, 4),
]


def gathered(a, b, left, right):
    left = np.arange(len(a)) if left is None else np.array(left)
    right = np.arange(len(b)) if right is None else np.array(right)
    left, right = np.broadcast_arrays(left, right)
    return exact(a[left], b[right])


def arguments(left, right):
    return {
        name: None if value is None else mx.array(value)
        for name, value in (("lhs_indices", left), ("rhs_indices", right))
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("left, right, count", INDICES, ids=str)
def test_gather(left, right, count, name):
    for m in (1, 5, 130):
        a = values(name, (3, m, 20), (-1, 1))
        b = values(name, (count, 20, 6), (-1, 1), seed=1)
        result = mx.gather_mm(array(a, name), array(b, name), **arguments(left, right))
        assert_near(result, gathered(a, b, left, right), name, TOLERANCE[name])


def test_gather_with_sorted_indices_and_views():
    a, b = values("float32", (8, 20, 1)), values("float32", (4, 6, 20), seed=1)
    right = [0, 0, 1, 1, 1, 3, 3, 3]
    result = mx.gather_mm(
        mx.array(a).swapaxes(1, 2),
        mx.array(b).swapaxes(1, 2),
        rhs_indices=mx.array(right, mx.uint32),
        sorted_indices=True,
    )
    expected = gathered(a.swapaxes(1, 2), b.swapaxes(1, 2), None, right)
    assert_near(result, expected, "float32")


def test_gather_vectors():
    a, b = values("float32", (8,)), values("float32", (3, 8, 5))
    rhs = mx.array([2, 0])
    assert_near(mx.gather_mm(mx.array(a), mx.array(b), rhs_indices=rhs), exact(a, b[[2, 0]]))
    c = values("float32", (3, 4, 8))
    lhs = mx.array([1])
    assert_near(mx.gather_mm(mx.array(c), mx.array(a), lhs_indices=lhs), exact(c[[1]], a))


def spread(mask, block, rows_, columns):
    return np.repeat(np.repeat(mask, block, -2), block, -1)[..., :rows_, :columns]


def masked(a, b, block, out, left, right):
    """The masked product, with False blocks taken out."""
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]

    def apply(x, mask, height, width):
        if mask is None:
            return x.astype(np.float64)
        wide = spread(mask, block, height, width)
        return np.where(wide, x, 0) if wide.dtype == bool else x.astype(np.float64) * wide

    return apply(exact(apply(a, left, m, k), apply(b, right, k, n)), out, m, n)


def mask(kind, shape, seed):
    if kind is None:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, 3, shape) > 0
    return chosen if kind == "bool" else (chosen * rng.uniform(0.5, 2, shape)).astype(np.float32)


def given(x, name="float32"):
    if x is None:
        return None
    return mx.array(x) if x.dtype == bool else array(x, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [32, 64])
@pytest.mark.parametrize("kinds", [(None, None, None), ("bool",) * 3, ("float",) * 3,
                                   ("bool", None, None), (None, "bool", None),
                                   (None, "float", "bool")], ids=str)  # fmt: skip
def test_block_masks(kinds, block, name):
    a, b = values(name, (2, 150, 200), (-1, 1)), values(name, (200, 130), (-1, 1), seed=1)
    m, k, n = (-(-size // block) for size in (150, 200, 130))
    masks = [mask(kind, s, i) for i, (kind, s) in
             enumerate(zip(kinds, [(m, n), (2, m, k), (k, n)]))]  # fmt: skip
    # What the halves hold: the masks are rounded to their dtype.
    held = [x if x is None or x.dtype == bool else np.array(array(x, name).astype(mx.float32))
            for x in masks]  # fmt: skip
    result = mx.block_masked_mm(
        array(a, name), array(b, name), block, *(given(x, name) for x in masks)
    )
    assert_near(result, masked(a, b, block, *held), name, 3 * TOLERANCE[name])


def test_bool_masks_leave_nan_out():
    a = np.full((70, 100), np.nan, np.float32)
    a[:, :64] = 1
    b = np.ones((100, 70), np.float32)
    left = mx.array([[True, False]])
    assert_near(mx.block_masked_mm(mx.array(a), mx.array(b), 64, None, left), np.full((70, 70), 64))
    out = mx.zeros((2, 2), mx.bool_)
    assert_near(mx.block_masked_mm(mx.array(a), mx.array(b), 64, out), np.zeros((70, 70)))


SEGMENTS = [[[0, 5], [5, 20], [3, 3], [10, 12]], [0, 20], [[[1, 2]], [[0, 19]]]]


@pytest.mark.parametrize("name", NAMES)  # the peer's halves are wrong here
@pytest.mark.parametrize("segments", SEGMENTS, ids=str)
def test_segments(segments, name):
    a, b = values(name, (10, 20), (-1, 1)), values(name, (20, 6), (-1, 1), seed=1)
    pairs = np.array(segments).reshape(-1, 2)
    expected = np.stack([exact(a[:, s:e], b[s:e]) for s, e in pairs])
    for kind in ("uint32", "int64"):
        where = mx.array(np.array(segments).astype(kind))
        result = mx.segmented_mm(array(a, name), array(b, name), where)
        shape = np.shape(segments)[:-1] + (10, 6)
        assert_near(result, expected.reshape(shape), name, TOLERANCE[name])
    turned = mx.segmented_mm(array(a.T.copy(), name).T, array(b, name), where)
    assert_near(turned, expected.reshape(shape), name, TOLERANCE[name])


def check_gradients(f, *hosts):
    """Gradients of a scalar function that is linear in each argument, forwards too."""
    for i, x in enumerate(hosts):
        others = [mx.array(h) for h in hosts]

        def of_one(y, i=i, others=others):
            return f(*others[:i], y, *others[i + 1 :])

        direction = values("float32", x.shape, (-1, 1), seed=11)
        high, low = (float(of_one(mx.array(x + s * direction))) for s in (1e-2, -1e-2))
        expected = pytest.approx((high - low) / 2e-2, rel=2e-3, abs=5e-2)
        gradient = np.array(mx.grad(f, argnums=i)(*others))
        assert gradient.shape == x.shape
        assert np.vdot(gradient, direction) == expected
        if HERE:
            _, (tangent,) = mx.jvp(of_one, [mx.array(x)], [mx.array(direction)])
            assert float(tangent) == expected


def test_gradients_of_gather():
    a, b = values("float32", (3, 4, 8), (-1, 1)), values("float32", (5, 8, 6), (-1, 1))
    left, right = mx.array([0, 0, 2, 1]), mx.array([4, 1, 4, 4])
    c = mx.array(values("float32", (4, 4, 6), seed=2))
    check_gradients(lambda a, b: (c * mx.gather_mm(a, b, left, right)).sum(), a, b)


@rill_only  # the peer's differ from its own finite differences
def test_gradients_of_block_masks():
    a, b = values("float32", (70, 40), (-1, 1)), values("float32", (40, 100), (-1, 1))
    masks = [mask("float", s, i) for i, s in enumerate([(3, 4), (3, 2), (2, 4)])]
    c = mx.array(values("float32", (70, 100), (-1, 1), seed=2))
    check_gradients(lambda *x: (c * mx.block_masked_mm(*x[:2], 32, *x[2:])).sum(), a, b, *masks)
    hidden = [mx.array(m > 0) for m in masks]
    check_gradients(lambda a, b: (c * mx.block_masked_mm(a, b, 32, *hidden)).sum(), a, b)


@rill_only
def test_gradients_of_segments():
    a, b = values("float32", (4, 20), (-1, 1)), values("float32", (20, 6), (-1, 1))
    segments = mx.array([[0, 5], [3, 20], [7, 7]])
    c = mx.array(values("float32", (3, 4, 6), seed=2))

    def loss(a, b):
        return (c * mx.segmented_mm(a, b, segments)).sum()

    check_gradients(loss, a, b)
    # The gradient is linear in the other operand: its own derivatives.
    d = mx.array(values("float32", (4, 20), seed=3))
    check_gradients(lambda b: (d * mx.grad(loss)(mx.array(a), b)).sum(), b)


A, B = "mx.ones((3, 4, 8))", "mx.ones((5, 8, 6))"
P, Q = "mx.ones((70, 100))", "mx.ones((100, 130))"
S = "mx.array([[0, 2]])"
ERRORS = [
    (f"mx.gather_mm({A}, {B})", ValueError),
    (f"mx.gather_mm({A}, {B}, rhs_indices=mx.array([4, 0]))", ValueError),
    (f"mx.gather_mm({A}, {B}, rhs_indices=mx.array([4.0, 0, 1]))", ValueError),
    (f"mx.gather_mm({A}[..., :4], {B}, rhs_indices=mx.array([4, 0, 1]))", ValueError),
    (f"mx.gather_mm({A}.astype(mx.int32), {B}.astype(mx.int32), mx.array(0), mx.array(0))",
     ValueError),
    (f"mx.gather_mm({A}.astype(mx.complex64), {B}, mx.array(0), mx.array(0))", ValueError),
    (f"mx.block_masked_mm({P}, {Q}, 16, mx.ones((5, 9)))", ValueError),
    (f"mx.block_masked_mm({P}, {Q}, 0, mx.ones((5, 9)))", ValueError),
    (f"mx.block_masked_mm({P}, {Q}, 64, mx.ones((2, 2)))", ValueError),
    (f"mx.block_masked_mm({P}, {Q}, 64, mx.ones((2, 2, 3)))", ValueError),
    (f"mx.block_masked_mm({P}, {Q}[:50])", ValueError),
    (f"mx.block_masked_mm({P}.astype(mx.int32), {Q}.astype(mx.int32))", ValueError),
    (f"mx.segmented_mm({P}, {Q}, mx.array([[0.0, 2.0]]))", ValueError),
    (f"mx.segmented_mm({P}, {Q}, mx.array([[0, 1, 2]]))", ValueError),
    (f"mx.segmented_mm({P}[None], {Q}[None], {S})", ValueError),
    (f"mx.segmented_mm({P}[0], {Q}, {S})", ValueError),
    (f"mx.segmented_mm({P}.astype(mx.int32), {Q}.astype(mx.int32), {S})", ValueError),
]  # fmt: skip

STRICTER = [
    (f"mx.gather_mm({A}, {B}, mx.array([0]), mx.array([5]))", IndexError),
    (f"mx.gather_mm({A}, {B}, mx.array([-4]), mx.array([0]))", IndexError),
    (f"mx.gather_mm({A}[:0], {B}, mx.array([0]), mx.array([0]))", IndexError),
    (f"mx.gather_mm({A}, {B}, mx.array([-1]), mx.array([-5]))", np.full((1, 4, 6), 8)),
    (f"mx.gather_mm({A}, {B}, mx.zeros((0,), mx.int32), mx.array([0])).shape == (0, 4, 6)", True),
    (f"mx.gather_mm({A}[..., :0], {B}[:, :0], mx.array(0), mx.array(0))", np.zeros((4, 6))),
    (f"mx.gather_mm(mx.array(1.0), {B})", ValueError),
    (f"mx.block_masked_mm({P}, {Q}, -1)", ValueError),
    (f"mx.block_masked_mm({P}[:0], {Q}).shape == (0, 130)", True),
    (f"mx.block_masked_mm({P}[:, :0], {Q}[:0])", np.zeros((70, 130))),
    (f"mx.segmented_mm({P}, {Q}[:50], {S})", ValueError),
    (f"mx.segmented_mm({P}, {Q}, mx.array([[0, 101]]))", IndexError),
    (f"mx.segmented_mm({P}, {Q}, mx.array([[-1, 5]]))", IndexError),
    (f"mx.segmented_mm({P}, {Q}, mx.array([[5, 2]]))", np.zeros((1, 70, 130))),
    (f"mx.segmented_mm({P}, {Q}, mx.zeros((0, 2), mx.int32)).shape == (0, 70, 130)", True),
]


@rows(ERRORS)
def test_errors(row):
    check_row(row)


@rill_only
@rows(STRICTER)
def test_what_the_peer_lacks(row):
    check_row(row)


def test_streams():
    a, b = mx.array(values("float32", (3, 40, 40))), mx.array(values("float32", (40, 40)))
    out = mx.array([[True, False], [False, True]])
    segments = mx.array([[0, 10]])
    first, second = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.gather_mm(a, b, mx.array([1]), mx.array([0]), stream=first)
    y = mx.block_masked_mm(x[0], b, 32, out, stream=second)
    z = mx.segmented_mm(y, b, segments, stream=first)
    ah, bh = np.array(a), np.array(b)
    yh = exact(exact(ah[1], bh), bh) * spread(np.array(out), 32, 40, 40)
    assert_near(z[0], exact(yh[:, :10], bh[:10]), "float32", 1e-4)
