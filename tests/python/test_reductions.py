"""Reductions and scans, against NumPy in float64."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    DTYPES,
    FLOATS,
    INTEGERS,
    IS_RILL,
    array,
    assert_near,
    assert_same,
    check_row,
    mx,
    name_of,
    rows,
    to_numpy,
    values,
)

SHAPE = (3, 4, 5)
AXES = [None, *(axes for n in range(1, 4) for axes in combinations(range(3), n)), 1, -1, (0, -1)]
SUMMED = {"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}


def logsumexp(x, axis=None, keepdims=False):
    top = x.max(axis=axis, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=axis, keepdims=keepdims)) + (
        top if keepdims else np.squeeze(top, axis if axis is not None else tuple(range(x.ndim)))
    )


def summed(name):
    return SUMMED.get(name, name)


def inexact(name):
    return name if name in FLOATS or name == "complex64" else "float32"


def real(name):
    return "float32" if name == "complex64" else inexact(name)


# name -> (NumPy's function, dtype of the result)
REDUCTIONS = {
    "sum": (np.sum, summed),
    "prod": (np.prod, summed),
    "max": (np.max, lambda name: name),
    "min": (np.min, lambda name: name),
    "all": (np.all, lambda name: "bool"),
    "any": (np.any, lambda name: "bool"),
    "mean": (np.mean, inexact),
    "var": (np.var, real),
    "std": (np.std, real),
    "median": (np.median, inexact),
    "logsumexp": (logsumexp, inexact),
    "count_nonzero": (np.count_nonzero, lambda name: "int32"),
}
LOOSE = {
    "float16": 2e-2,
    "bfloat16": 6e-2,
    "float32": 1e-5,
    "float64": 1e-12 if IS_RILL else 1e-5,
    "complex64": 1e-5,
}


def operand(reduction, name, shape=SHAPE):
    span = {
        "prod": (0.7, 1.4) if name in FLOATS else (-2, 2),
        "all": (-0.2, 3),
        "any": (0, 0.1),
    }.get(reduction, (-4, 4))
    host = values(name, shape, span)
    return np.round(host) if reduction == "count_nonzero" else host


def compare(result, expected, name):
    assert name_of(result.dtype) == name
    if name in LOOSE:
        assert_near(result, expected, name, LOOSE[name])
    else:
        assert_same(result, expected)


@pytest.mark.parametrize("name", ["float32", "int32"])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_axes(reduction, axis, name):
    function, result_dtype = REDUCTIONS[reduction]
    host = operand(reduction, name)
    exact = host.astype(np.float64) if name in FLOATS else host
    for keepdims in (False, True):
        result = getattr(mx, reduction)(mx.array(host), axis=axis, keepdims=keepdims)
        compare(result, function(exact, axis=axis, keepdims=keepdims), result_dtype(name))
        if isinstance(axis, tuple):
            listed = getattr(mx, reduction)(mx.array(host), axis=list(axis), keepdims=keepdims)
            assert_same(listed, to_numpy(result))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_dtypes(reduction, name):
    if name == "complex64" and reduction in ("median", "logsumexp", "max", "min"):
        pytest.skip("the order of complex numbers is not compared")
    if reduction == "logsumexp" and name[0] in "bu" and not IS_RILL:
        pytest.skip("the peer subtracts the maximum before it leaves the unsigned")
    function, result_dtype = REDUCTIONS[reduction]
    host = operand(reduction, name)
    wide = host.astype(
        np.complex128
        if name == "complex64"
        else np.float64
        if name in FLOATS or result_dtype(name) == "float32"
        else host.dtype
    )
    expected = function(wide, axis=1)
    compare(getattr(mx, reduction)(array(host, name), axis=1), expected, result_dtype(name))


VIEWS = {
    "transposed": lambda x: x.T,
    "strided": lambda x: x[:, ::2, 1::2],
    "reversed": lambda x: x[::-1, :, ::-1],
    "swapped": lambda x: x.swapaxes(0, 1),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_views(reduction, view):
    host = operand(reduction, "float32", (6, 7, 8))
    for axis in (None, 0, 1, 2, (0, 2)):
        exact = REDUCTIONS[reduction][0](VIEWS[view](host).astype(np.float64), axis=axis)
        result = getattr(mx, reduction)(VIEWS[view](mx.array(host)), axis=axis)
        assert_near(result, exact, tolerance=3e-5)


@pytest.mark.parametrize("shape", [(), (6, 1, 8), (1, 7, 1), (8,)])
@pytest.mark.parametrize("reduction", sorted(REDUCTIONS.keys() - {"var", "std"}))
def test_broadcast(reduction, shape):
    host = np.asarray(operand(reduction, "float32", shape))
    full = (6, 7, 8)
    for axis in (None, 0, 1, 2, (0, 2)):
        wide = np.broadcast_to(host.astype(np.float64), full)
        exact = REDUCTIONS[reduction][0](wide, axis=axis)
        result = getattr(mx, reduction)(mx.broadcast_to(mx.array(host), full), axis=axis)
        assert_near(result, exact, tolerance=3e-5)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("reduction", ["sum", "prod", "any"])
def test_broadcast_dtypes(reduction, name):
    function, result_dtype = REDUCTIONS[reduction]
    host = operand(reduction, name, (5, 1))
    numbers = mx.broadcast_to(array(host, name), (5, 20))
    wide = np.complex128 if name == "complex64" else np.float64 if name in FLOATS else host.dtype
    expected = function(np.broadcast_to(host.astype(wide), (5, 20)), axis=1)
    compare(getattr(mx, reduction)(numbers, axis=1), expected, result_dtype(name))


@pytest.mark.parametrize(
    "shape",
    [
        (1,),
        (100_003,),
        (1, 70_001),
        (70_001, 1),
        (257, 1025),
        (2, 3, 40_000),
        (40_000, 3, 2),
        (33, 65, 129),
    ],
)
@pytest.mark.parametrize("reduction", ["sum", "max", "mean"])
def test_sizes(reduction, shape):
    host = values("float32", shape, (0, 1))
    for axis in (None, *range(len(shape))):
        exact = REDUCTIONS[reduction][0](host.astype(np.float64), axis=axis)
        result = getattr(mx, reduction)(mx.array(host), axis=axis)
        assert_near(result, exact, tolerance=1e-5 if IS_RILL else 1e-3)


@pytest.mark.parametrize("function", ["argmax", "argmin"])
@pytest.mark.parametrize("name", [d for d in DTYPES if d != "complex64"])
def test_arg_reductions(function, name):
    host = values(name, (7, 9, 11), (-50, 50))
    for axis in (None, 0, 1, 2, -1):
        for keepdims in (False, True):
            expected = getattr(np, function)(host, axis=axis, keepdims=keepdims)
            assert_same(
                getattr(mx, function)(array(host, name), axis, keepdims), expected, "uint32"
            )
    assert_same(getattr(mx, function)(array(host, name).T, 1), getattr(np, function)(host.T, 1))


@pytest.mark.parametrize("function", ["argmax", "argmin"])
@pytest.mark.parametrize("view", ["x.T", "x[::-1, 1::2]", "x[0, 0, 0]", "x[:1]"])
def test_arg_reductions_of_the_whole(function, view):
    """In row-major order, whatever the layout; also of each of a batch."""
    host = values("int32", (7, 9, 11), (-50, 50))
    expected = eval(view, {"x": host})
    x, ours = eval(view, {"x": mx.array(host)}), getattr(mx, function)
    assert_same(ours(x), getattr(np, function)(expected), "uint32")
    assert ours(x, keepdims=True).shape == (1,) * x.ndim
    batch = mx.stack([x, x + 1, -x])
    each = [getattr(np, function)(v) for v in to_numpy(batch)]
    assert_same(mx.vmap(ours)(batch), np.array(each), "uint32")
    assert_same(mx.vmap(ours, in_axes=-1)(mx.moveaxis(batch, 0, -1)), np.array(each), "uint32")
    assert mx.vmap(ours)(batch[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["bool", "int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("size", [1, 7, 300, 9001, 700_001])
def test_arg_reductions_of_narrow_types(name, size):
    """Where the best is the first, the last, one of many, or all there is; also backwards."""
    low, high = (0, 1) if name == "bool" else (np.iinfo(name).min, np.iinfo(name).max)
    host = np.full(size, high // 2, dtype=name)
    rows = [host.copy() for _ in range(4)]
    rows[1][-1], rows[2][size // 2 :], rows[3][size // 3] = high, high, low
    rows.append(values(name, (size,), (-50, 50)))
    host = np.stack(rows)
    for function in ("argmax", "argmin"):
        for view in (lambda v: v, lambda v: v[:, ::-1], lambda v: v[:, ::3], lambda v: v[1:4]):
            for axis in (None, 0, 1):
                expected = getattr(np, function)(view(host), axis=axis)
                assert_same(getattr(mx, function)(view(array(host, name)), axis), expected)


@pytest.mark.parametrize("shape", [(9, 1), (5, 3), (40, 77), (3, 5, 300)])
def test_complex_extremes_across(shape):
    """The first nan wins, then the first of equal ones."""
    rng = np.random.default_rng(0)
    host = (rng.integers(-2, 3, shape) + 1j * rng.integers(-2, 3, shape)).astype(np.complex64)
    host[rng.random(shape) < 0.1] = complex(np.nan, 1)
    host[rng.random(shape) < 0.1] = complex(2, np.nan)
    for axis in range(len(shape)):
        rows = np.moveaxis(host, axis, 0)
        for function in ("max", "min"):
            expected = rows[0].copy()
            for row in rows[1:]:
                key, best = (np.stack([v.real, v.imag]) for v in (row, expected))
                sign = 1 if function == "max" else -1
                larger = sign * (key[0] - best[0]) > 0
                larger |= (key[0] == best[0]) & (sign * (key[1] - best[1]) > 0)
                taken = ~np.isnan(expected) & (np.isnan(row) | larger)
                expected = np.where(taken, row, expected)
            got = to_numpy(getattr(mx, function)(mx.array(host), axis))
            np.testing.assert_array_equal(got.real, expected.real)
            np.testing.assert_array_equal(got.imag, expected.imag)


@pytest.mark.parametrize("name", ["int64", "uint64"])
def test_products_wrap_around(name):
    host = values(name, (37, 129), (-(2**40), 2**40))
    for axis in (None, 0, 1):
        with np.errstate(all="ignore"):
            assert_same(mx.prod(array(host, name), axis), np.prod(host, axis=axis), name)


def test_ties_go_to_the_first():
    host = np.tile([1.0, 3.0, 3.0, 0.0, 0.0], 1000).astype(np.float32)
    assert mx.argmax(mx.array(host)).item() == 1
    assert mx.argmin(mx.array(host)).item() == 3


ROWS = [
    ("mx.sum(mx.array([200, 200], mx.uint8))", 400, "uint32"),
    ("mx.sum(mx.array([True, True]))", 2, "int32"),
    ("mx.prod(mx.array([127, 127], mx.int8))", 16129, "int32"),
    ("mx.sum(mx.array([[1, 2]]), ())", [[1, 2]], "int32"),
    ("mx.sum(mx.array(3))", 3, "int32"),
    ("mx.mean(mx.array([1, 2]))", 1.5, "float32"),
    ("mx.var(mx.array([1.0, 2, 3, 4]), ddof=1)", 5 / 3, "float32"),
    ("mx.std(mx.array([1.0, 2, 3, 4]), ddof=1)", (5 / 3) ** 0.5, "float32"),
    ("mx.median(mx.array([3, 1, 2]))", 2, "float32"),
    ("mx.median(mx.array([1.0, 2, 3, 4]))", 2.5, "float32"),
    ("mx.sum(mx.zeros((0, 3)))", 0, "float32"),
    ("mx.sum(mx.zeros((0, 3)), 0)", [0, 0, 0], "float32"),
    ("mx.prod(mx.zeros((0, 3)), 0)", [1, 1, 1], "float32"),
    ("mx.sum(mx.zeros((0, 3)), 1)", [], "float32"),
    ("mx.mean(mx.zeros((0, 3)), 0)", [np.nan] * 3, "float32"),
    ("mx.max(mx.zeros((0, 3)), 1)", [], "float32"),
    ("mx.all(mx.zeros((0, 3)))", True, "bool"),
    ("mx.any(mx.zeros((0, 3)))", False, "bool"),
    ("mx.max(mx.array([nan, 1.0]))", np.nan, "float32"),
    ("mx.min(mx.array([1.0, nan]))", np.nan, "float32"),
    ("mx.sum(mx.array([nan, 1.0]))", np.nan, "float32"),
    ("mx.sum(mx.array([inf, -inf]))", np.nan, "float32"),
    ("mx.max(mx.array([-inf, -inf]))", -np.inf, "float32"),
    ("mx.any(mx.array([nan]))", True, "bool"),
    ("mx.median(mx.array([nan, 1.0]))", np.nan, "float32"),
    ("mx.max(mx.array([1 + 2j, 1 + 3j]))", 1 + 3j, "complex64"),
    ("mx.logsumexp(mx.array([inf, 1.0]))", np.inf, "float32"),
    ("mx.logsumexp(mx.array([-inf, -inf]))", -np.inf, "float32"),
    ("mx.logsumexp(mx.array([1000.0, 1000.0]))", 1000 + np.log(2), "float32"),
    ("mx.softmax(mx.array([1000.0, 1000.0]))", [0.5, 0.5], "float32"),
    ("mx.softmax(mx.array([-inf, 0.0]))", [0, 1], "float32"),
    ("mx.softmax(mx.array([-inf, -inf]))", [np.nan] * 2, "float32"),
    ("mx.softmax(mx.zeros((2, 0)))", [[], []], "float32"),
    ("mx.softmax(mx.zeros((2, 2), mx.float16), precise=True)", [[0.25] * 2] * 2, "float16"),
    ("mx.array([[1, 2], [3, 4]]).sum(axis=0)", [4, 6], "int32"),
    ("mx.array([[1, 2], [3, 4]]).max(axis=(0, 1), keepdims=True)", [[4]], "int32"),
    ("mx.max(mx.zeros((0, 3)))", ValueError),
    ("mx.min(mx.zeros((0, 3)), 0)", ValueError),
    ("mx.argmax(mx.zeros((0, 3)))", ValueError),
    ("mx.argmin(mx.zeros((0, 3)), 0)", ValueError),
    ("mx.sum(mx.ones((2, 3)), 5)", (ValueError, IndexError)),
    ("mx.sum(mx.ones((2, 3)), -3)", (ValueError, IndexError)),
    ("mx.sum(mx.ones((2, 3)), (0, 0))", ValueError),
    ("mx.sum(mx.ones((2, 3)), (0, -2))", ValueError),
    ("mx.sum(mx.ones((2, 3)), 'a')", TypeError),
    ("mx.cumsum(mx.ones((2, 3)), 5)", ValueError),
]


@rows(ROWS)
def test_rows(row):
    if isinstance(row[1], tuple):
        with pytest.raises(row[1]):
            check_row((row[0], None))
    else:
        check_row(row)


@pytest.mark.parametrize("axis", [-1, 0, (0, 1), None, (0, 2)], ids=str)
@pytest.mark.parametrize("name", FLOATS)
def test_softmax(axis, name):
    host = values(name, SHAPE, (-9, 9))
    exact = np.exp(host.astype(np.float64) - logsumexp(host.astype(np.float64), axis, True))
    assert_near(mx.softmax(array(host, name), axis), exact, name, LOOSE[name])


# Scans ---------------------------------------------------------------------------------------

SCANS = {
    "cumsum": np.add,
    "cumprod": np.multiply,
    "cummax": np.maximum,
    "cummin": np.minimum,
    "logcumsumexp": np.logaddexp,
}
STARTS = {"cumsum": 0, "cumprod": 1, "cummax": -np.inf, "cummin": np.inf, "logcumsumexp": -np.inf}


def scanned(name, host, axis, reverse, inclusive):
    host = np.flip(host, axis) if reverse else host
    result = SCANS[name].accumulate(host, axis)
    if not inclusive:
        start = np.full_like(result.take([0], axis), STARTS[name])
        result = np.concatenate([start, result.take(range(host.shape[axis] - 1), axis)], axis)
    return np.flip(result, axis) if reverse else result


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("name", SCANS)
def test_scans(name, reverse, inclusive):
    host = values("float32", (5, 7, 33), (0.5, 1.5))
    options = {"reverse": reverse, "inclusive": inclusive}
    for axis in (0, 1, 2, -1):
        exact = scanned(name, host.astype(np.float64), axis, reverse, inclusive)
        result = to_numpy(getattr(mx, name)(mx.array(host), axis, **options))
        np.testing.assert_allclose(result, exact, rtol=2e-5, atol=1e-5)
        view = to_numpy(getattr(mx, name)(mx.array(host.T.copy()).T, axis, **options))
        np.testing.assert_allclose(view, exact, rtol=2e-5, atol=1e-5)
    flat = to_numpy(getattr(mx, name)(mx.array(host), **options))
    exact = scanned(name, host.astype(np.float64).reshape(-1), 0, reverse, inclusive)
    np.testing.assert_allclose(flat, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_scans_keep_their_dtype_and_wrap(name):
    host = values(name, (300,), (0, 100))
    assert_same(mx.cumsum(array(host, name)), np.cumsum(host, dtype=name), name)
    assert_same(mx.cummax(array(host, name)), np.maximum.accumulate(host), name)


def test_scans_of_specials():
    assert_same(mx.cumsum(mx.array([True, True])), [1, 2], "int32")
    assert_same(mx.cummax(mx.array([1.0, np.nan, 2.0])), [1, np.nan, np.nan])
    if IS_RILL:  # the peer stops the process
        assert_same(mx.cumsum(mx.zeros((0, 3)), 0), np.zeros((0, 3)))
    assert_same(mx.cumsum(mx.array([1, 2]), dtype=mx.float32), [1, 3], "float32")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_random_shapes(shape, data):
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1))))
    host = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    order = data.draw(st.permutations(range(len(shape))))
    assert_same(mx.sum(mx.array(host).transpose(order), axes), host.transpose(order).sum(axes))
    assert_same(mx.max(mx.array(host).transpose(order), axes), host.transpose(order).max(axes))


@pytest.mark.parametrize("name", ("bool", "int16", "float16", "float32", "int64"))
@pytest.mark.parametrize("n", (511, 513, 700, 5000))
def test_rows_that_one_number_decides(n, name):
    """Wherever it stands: a row is looked at from its start, and often not to its end."""
    places = [0, 1, 126, 127, 128, 129, 400, n - 2, n - 1]
    x = np.zeros((len(places) + 1, n), name)
    x[range(len(places)), places] = 1
    for host in (x, (1 - x.astype(np.int8)).astype(name)):
        for function in ("any", "all", "min", "max"):
            result = getattr(mx, function)(array(host, name), axis=1)
            np.testing.assert_array_equal(to_numpy(result), getattr(np, function)(host, axis=1))
