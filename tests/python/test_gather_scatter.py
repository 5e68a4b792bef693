"""Taking and putting by index arrays and by start positions, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    DTYPES,
    INTEGERS,
    array,
    assert_same,
    check_row,
    mx,
    rill_only,
    rows,
    to_numpy,
    values,
)

SHAPE = (4, 5, 6)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1, None], ids=str)
def test_take(name, axis):
    host = values(name, SHAPE, (0, 100))
    for indices in (np.array([3, 0, 0, -1]), np.array([[1, 2], [0, -2]]), np.zeros((0,), int)):
        expected = np.take(host, indices, axis)
        assert_same(mx.take(array(host, name), mx.array(indices), axis), expected, name)
    assert_same(mx.take(array(host, name).T, mx.array([2, 1]), 1), np.take(host.T, [2, 1], 1), name)
    assert_same(mx.take(array(host, name), 2, 1), host[:, 2], name)


@pytest.mark.parametrize("name", INTEGERS)
def test_indices_of_every_integer_dtype(name):
    host = values("float32", SHAPE)
    indices = np.array([3, 0, 2], name)
    assert_same(mx.take(mx.array(host), mx.array(indices), 0), host[[3, 0, 2]])
    assert_same(mx.array(host)[:, mx.array(indices)], host[:, [3, 0, 2]])
    along = np.broadcast_to(indices.reshape(3, 1, 1), (3, 5, 6)).copy()
    assert_same(
        mx.take_along_axis(mx.array(host), mx.array(along), 0),
        np.take_along_axis(host, along.astype(int), 0),
    )


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_along_an_axis(axis):
    host = values("float32", SHAPE)
    order = np.argsort(host, axis)
    x = mx.array(host)
    assert_same(mx.take_along_axis(x, mx.array(order), axis), np.take_along_axis(host, order, axis))
    new = values("float32", SHAPE, seed=1)
    expected = host.copy()
    np.put_along_axis(expected, order, new, axis)
    assert_same(mx.put_along_axis(x, mx.array(order), mx.array(new), axis), expected, "float32")
    first = order.take([0], axis)
    expected = host.copy()
    np.put_along_axis(expected, first, 7, axis)
    assert_same(mx.put_along_axis(x, mx.array(first), mx.array(7.0), axis), expected)
    assert_same(x, host)


ROWS = [
    ("mx.take_along_axis(x, mx.array([0, 5]), None)", [0, 5], "int32"),
    ("mx.take_along_axis(x, mx.array([[0], [-1], [2]]), 1)", [[0], [7], [10]], "int32"),
    ("mx.put_along_axis(x[0], mx.array([0, 2]), mx.array([7, 8]), None)", [7, 1, 8, 3], "int32"),
    (
        "mx.put_along_axis(x, mx.array([[0], [1], [2]]), mx.array([[7.5]]), 1)[0]",
        [7, 1, 2, 3],
        "int32",
    ),
    ("mx.slice(x, mx.array([1, 1]), (0, 1), (2, 2))", [[5, 6], [9, 10]], "int32"),
    ("mx.slice(x, mx.array(1), (0,), (1, 4))", [[4, 5, 6, 7]], "int32"),
    (
        "mx.slice_update(x, mx.zeros((1, 4), mx.int32), mx.array([2]), (0,))[2]",
        [0, 0, 0, 0],
        "int32",
    ),
    ("mx.slice_update(x, mx.array([[9]]), mx.array([1, 2]), (0, 1))[1]", [4, 5, 9, 7], "int32"),
    ("x[mx.array([], mx.int32)].shape", (0, 4)),
    ("mx.zeros((0, 3))[mx.array([], mx.int32)].shape", (0, 3)),
    ("mx.take(x, mx.array([0]), axis=5)", ValueError),
    ("mx.take(x, mx.array([1.0]))", ValueError),
    ("mx.take_along_axis(x, mx.array([0, 1]), 1)", ValueError),
    ("mx.take_along_axis(x, mx.array([[0]]), 5)", ValueError),
    ("mx.put_along_axis(x, mx.array([0, 1]), mx.array(1), 1)", ValueError),
]


@rows(ROWS)
def test_rows(row):
    check_row(row, x=mx.arange(12).reshape(3, 4))


@rill_only
def test_take_with_a_negative_scalar():
    assert_same(mx.take(mx.arange(12).reshape(3, 4), -1, axis=0), [8, 9, 10, 11])


@pytest.mark.parametrize("name", [d for d in DTYPES if d not in ("bool",)])
def test_scatter_adds_in_every_dtype(name):
    host = values(name, (6, 3), (0, 5))
    index = np.array([0, 5, 0, 2])
    update = values(name, (4, 3), (0, 5), seed=1)
    expected = host.copy()
    for i, u in zip(index, update):
        expected[i] = (
            array(expected[i] + u, name).astype(mx.float32).tolist()
            if name == "bfloat16"
            else expected[i] + u
        )
    result = array(host, name).at[mx.array(index)].add(array(update, name))
    tolerance = {"float16": 1e-2, "bfloat16": 1e-1}.get(name, 1e-6)
    np.testing.assert_allclose(
        np.array(result.astype(mx.float32) if name == "bfloat16" else result),
        expected,
        rtol=tolerance,
    )


def test_a_large_scatter_with_many_repeats():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 50, 20_000)
    update = rng.integers(0, 9, (20_000, 8)).astype(np.float32)
    expected = np.zeros((50, 8), np.float32)
    np.add.at(expected, index, update)
    result = mx.zeros((50, 8)).at[mx.array(index)].add(mx.array(update))
    assert_same(result, expected)
    largest = np.full((50, 8), -1, np.float32)
    np.maximum.at(largest, index, update)
    assert_same(mx.full((50, 8), -1.0).at[mx.array(index)].maximum(mx.array(update)), largest)


def test_a_large_gather():
    host = values("float32", (1000, 64))
    index = np.random.default_rng(0).integers(-1000, 1000, 30_000)
    assert_same(mx.array(host)[mx.array(index)], host[index])
    assert_same(mx.array(host)[mx.array(index), mx.array(index % 64)], host[index, index % 64])


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "int64"])
@pytest.mark.parametrize("shape", [(7, 1000), (64, 300), (130, 517)])
def test_scattered_columns(name, shape):
    host = values(name, shape, (-100, 100))
    index = np.random.default_rng(0).integers(0, shape[1], 1111)
    for view in (lambda v: v, lambda v: v[::-1], lambda v: v[:, ::-1], lambda v: v[1:, ::2]):
        at = index % view(host).shape[1]
        expected = np.take(view(host), at, axis=1)
        assert_same(mx.take(view(array(host, name)), mx.array(at), axis=1), expected, name)


def test_gathers_of_lazy_indices():
    x = mx.arange(100) * 2
    index = mx.argsort(-mx.arange(10))
    assert_same(x[index + 1], np.arange(100)[np.arange(10)[::-1] + 1] * 2)


def test_a_column_assignment_under_a_loop():
    x, expected = mx.zeros((20, 5)), np.zeros((20, 5))
    for i in range(20):
        x[i, i % 5], expected[i, i % 5] = i, i
        x[mx.array(i), :2], expected[i, :2] = -i, -i
    assert_same(x, expected)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_dynamic_slices(rows_, columns, data):
    host = np.arange(rows_ * columns, dtype=np.int32).reshape(rows_, columns)
    size = (data.draw(st.integers(1, rows_)), data.draw(st.integers(1, columns)))
    start = [data.draw(st.integers(0, n - s)) for n, s in zip(host.shape, size)]
    window = tuple(slice(a, a + s) for a, s in zip(start, size))
    assert_same(mx.slice(mx.array(host), mx.array(start), (0, 1), size), host[window])
    expected = host.copy()
    expected[window] = -1
    update = mx.full(size, -1, mx.int32)
    assert_same(mx.slice_update(mx.array(host), update, mx.array(start), (0, 1)), expected)


@pytest.mark.parametrize("name", ["int32", "float16", "int64"])
@pytest.mark.parametrize("shape", [(3000, 40), (3000, 8), (60, 900), (5, 4), (70_000,), (0, 3)])
def test_all_places_get_the_same(shape, name):
    rng = np.random.default_rng(5)
    host = rng.integers(0, 50, shape).astype(name)
    for axis in range(len(shape)):
        indices = rng.integers(0, max(1, shape[axis]), shape[axis])
        places = (slice(None),) * axis + (indices,)
        at = (slice(None),) * axis + (mx.array(indices),)
        row = rng.integers(0, 9, host[places].shape[1:] if axis == 0 else ()).astype(name)
        for update in (row, np.array(3, name)):
            expected = host.copy()
            expected[places] = update
            x = mx.array(host)
            x[at] = mx.array(update)
            np.testing.assert_array_equal(to_numpy(x), expected)
            expected = host.copy()
            np.add.at(expected, places, update)
            result = mx.array(host).at[at].add(mx.array(update))
            np.testing.assert_array_equal(to_numpy(result), expected)


@pytest.mark.parametrize("other_first", [False, True])
@pytest.mark.parametrize("along", [False, True])
def test_gradients_of_what_is_taken_and_read_otherwise(along, other_first):
    host = values("float32", (5, 6))
    places = np.array([[1, 1, 4], [0, 2, 1], [3, 3, 3], [5, 0, 5], [2, 4, 4]])  # some twice
    rows = np.array([1, 1, 3])

    def f(x):
        doubled = x * 2 if other_first else x
        taken = mx.take_along_axis(doubled, mx.array(places), 1) if along else x[mx.array(rows)]
        more = (x * x * x).sum() + (doubled[mx.array([0, 3])] ** 2).sum()
        return more + (taken**2).sum() if other_first else (taken**2).sum() + more

    factor = 2 if other_first else 1
    expected = 3 * host**2
    np.add.at(expected, [0, 3], 2 * factor**2 * host[[0, 3]])
    if along:
        at = np.arange(5)[:, None], places
        np.add.at(expected, at, 2 * factor**2 * host[at])
    else:
        np.add.at(expected, rows, 2 * host[rows])
    for gradient in (mx.grad(f), mx.compile(mx.grad(f))):
        np.testing.assert_allclose(np.array(gradient(mx.array(host))), expected, rtol=1e-5)
    assert_same(mx.compile(mx.grad(f))(mx.array(host)), np.array(mx.grad(f)(mx.array(host))))
