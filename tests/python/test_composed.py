"""Operations made of others that have no other file: norms, transforms, order, einsum."""

import numpy as np
import pytest
from support import assert_near, assert_same, check_row, mx, rill_only, rows, to_numpy, values

X = values("float32", (3, 4, 4))
NORMS = [(None, None), (None, 1), (None, (0, 2)), ("fro", (1, 2))]
NORMS += [(order, 1) for order in (0, 1, 2, 3, -1, 0.5, np.inf, -np.inf)]
NORMS += [(order, (2, 0)) for order in (1, -1, np.inf, -np.inf)]


@pytest.mark.parametrize("order, axis", NORMS, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_norm(order, axis, keepdims):
    if order is None and axis is None:
        expected = np.linalg.norm(X.ravel()).reshape((1, 1, 1) if keepdims else ())
    else:
        expected = np.linalg.norm(X, order, axis, keepdims)
    assert_near(mx.matrix_norm(mx.array(X), order, axis, keepdims), expected, "float32")


@pytest.mark.parametrize("n", [1, 2, 8, 64, 128, 4096, 12, 24, 20, 80, 28, 56 * 64])
def test_hadamard_transform(n):
    """It is orthonormal, its entries have one magnitude, and Kronecker products nest."""
    if n <= 128:
        matrix = to_numpy(mx.hadamard_transform(mx.eye(n), 1.0))
        np.testing.assert_array_equal(np.abs(matrix), np.ones((n, n)))
        np.testing.assert_array_equal(matrix @ matrix.T, n * np.eye(n))
    x = values("float32", (3, n))
    y = to_numpy(mx.hadamard_transform(mx.array(x)))
    assert_near(mx.array((y * y).sum(-1)), (x * x).sum(-1), "float32", 1e-5)
    if n % 2 == 0 and n not in (12, 20, 28):
        even, odd = mx.array(x[:, 0::2]), mx.array(x[:, 1::2])
        half = [to_numpy(mx.hadamard_transform(e)) / 2**0.5 for e in (even + odd, even - odd)]
        expected = np.stack(half, -1).reshape(3, n)
        assert_near(mx.array(y), expected, "float32", 1e-5)


PATHS = [
    ("ij,jk,kl->il", [(20, 30), (30, 40), (40, 5)], [(1, 2), (0, 1)]),
    ("ij,jk,kl,lm", [(2, 30), (30, 4), (4, 50), (50, 6)], [(2, 3), (0, 1), (0, 1)]),
    ("ij->j", [(2, 3)], [(0,)]),
]


@pytest.mark.parametrize("subscripts, shapes, expected", PATHS, ids=str)
def test_einsum_path(subscripts, shapes, expected):
    steps, text = mx.einsum_path(subscripts, *(mx.zeros(s) for s in shapes))
    assert steps == expected and subscripts in text


EINSUMS = [
    ("...i,i", (2, 3, 4), (4,)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    ("...ij->...ji", (2, 3, 4)),
    ("...,...", (2, 3), (3,)),
    ("iji->j", (2, 3, 2)),
    ("ab,cd,ef->fca", (2, 3), (4, 5), (6, 7)),
    ("bA,aB", (2, 3), (4, 5)),
    (",i", (), (3,)),
    ("i,i,i->i", (4,), (4,), (4,)),
    ("bij,jk,bkl->bli", (2, 3, 4), (4, 5), (2, 5, 6)),
    ("ij,jk", (0, 3), (3, 2)),
    ("ij,jk", (2, 0), (0, 2)),
]


@pytest.mark.parametrize("subscripts, shapes", [(c[0], c[1:]) for c in EINSUMS], ids=str)
def test_einsum(subscripts, shapes):
    hosts = [values("float32", s, seed=i) for i, s in enumerate(shapes)]
    result = mx.einsum(subscripts, *(mx.array(h) for h in hosts))
    assert_near(result, np.einsum(subscripts, *(h.astype(np.float64) for h in hosts)), "float32")


ROWS = [
    ("mx.einsum('ij,jk', mx.ones((3, 4)), mx.ones((1, 2)))", [[4, 4]] * 3, "float32"),
    ("mx.einsum('i->', mx.ones(3, mx.int8))", 3, "int32"),
    ("mx.einsum('ij->ii', mx.ones((2, 2)))", ValueError),
    ("mx.einsum('i1', mx.ones((2, 2)))", ValueError),
    ("mx.einsum('ii', mx.ones((2, 3)))", ValueError),
    ("mx.einsum('ij->ji->ij', mx.ones((2, 3)))", ValueError),
    ("mx.einsum('ij')", ValueError),
    ("mx.hadamard_transform(mx.array([1, 2]), 1)", [3, -1], "float32"),
    ("mx.hadamard_transform(mx.ones((2, 0)))", ValueError),
    ("mx.matrix_norm(mx.ones((2, 2)), 3)", ValueError),
    ("mx.matrix_norm(mx.ones((2, 2)), 'fro', 0)", ValueError),
    ("mx.matrix_norm(mx.ones((2, 2, 2)), 1)", ValueError),
    ("mx.matrix_norm(mx.array([3, 4]))", 5, "float32"),
    ("mx.vecdot(mx.array([1j, 2]), mx.array([1j, 3]))", 7, "complex64"),
    ("mx.vecdot(mx.ones(3), mx.ones(4))", ValueError),
    ("mx.median(mx.zeros((2, 0)), 1)", ValueError),
    ("mx.median(mx.array([[3, 1], [2, 4]], mx.float16), keepdims=True)", [[2.5]], "float16"),
    ("mx.diff(mx.array([True, False, False]))", [True, False], "bool"),
    ("mx.diff(mx.arange(3), 9)", [], "int32"),
    ("mx.diff(mx.arange(3), -1)", ValueError),
    ("mx.searchsorted(mx.array([1, 2, nan]), mx.array([nan, 3]))", [2, 2], "uint32"),
    ("mx.searchsorted(mx.array([1, 2, nan]), mx.array([nan, 3]), 'right')", [3, 2], "uint32"),
    ("mx.searchsorted(mx.array([]), mx.array([1.0]))", [0], "uint32"),
    ("mx.searchsorted(mx.array([1, 3]), mx.array([2.5]))", [1], "uint32"),
    ("mx.convolve(mx.array([1.0, 2]), mx.array([0, 1, 0.5, 2]), 'same')", [0, 1, 2.5, 3]),
    ("mx.convolve(mx.array([1.0, 2]), mx.array([0, 1, 0.5]), 'valid')", [1, 2.5]),
    ("mx.convolve(mx.array([1.0]), mx.array([1.0]), 'all')", ValueError),
    ("mx.convolve(mx.array([]), mx.array([1.0]))", ValueError),
    ("mx.slice_update(mx.zeros((3, 2)), mx.array(1.0), mx.array([1]), (1,))", [[0, 1]] * 3),
    ("mx.slice(mx.zeros((2, 3)), mx.array([1.0]), (0,), (1, 3))", ValueError),
    ("mx.slice(mx.zeros((2, 3)), mx.array([1]), (0,), (3, 3))", ValueError),
    ("mx.slice(mx.zeros((2, 3)), mx.array([1, 1]), (0, 0), (1, 3))", ValueError),
]


@rows(ROWS)
def test_rows(row):
    check_row(row)


BETTER = [
    ("mx.vecdot(mx.array([100, 100], mx.int8), mx.array([2, 2], mx.int8))", 400, "int32"),
    ("mx.nan_to_num(mx.array([nan, inf, 1], mx.float64), posinf=2)", [0, 2, 1], "float64"),
    ("mx.nan_to_num(mx.array([complex(nan, 1), complex(1, -inf)]), 0, 0, 3)", [1j, 1 + 3j]),
    ("mx.vecdot(mx.ones((2, 3)), mx.array([1.0, 2, 3]))", [6, 6], "float32"),
    ("mx.slice(mx.zeros((2, 3)), mx.array([2]), (0,), (1, 3))", IndexError),
    ("mx.slice(mx.arange(3), mx.array([2]), (0,), (2,))", IndexError),
]


@rill_only
@rows(BETTER)
def test_rows_beyond_the_peer(row):
    check_row(row)


def test_depends():
    x, y = mx.arange(3), mx.arange(3) + 1
    assert_same(mx.depends(x, y), [0, 1, 2])
    first, second = mx.depends((x, y), [x * y])
    assert_same(first + second, [1, 3, 5])
    gradient = mx.grad(lambda a: (mx.depends(a * a, a + 1) * 3).sum())(mx.array([1.0, 2.0]))
    assert_same(gradient, [6, 12])
