"""Arrays from nothing: zeros, ranges, identities, windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    DTYPES,
    INTEGERS,
    IS_RILL,
    array,
    assert_same,
    check_row,
    dtype,
    mx,
    name_of,
    rill_only,
    rows,
    to_numpy,
)

ROWS = [
    ("mx.zeros(3)", [0, 0, 0], "float32"),
    ("mx.zeros([2])", [0, 0], "float32"),
    ("mx.zeros(())", 0, "float32"),
    ("mx.zeros((2, 0))", [[], []], "float32"),
    ("mx.zeros((2,), None)", [0, 0], "float32"),
    ("mx.ones((2,), mx.bool_)", [True, True], "bool"),
    ("mx.full((2,), 7)", [7, 7], "int32"),
    ("mx.full(2, 7.5)", [7.5, 7.5], "float32"),
    ("mx.full((2,), True)", [True, True], "bool"),
    ("mx.full((2,), 1, mx.float16)", [1, 1], "float16"),
    ("mx.full((2, 2), mx.array([1, 2]))", [[1, 2], [1, 2]], "int32"),
    ("mx.full_like(mx.array([1, 2]), 1.5)", [1, 1], "int32"),
    ("mx.full_like(mx.array([1, 2]), 1.5, mx.float32)", [1.5, 1.5], "float32"),
    ("mx.zeros_like(mx.array([1, 2]))", [0, 0], "int32"),
    ("mx.zeros_like(mx.array([1, 2]), mx.float32)", [0, 0], "float32"),
    ("mx.ones_like(mx.array([[1.5]], mx.float16))", [[1]], "float16"),
    ("mx.arange(3)", [0, 1, 2], "int32"),
    ("mx.arange(3.0)", [0, 1, 2], "float32"),
    ("mx.arange(1, 3)", [1, 2], "int32"),
    ("mx.arange(start=1, stop=3)", [1, 2], "int32"),
    ("mx.arange(stop=3)", [0, 1, 2], "int32"),
    ("mx.arange(0, 3, 1.0)", [0, 1, 2], "float32"),
    ("mx.arange(1, 2, 0.3)", [1, 1.3, 1.6, 1.9], "float32"),
    ("mx.arange(5, 0, -2)", [5, 3, 1], "int32"),
    ("mx.arange(5, 0)", [], "int32"),
    ("mx.arange(-3)", [], "int32"),
    ("mx.arange(3, dtype=mx.int8)", [0, 1, 2], "int8"),
    ("mx.arange(0, 3.5, dtype=mx.int32)", [0, 1, 2, 3], "int32"),
    ("mx.arange(2**31, 2**31 + 2)", [2**31, 2**31 + 1], "int64"),
    ("mx.arange(3, dtype=mx.complex64)", [0, 1, 2], "complex64"),
    ("mx.arange(0, 1, 0.1).shape", (10,)),
    ("mx.linspace(0, 1, 5)", [0, 0.25, 0.5, 0.75, 1], "float32"),
    ("mx.linspace(0, 1, 5, endpoint=False)", [0, 0.2, 0.4, 0.6, 0.8], "float32"),
    ("mx.linspace(0, 1, 1)", [0], "float32"),
    ("mx.linspace(0, 1, 0)", [], "float32"),
    ("mx.linspace(0, 10, 3, dtype=mx.int32)", [0, 5, 10], "int32"),
    ("mx.linspace(2, -2).shape", (50,)),
    ("mx.eye(2)", [[1, 0], [0, 1]], "float32"),
    ("mx.eye(2, 3, 1, mx.int32)", [[0, 1, 0], [0, 0, 1]], "int32"),
    ("mx.eye(2, k=-1)", [[0, 0], [1, 0]], "float32"),
    ("mx.eye(2, k=9)", [[0, 0], [0, 0]], "float32"),
    ("mx.identity(2, mx.int8)", [[1, 0], [0, 1]], "int8"),
    ("mx.tri(2)", [[1, 0], [1, 1]], "float32"),
    ("mx.tri(2, 3, 1)", [[1, 1, 0], [1, 1, 1]], "float32"),
    ("mx.tri(2, dtype=mx.int32)", [[1, 0], [1, 1]], "int32"),
    ("mx.empty((2, 3)).shape", (2, 3)),
    ("mx.empty_like(mx.zeros((2, 3), mx.int8)).dtype == mx.int8", True),
    ("mx.hanning(1)", [1], "float32"),
    ("mx.hanning(0)", [], "float32"),
    ("mx.zeros((-1,))", ValueError),
    ("mx.arange(0, 5, 0)", ValueError),
    ("mx.arange(0, inf)", ValueError),
    ("mx.arange(0, nan)", ValueError),
    ("mx.arange(True)", ValueError),
    ("mx.arange(3, dtype=mx.bool_)", ValueError),
    ("mx.linspace(0, 1, -1)", ValueError),
    ("mx.full((2,), mx.array([1, 2, 3]))", ValueError),
]


@rows(ROWS)
def test_rows(row):
    check_row(row)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(name):
    kind = dtype(name)
    assert_same(mx.zeros((2, 3), kind), np.zeros((2, 3)), name)
    assert_same(mx.ones((2, 3), kind), np.ones((2, 3)), name)
    if name != "bool" or IS_RILL:  # the peer gives int32
        assert_same(mx.full((1000,), 1, kind), np.ones(1000), name)
    assert_same(mx.eye(3, dtype=kind), np.eye(3), name)
    assert_same(mx.zeros_like(array([1, 0], name)), [0, 0], name)
    if name != "bool":
        assert_same(mx.arange(0, 100, 7, dtype=kind), np.arange(0, 100, 7), name)


@pytest.mark.parametrize("name", ["hanning", "hamming", "bartlett", "blackman"])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 64])
def test_windows(name, size):
    window = getattr(mx, name)(size)
    assert name_of(window.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(window), getattr(np, name)(size), atol=1e-6)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_integer_ranges(start, stop, step):
    assert_same(mx.arange(start, stop, step), np.arange(start, stop, step), "int32")


@given(st.integers(-20, 20), st.integers(1, 40), st.sampled_from([0.25, 0.5, 1.5]))
def test_float_ranges(start, length, step):
    assert_same(
        mx.arange(start, start + length, step), np.arange(start, start + length, step), "float32"
    )


@given(
    st.floats(-100, 100, width=32),
    st.floats(-100, 100, width=32),
    st.integers(2, 60),
    st.booleans(),
)
def test_linspace(start, stop, count, endpoint):
    expected = np.linspace(start, stop, count, endpoint=endpoint)
    result = to_numpy(mx.linspace(start, stop, count, endpoint))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    assert result[0] == np.float32(start)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_limits_survive(name):
    limits = np.iinfo(name)
    for end in (limits.min, limits.max):
        if name == "uint64" and end == limits.max:
            continue  # no Python int above int64 is accepted
        assert mx.full((3,), mx.array(end, dtype(name))).tolist() == [end] * 3
    assert (mx.iinfo(dtype(name)).min, mx.iinfo(dtype(name)).max) == (limits.min, limits.max)


def test_constants():
    assert (mx.pi, mx.e, mx.inf) == (np.pi, np.e, np.inf)
    assert mx.euler_gamma == np.euler_gamma and mx.newaxis is None and np.isnan(mx.nan)


def test_a_large_range_is_exact():
    assert_same(mx.arange(1_000_000), np.arange(1_000_000), "int32")
    assert name_of(mx.arange(10).dtype) == "int32"


@rill_only
@pytest.mark.parametrize("k", [0, 1, -1, 3, -4, 7, -7, 10**18, -(10**18)])
@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (1, 1), (0, 3), (3, 0), (2, 5, 4)])
def test_diagonals(shape, k):
    n, m = shape[-2:]
    assert_same(mx.tri(n, m, k), np.tri(n, m, k), "float32")
    assert_same(mx.eye(n, m, k), np.eye(n, m, max(-100, min(k, 100))), "float32")
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1
    for name in ("tril", "triu"):
        expected = getattr(np, name)(x, k)
        assert_same(getattr(mx, name)(mx.array(x), k), expected, "float32")


@rill_only
@rows(
    [
        ("mx.zeros('a')", TypeError),
        ("mx.zeros(2, 'float32')", TypeError),
        ("mx.arange('a')", TypeError),
    ]
)
def test_wrong_kinds(row):
    check_row(row)
