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


def check_partition(x, host, kth, name):
    """The kth in its place, none greater before, none less behind; indices of the same elements."""
    parted, order = mx.partition(x, kth), to_numpy(mx.argpartition(x, kth))
    assert_same(parted, np.take_along_axis(host, order, -1), name)
    np.testing.assert_array_equal(np.sort(order, -1), np.arange(host.shape[-1]) + 0 * order)
    ordered = np.sort(host, -1)
    parted = to_numpy(parted).astype(host.dtype)
    np.testing.assert_array_equal(parted[..., kth], ordered[..., kth])
    kth %= host.shape[-1]
    for part in (slice(0, kth), slice(kth + 1, None)):
        np.testing.assert_array_equal(np.sort(parted[..., part], -1), ordered[..., part])


@pytest.mark.parametrize("shape", [(7, 64), (7, 65), (40, 1500), (200_001,)], ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_partition_of_dtypes(name, shape):
    host = values(name, shape, (-1000, 1000))
    n = shape[-1]
    for kth in (0, 1, n // 2, n - 3, -1):
        check_partition(array(host, name), host, kth, name)


@pytest.mark.parametrize("name", FLOATS)
def test_partition_of_specials(name):
    random = np.random.default_rng(3)
    specials = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 1, -5])
    host = random.choice(specials, (3, 70_000))
    for kth in (0, 8000, 20_000, 35_000, 60_000, -1):
        check_partition(array(host, name), host, kth, name)


@pytest.mark.parametrize("pattern", ["sorted", "reversed", "constant", "two", "peak", "outlier"])
@pytest.mark.parametrize("n", [600, 200_000])
def test_partition_of_patterns(pattern, n):
    base = np.arange(n, dtype=np.float32)
    host = {
        "sorted": base,
        "reversed": base[::-1].copy(),
        "constant": base * 0,
        "two": base % 2,
        "peak": np.minimum(base, n / 3),
        "outlier": np.where(base == 77, 9, -1.0).astype(np.float32),
    }[pattern]
    for kth in (0, 5, n // 3, n // 2, n - 2, n - 1):
        check_partition(mx.array(host), host, kth, "float32")


@rill_only  # the gradients are those of the sorted elements
@pytest.mark.parametrize("n", [9, 500, 5000])
@pytest.mark.parametrize("call", ["topk(x, 3)", "partition(x, 4)[..., 4]", "median(x, -1)"])
def test_gradients_of_selections(call, n):
    host = np.random.default_rng(n).permuted(np.arange(4 * n).reshape(4, n) % n, axis=1)
    x = mx.array(host.astype(np.float32))
    weight = 1 + mx.arange(3, dtype=mx.float32)
    loss = {
        "topk(x, 3)": lambda x: (mx.topk(x, 3) * weight).sum(),
        "partition(x, 4)[..., 4]": lambda x: mx.partition(x, 4)[..., 4].sum(),
        "median(x, -1)": lambda x: mx.median(x, -1).sum(),
    }[call]
    rank = host  # every row holds 0 to n - 1
    half = np.isin(rank, [(n - 1) // 2, n // 2]) * (0.5 if n % 2 == 0 else 1)
    expected = {
        "topk(x, 3)": np.clip(rank - (n - 4), 0, 3),
        "partition(x, 4)[..., 4]": rank == 4,
        "median(x, -1)": half,
    }[call]
    np.testing.assert_array_equal(to_numpy(mx.grad(loss)(x)), expected)
    _, (tangent,) = mx.jvp(loss, [x], [mx.ones_like(x)])
    assert tangent.item() == expected.sum()


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
