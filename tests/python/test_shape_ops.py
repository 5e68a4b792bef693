"""Operations that move, view, join and split, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    DTYPES,
    array,
    assert_same,
    mx,
    name_of,
    rill_only,
    rows,
    to_numpy,
    value,
    values,
)

A = np.arange(24, dtype=np.int32).reshape(2, 3, 4)

# (operation in the module's words, the same in NumPy's): x is A in each library.
SAME = [
    ("mx.reshape(x, (4, 6))", "np.reshape(x, (4, 6))"),
    ("x.reshape(6, -1)", "x.reshape(6, -1)"),
    ("x.reshape((-1,))", "x.reshape(-1)"),
    ("mx.transpose(x).reshape(-1)", "x.T.reshape(-1)"),
    ("x[:, ::2].reshape(8, -1)", "x[:, ::2].reshape(8, -1)"),
    ("x.transpose(2, 0, 1)", "x.transpose(2, 0, 1)"),
    ("x.transpose((1, 0, 2))", "x.transpose(1, 0, 2)"),
    ("mx.transpose(x, [-1, 0, 1])", "x.transpose(-1, 0, 1)"),
    ("mx.permute_dims(x, (1, 2, 0))", "x.transpose(1, 2, 0)"),
    ("mx.matrix_transpose(x)", "x.swapaxes(-1, -2)"),
    ("x.T", "x.T"),
    ("mx.swapaxes(x, 0, -1)", "np.swapaxes(x, 0, -1)"),
    ("mx.moveaxis(x, 0, -1)", "np.moveaxis(x, 0, -1)"),
    ("x.moveaxis(-1, 0)", "np.moveaxis(x, -1, 0)"),
    ("mx.expand_dims(x, (0, 2))", "np.expand_dims(x, (0, 2))"),
    ("mx.expand_dims(x, -1)", "np.expand_dims(x, -1)"),
    ("mx.squeeze(mx.expand_dims(x, (0, 2)))", "x"),
    ("mx.squeeze(mx.expand_dims(x, (0, 2)), 2)", "x[None]"),
    ("mx.flatten(x)", "x.reshape(-1)"),
    ("mx.flatten(x, 1)", "x.reshape(2, 12)"),
    ("x.flatten(0, -2)", "x.reshape(6, 4)"),
    ("mx.flatten(mx.array(1))", "np.array([1])"),
    ("mx.flatten(x, -7, 5)", "x.reshape(-1)"),
    ("mx.flatten(x, 1, 9)", "x.reshape(2, 12)"),
    ("mx.unflatten(x, 2, (2, -1))", "x.reshape(2, 3, 2, 2)"),
    ("mx.concatenate([x, x + 100], 1)", "np.concatenate([x, x + 100], 1)"),
    ("mx.concat([x, x[:1]])", "np.concatenate([x, x[:1]])"),
    ("mx.concatenate([x, x], None)", "np.concatenate([x, x], None)"),
    ("mx.concatenate([x[:0], x])", "x"),
    ("mx.concatenate([x.T, x.T * 2], -1)", "np.concatenate([x.T, x.T * 2], -1)"),
    ("mx.stack([x, -x])", "np.stack([x, -x])"),
    ("mx.stack([x, -x], None)", "np.stack([x, -x])"),
    ("mx.stack([x, -x], -1)", "np.stack([x, -x], -1)"),
    ("mx.split(x, 3, 1)[1]", "np.split(x, 3, 1)[1]"),
    ("mx.split(x, [1, 3], -1)[2]", "np.split(x, [1, 3], -1)[2]"),
    ("x.split((1,), 1)[0]", "np.split(x, (1,), 1)[0]"),
    ("mx.split(mx.arange(6), [-2])[1]", "np.array([4, 5])"),
    ("mx.unstack(x, axis=1)[2]", "x[:, 2]"),
    ("mx.tile(x, 2)", "np.tile(x, 2)"),
    ("mx.tile(x, (2, 1, 3, 1))", "np.tile(x, (2, 1, 3, 1))"),
    ("mx.repeat(x, 2)", "np.repeat(x, 2)"),
    ("mx.repeat(x, 3, 1)", "np.repeat(x, 3, 1)"),
    ("mx.repeat(x, 0, 1)", "np.repeat(x, 0, 1)"),
    ("mx.roll(x, 5)", "np.roll(x, 5)"),
    ("mx.roll(x, -1, 1)", "np.roll(x, -1, 1)"),
    ("mx.roll(x, (1, -2), (0, 2))", "np.roll(x, (1, -2), (0, 2))"),
    ("mx.roll(x, 9, 1)", "np.roll(x, 9, 1)"),
    ("mx.pad(x, 1)", "np.pad(x, 1)"),
    ("mx.pad(x, (1, 2), constant_values=9)", "np.pad(x, (1, 2), constant_values=9)"),
    ("mx.pad(x, [(0, 1), (2, 0), (0, 0)])", "np.pad(x, [(0, 1), (2, 0), (0, 0)])"),
    ("mx.pad(x, 2, 'edge')", "np.pad(x, 2, 'edge')"),
    ("mx.pad(x, 1, 'reflect')", "np.pad(x, 1, 'reflect')"),
    ("mx.pad(x, 1, 'symmetric')", "np.pad(x, 1, 'symmetric')"),
    ("mx.flip(x)", "np.flip(x)"),
    ("mx.flip(x, (0, 2))", "np.flip(x, (0, 2))"),
    ("mx.diag(x[0, 0])", "np.diag(x[0, 0])"),
    ("mx.diag(x[0, 0], -2)", "np.diag(x[0, 0], -2)"),
    ("mx.diag(x[0], 1)", "np.diag(x[0], 1)"),
    ("mx.diagonal(x, 1, 1, 2)", "np.diagonal(x, 1, 1, 2)"),
    ("x.diagonal()", "np.diagonal(x)"),
    ("mx.tril(x, -1)", "np.tril(x, -1)"),
    ("mx.triu(x, 1)", "np.triu(x, 1)"),
    ("mx.meshgrid(x[0, 0], x[0, :, 0])[0]", "np.meshgrid(x[0, 0], x[0, :, 0])[0]"),
    (
        "mx.meshgrid(x[0, 0], x[0, :, 0], indexing='ij')[1]",
        "np.meshgrid(x[0, 0], x[0, :, 0], indexing='ij')[1]",
    ),
    (
        "mx.meshgrid(x[0, 0], x[0, :, 0], sparse=True)[1]",
        "np.meshgrid(x[0, 0], x[0, :, 0], sparse=True)[1]",
    ),
    ("mx.broadcast_to(x, (5, 2, 3, 4))", "np.broadcast_to(x, (5, 2, 3, 4))"),
    ("mx.broadcast_to(x[:, :1], (2, 3, 4))", "np.broadcast_to(x[:, :1], (2, 3, 4))"),
    ("mx.broadcast_arrays(x, x[0, 0])[1]", "np.broadcast_arrays(x, x[0, 0])[1]"),
    ("mx.atleast_1d(x[0, 0, 0])", "np.atleast_1d(x[0, 0, 0])"),
    ("mx.atleast_2d(x[0, 0])", "np.atleast_2d(x[0, 0])"),
    ("mx.atleast_3d(x[0])", "np.atleast_3d(x[0])"),
    ("mx.atleast_2d(x[0, 0], x)[1]", "x"),
    (
        "mx.as_strided(x, (3, 2), (2, 1), 5)",
        "np.lib.stride_tricks.as_strided(x.reshape(-1)[5:], (3, 2), (8, 4))",
    ),
    ("mx.as_strided(x, (3, 2), (-2, 0), 10)", "np.array([[10, 10], [8, 8], [6, 6]])"),
    ("mx.as_strided(x.T, (4,), (1,))", "x.T.reshape(-1)[:4]"),
    ("mx.contiguous(x.T)", "x.T"),
    ("mx.kron(x[0], x[1, :2, :2])", "np.kron(x[0], x[1, :2, :2])"),
    ("mx.diff(x * x)", "np.diff(x * x)"),
    ("mx.diff(x * x, 2, 1)", "np.diff(x * x, 2, 1)"),
    ("mx.diff(x, 0)", "x"),
    ("mx.trace(x[0])", "np.trace(x[0])"),
    ("mx.trace(x, 1, 1, 2)", "np.trace(x, 1, 1, 2)"),
    ("mx.outer(x[0, 0], x[1, 1])", "np.outer(x[0, 0], x[1, 1])"),
    ("x.view(mx.float32).view(mx.int32)", "x"),
    ("mx.stop_gradient(x)", "x"),
    ("mx.depends([x], [x + 1])[0]", "x"),
]


@pytest.mark.parametrize("ours, theirs", SAME, ids=lambda s: s)
def test_same_as_numpy(ours, theirs):
    assert_same(value(ours, x=mx.array(A)), value(theirs, x=A))


@pytest.mark.parametrize("ours, theirs", SAME, ids=lambda s: s)
def test_same_as_numpy_on_a_lazy_view(ours, theirs):
    if "as_strided" in ours:
        pytest.skip("reads the buffer")
    x = mx.swapaxes(mx.array(A.swapaxes(0, 2).copy() - 1), 0, 2) + 1
    assert_same(value(ours, x=x), value(theirs, x=A))


ERRORS = [
    ("x.reshape(5, 5)", ValueError),
    ("x.reshape(-1, -1)", ValueError),
    ("mx.reshape(x, (7, -1))", ValueError),
    ("mx.zeros((0, 3)).reshape(0, -1)", ValueError),
    ("mx.transpose(x, (0, 0, 1))", ValueError),
    ("mx.transpose(x, (0,))", ValueError),
    ("mx.transpose(x, (0, 1, 5))", ValueError),
    ("mx.swapaxes(x, 0, 5)", (ValueError, IndexError)),
    ("mx.moveaxis(x, 0, 7)", (ValueError, IndexError)),
    ("mx.expand_dims(x, 9)", ValueError),
    ("mx.expand_dims(x, (0, 0))", ValueError),
    ("mx.squeeze(x, 0)", ValueError),
    ("mx.flatten(x, 2, 1)", ValueError),
    ("mx.flatten(x, 3, 5)", ValueError),
    ("mx.flatten(x, 0, -4)", ValueError),
    ("mx.unflatten(x, 2, (3, -1))", ValueError),
    ("mx.concatenate([])", ValueError),
    ("mx.concatenate([x, x[:, :2]])", ValueError),
    ("mx.concatenate([x, x], 5)", ValueError),
    ("mx.stack([])", ValueError),
    ("mx.stack([x, x[0]])", ValueError),
    ("mx.split(x, 2, 1)", ValueError),
    ("mx.repeat(x, -1, 1)", ValueError),
    ("mx.roll(x, 1, 5)", ValueError),
    ("mx.pad(x, -1)", ValueError),
    ("mx.pad(x, 1, 'no such mode')", ValueError),
    ("mx.broadcast_to(x, (3, 2))", ValueError),
    ("mx.broadcast_arrays(x, mx.zeros((5,)))", ValueError),
    ("mx.meshgrid(x[0, 0], indexing='no such')", ValueError),
]


@rows(ERRORS)
def test_errors(row):
    with pytest.raises(row[1]):
        mx.eval(value(row[0], x=mx.array(A)))


def test_joining_promotes():
    joined = mx.concatenate([mx.zeros(2, mx.int8), mx.ones(1, mx.float16)])
    assert_same(joined, [0, 0, 1], "float16")
    assert_same(mx.stack([mx.array([1]), mx.array([2.5])]), [[1], [2.5]], "float32")


def test_splitting_covers_the_whole():
    assert [p.shape for p in mx.split(mx.zeros((2, 7)), [2, 5], 1)] == [(2, 2), (2, 3), (2, 2)]
    assert [p.shape for p in mx.split(mx.zeros((3,)), [5])] == [(3,), (0,)]


EMPTIES = [
    ("mx.zeros((0, 3)).reshape(-1)", np.zeros(0)),
    ("mx.zeros((0, 3)).T", np.zeros((3, 0))),
    ("mx.concatenate([mx.zeros((0, 3)), mx.zeros((0, 3))])", np.zeros((0, 3))),
    ("mx.tile(mx.zeros((0,)), 3)", np.zeros(0)),
    ("mx.pad(mx.zeros((0, 2)), 1)", np.zeros((2, 4))),
    ("mx.flip(mx.zeros((0, 2)))", np.zeros((0, 2))),
    ("mx.roll(mx.zeros((2, 0)), 1)", np.zeros((2, 0))),
    ("mx.stack([mx.zeros((0,)), mx.zeros((0,))])", np.zeros((2, 0))),
    ("mx.diff(mx.array([1.0]))", np.zeros(0)),
    ("mx.broadcast_to(mx.zeros((1, 0)), (4, 0))", np.zeros((4, 0))),
]


@rows(EMPTIES)
def test_empty(row):
    assert_same(value(row[0]), row[1])


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_moves(name):
    host = values(name, (3, 4, 5), (0, 100))
    x = array(host, name)
    moved = mx.concatenate([x.transpose(2, 0, 1)[::-1], mx.flip(x.T, 0).swapaxes(1, 2)], 1)
    expected = np.concatenate([host.transpose(2, 0, 1)[::-1], host.T[::-1].swapaxes(1, 2)], 1)
    assert_same(mx.pad(moved, 1), np.pad(expected, 1), name)


chains = st.lists(
    st.sampled_from(["transpose", "flip", "halve", "reshape", "expand", "broadcast"]),
    min_size=1,
    max_size=6,
)


def step(x, kind, numpy):
    if kind == "transpose":
        return x.T
    if kind == "flip":
        return x[::-1] if x.ndim else x
    if kind == "halve":
        return x[..., ::2] if x.ndim else x
    if kind == "reshape":
        return x.reshape(2, -1) if x.size % 2 == 0 and x.size else x.reshape(-1)
    if kind == "expand":
        return x[None]
    shape = (2, *x.shape)
    return np.broadcast_to(x, shape) if numpy else mx.broadcast_to(x, shape)


@given(chains)
def test_chains_of_views(kinds):
    x, host = mx.array(A), A
    for kind in kinds:
        x, host = step(x, kind, False), step(host, kind, True)
    assert_same(x, host)
    assert_same(x * 2 + x, host * 3)
    assert_same(mx.sum(x), host.sum())


def test_large_transposes():
    for shape in ((513, 1027), (1, 4096), (4096, 3), (17, 33, 65)):
        host = values("float32", shape)
        assert_same(mx.contiguous(mx.array(host).T), host.T)
    assert name_of(mx.array(A).T.dtype) == "int32" and to_numpy(mx.array(A).T).shape == (4, 3, 2)


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "complex64"])
@pytest.mark.parametrize("columns", [2, 3, 4, 5])
def test_rows_of_few_items_apart(name, columns):
    for count in (1, 8, 70, 100_003):
        host = values(name, (count, columns), (0, 100))
        assert_same(mx.contiguous(array(host, name).T), host.T)
        assert_same(mx.contiguous(array(host, name)[::-1].T), host[::-1].T)
    host = values(name, (3, 50, columns), (0, 100))
    assert_same(mx.contiguous(array(host, name).swapaxes(1, 2)), host.swapaxes(1, 2))


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "float64", "complex64"])
def test_columns_stretched(name):
    for width in (1, 63, 130, 1001):
        host = values(name, (33, 1), (-100, 100))
        stretched = mx.broadcast_to(array(host, name), (33, width))
        assert_same(mx.contiguous(stretched), np.broadcast_to(host, (33, width)))


WIDTHS = [((1, 1),), ((0, 3),), ((2, 0),), ((1, 2), (0, 0)), ((0, 0), (3, 1)), ((2, 1), (1, 4))]


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("name", ["int8", "float16", "float32"])
def test_large_pads(name, mode):
    for widths in WIDTHS + [((1, 0), (2, 3), (0, 1))]:
        ndim = len(widths)
        host = values(name, {1: (300_000,), 2: (500, 1100), 3: (7, 60, 1200)}[ndim], (0, 100))
        expected = np.pad(host, widths, mode=mode)
        assert_same(mx.pad(array(host, name), widths, mode=mode), expected)
        assert_same(mx.pad(array(host, name).T, widths[::-1], mode=mode), expected.T)


@rill_only
def test_gradient_of_a_large_pad():
    x = mx.array(values("float32", (600, 700)))
    weights = mx.array(values("float32", (602, 702)))
    pad = lambda v: mx.pad(v, 1, mode="edge")
    got = to_numpy(mx.grad(lambda v: (pad(v) * weights).sum())(x))
    expected = to_numpy(weights)[1:-1, 1:-1].copy()
    outer = to_numpy(weights)
    expected[0] += outer[0, 1:-1]
    expected[-1] += outer[-1, 1:-1]
    expected[:, 0] += outer[1:-1, 0]
    expected[:, -1] += outer[1:-1, -1]
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        expected[row, column] += outer[row, column]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@rill_only
@pytest.mark.parametrize("strides", [(2**62,), (-(2**62),), (2**63 - 1,)])
def test_strides_that_overflow_reach_outside(strides):
    with pytest.raises(ValueError, match="as_strided"):
        mx.as_strided(mx.array([1, 2, 3]), (3,), strides)


@pytest.mark.parametrize("name", ["uint8", "float16", "int32", "int64", "complex64"])
@pytest.mark.parametrize("width", [1, 3, 5, 7, 16, 17, 130])
@pytest.mark.parametrize("times", [2, 1000, 20_011])
def test_a_short_row_again_and_again(name, width, times):
    """Also of each of some rows, of what lies apart, and into an array that has other columns."""
    host = values(name, (3, 2 * width), (0, 100))
    x = array(host, name)
    assert_same(mx.tile(x[0, :width], times), np.tile(host[0, :width], times), name)
    assert_same(mx.tile(x[:, ::-2], (1, times)), np.tile(host[:, ::-2], (1, times)), name)
    rows = mx.broadcast_to(x[:, None, :width], (3, times, width))
    expected = np.broadcast_to(host[:, None, :width], (3, times, width))
    assert_same(mx.contiguous(rows), expected, name)
    assert_same(mx.concatenate([rows, rows[..., :1]], -1)[..., :width], expected, name)


def test_a_short_row_until_it_exceeds_the_caches():
    host = np.array([3, 1, 2], np.uint8)
    for size in (3, 2):
        tiled = mx.tile(mx.array(host[:size]), 100_000_003 // size)
        assert mx.all(tiled.reshape(-1, size) == mx.array(host[:size])).item()
