"""Sorting, partitioning and searching, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    DTYPES,
    FLOATS,
    array,
    assert_same,
    check_row,
    mx,
    rill_only,
    rows,
    to_numpy,
    values,
)

REAL = [d for d in DTYPES if d != "complex64"]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None], ids=str)
def test_sort_and_argsort(name, axis):
    host = values(name, (5, 6, 37), (-9, 9))
    x = array(host, name)
    assert_same(mx.sort(x, axis), np.sort(host, axis), name)
    order = mx.argsort(x, axis)
    assert_same(order, np.argsort(host, axis, kind="stable"), "uint32")
    assert_same(mx.sort(x.T, axis), np.sort(host.T, axis), name)
    assert_same(mx.sort(x[:, ::-2], axis), np.sort(host[:, ::-2], axis), name)


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000, 65_537, 200_000])
@pytest.mark.parametrize("name", ["float32", "int32", "uint8", "bfloat16"])
def test_sizes(name, size):
    host = values(name, (size,), (-1000, 1000))
    x = array(host, name)
    assert_same(mx.sort(x), np.sort(host), name)
    assert_same(mx.argsort(x), np.argsort(host, kind="stable"), "uint32")


@pytest.mark.parametrize("pattern", ["sorted", "reversed", "constant", "sawtooth"])
def test_patterns(pattern):
    base = np.arange(10_000, dtype=np.float32)
    host = {
        "sorted": base,
        "reversed": base[::-1].copy(),
        "constant": base * 0,
        "sawtooth": base % 7,
    }[pattern]
    assert_same(mx.sort(mx.array(host)), np.sort(host))
    assert_same(mx.argsort(mx.array(host)), np.argsort(host, kind="stable"))


@pytest.mark.parametrize("name", FLOATS)
def test_specials_sort_as_in_numpy(name):
    host = np.array([3, np.nan, -np.inf, 1, np.inf, -0.0, 0.0, np.nan, -5])
    assert_same(mx.sort(array(host, name)), np.sort(host), name)
    assert_same(mx.argsort(array(host, name)), np.argsort(host, kind="stable"))


@pytest.mark.parametrize("kth", [0, 3, 36, -1, -37])
@pytest.mark.parametrize("axis", [0, 2, -1])
def test_partition(kth, axis):
    host = values("float32", (37, 4, 37))
    split = kth % 37
    for x, h in ((mx.array(host), host), (mx.array(host).swapaxes(0, 2), host.swapaxes(0, 2))):
        ordered = np.sort(h, axis)
        order = to_numpy(mx.argpartition(x, kth, axis))
        for parted in (to_numpy(mx.partition(x, kth, axis)), np.take_along_axis(h, order, axis)):
            np.testing.assert_array_equal(parted.take(split, axis), ordered.take(split, axis))
            np.testing.assert_array_equal(np.sort(parted, axis), ordered)
            below = np.delete(parted, range(split, 37), axis)
            assert (below <= ordered.take([split], axis)).all()


@pytest.mark.parametrize("k", [1, 5, 37])
@pytest.mark.parametrize("axis", [0, -1])
def test_topk(k, axis):
    host = values("float32", (37, 37))
    result = np.sort(to_numpy(mx.topk(mx.array(host), k, axis)), axis)
    np.testing.assert_array_equal(result, np.sort(host, axis).take(range(37 - k, 37), axis))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["int32", "float32", "uint8", "float64"])
def test_searchsorted(side, name):
    sequence = np.sort(values(name, (101,), (0, 50)))
    wanted = values(name, (7, 13), (0, 60), seed=1)
    result = mx.searchsorted(array(sequence, name), array(wanted, name), side=side)
    assert_same(result, np.searchsorted(sequence, wanted, side), "uint32")


ROWS = [
    ("mx.sort(mx.array([1 + 2j, 1 + 1j, 0j]))", [0, 1 + 1j, 1 + 2j], "complex64"),
    ("mx.argsort(mx.array([2, 1, 2, 1]))", [1, 3, 0, 2], "uint32"),
    ("mx.topk(mx.array([3, 1, 2]), 0)", [], "int32"),
    ("mx.topk(mx.array([[3, 1, 2]]), 1, None)", [3], "int32"),
    ("mx.sort(mx.array(3))", ValueError),
    ("mx.sort(mx.zeros((2,)), 5)", ValueError),
    ("mx.argsort(mx.zeros((2,)), 5)", ValueError),
    ("mx.partition(mx.array([3, 1, 2]), 5)", ValueError),
    ("mx.argpartition(mx.array([3, 1, 2]), -4)", ValueError),
    ("mx.topk(mx.array([3, 1, 2]), 5)", ValueError),
    ("mx.searchsorted(mx.array([1, 3, 5]), mx.array([0]), side='middle')", ValueError),
    ("mx.searchsorted(mx.zeros((2, 2)), mx.array([0.0]))", ValueError),
    ("mx.searchsorted(mx.array([1, 3, 5]), 2)", TypeError),
]


@rows(ROWS)
def test_rows(row):
    check_row(row)


@rill_only  # the peer stops the process
def test_empty():
    assert_same(mx.sort(mx.zeros((0,))), [], "float32")
    assert_same(mx.argsort(mx.zeros((2, 0))), np.zeros((2, 0)), "uint32")
    assert_same(mx.sort(mx.zeros((0, 3)), 0), np.zeros((0, 3)), "float32")


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60))
def test_argsort_is_stable(items):
    host = np.array(items, np.int32)
    assert_same(mx.argsort(mx.array(host)), np.argsort(host, kind="stable"))
    taken = mx.take(mx.array(host), mx.argsort(mx.array(host)))
    assert_same(taken, np.sort(host))
