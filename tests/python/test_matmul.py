"""Products of matrices, against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    FLOATS,
    IS_RILL,
    array,
    assert_near,
    assert_same,
    check_row,
    mx,
    name_of,
    rill_only,
    rows,
    values,
)

KINDS = (*FLOATS, "complex64")
TOLERANCE = {
    "float16": 3e-3,
    "bfloat16": 2e-2,
    "float32": 2e-5,
    "float64": 1e-13,
    "complex64": 2e-5,
}
SHAPES = [
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((5,), (5,)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((1, 300), (300, 1)),
    ((17, 65), (65, 33)),
    ((64, 64), (64, 64)),
    ((130, 70), (70, 129)),
    ((3, 4, 5), (5, 6)),
    ((3, 4, 5), (3, 5, 6)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((5,), (2, 5, 3)),
    ((2, 4, 5), (5,)),
    ((1, 513), (513, 257)),
    ((257, 513), (513, 1)),
    ((1000,), (1000, 300)),
    ((300, 1000), (1000,)),
    ((70, 5, 6), (70, 6, 7)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 1)),
]


def exact(a, b):
    kind = np.complex128 if np.iscomplexobj(a) else np.float64
    return np.matmul(a.astype(kind), b.astype(kind))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_values(shapes, name):
    a, b = (values(name, s, (-1, 1), seed=i) for i, s in enumerate(shapes))
    assert_near(array(a, name) @ array(b, name), exact(a, b), name, TOLERANCE[name])


LAYOUTS = {
    "transposed": lambda x, _: x.swapaxes(-1, -2),
    "strided": lambda x, _: x[..., ::2],
    "reversed": lambda x, _: x[..., ::-1, :],
    "offset": lambda x, _: x[..., 1:, 2:],
    "broadcast": lambda x, m: m.broadcast_to(x[..., :1, :], x.shape),
}


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64", "complex64"])
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_layouts(left, right, name):
    a, b = (values(name, (2, 40, 40), (-1, 1), seed=i) for i in range(2))
    view_a, view_b = (LAYOUTS[k](array(x, name), mx) for k, x in ((left, a), (right, b)))
    host_a, host_b = (LAYOUTS[k](x, np) for k, x in ((left, a), (right, b)))
    inner = min(host_a.shape[-1], host_b.shape[-2])
    result = view_a[..., :inner] @ view_b[..., :inner, :]
    expected = exact(host_a[..., :inner], host_b[..., :inner, :])
    assert_near(result, expected, name, TOLERANCE[name])


# Whole panels of rows and columns, parts of them, and parts of a vector; rows that lie a power of
# two apart.
@pytest.mark.parametrize("k", [300, 2048])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_every_edge_of_a_panel(turned, k):
    rng = np.random.default_rng(0)
    big_a, big_b = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((140, k), (k, 200)))
    product = exact(big_a, big_b)
    for m, n in zip(range(97, 140), range(200, 100, -2), strict=False):
        a, b = mx.array(big_a[:m]), mx.array(big_b[:, :n])
        a = mx.contiguous(a.T).T if "a" in turned else a
        b = mx.contiguous(b.T).T if "b" in turned else b
        assert_near(a @ b, product[:m, :n], "float32", TOLERANCE["float32"])


@pytest.mark.parametrize("name", KINDS)
def test_addmm(name):
    a, b = values(name, (7, 33), (-1, 1)), values(name, (33, 9), (-1, 1))
    for shape in ((7, 9), (9,), (7, 1), ()):
        c = values(name, shape, (-1, 1))
        result = mx.addmm(array(c, name), array(a, name), array(b, name), alpha=0.5, beta=2.0)
        assert_near(result, 0.5 * exact(a, b) + 2 * c, name, 2 * TOLERANCE[name])


# By vectors, strips, whole panels, blocks of a sum, and parts of long sums.
@rill_only
@pytest.mark.parametrize("k", [1, 64, 512, 513, 1500, 9000])
@pytest.mark.parametrize("m, n", [(1, 130), (130, 1), (5, 32), (97, 50), (130, 130), (520, 700)])
def test_addmm_has_the_bits_of_a_product_and_a_sum(m, n, k):
    rng = np.random.default_rng(0)
    make = lambda *shape: mx.array(rng.standard_normal(shape, np.float32))
    for a, b in ((make(m, k), make(k, n)), (make(k, m).T, make(n, k).T)):
        for c in (make(m, n), make(n), make(m, 1), make(n, m).T, make(m, 2 * n)[:, ::2]):
            assert_same(mx.addmm(c, a, b), np.array(a @ b + c), "float32")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rows", [2, 300])
def test_addmm_reads_nothing_where_beta_is_0(name, rows):
    a, b = values(name, (rows, 33), (-1, 1)), values(name, (33, 9), (-1, 1))
    c = np.full((9,), np.nan)
    for f in (mx.addmm, mx.compile(mx.addmm)):
        result = f(array(c, name), array(a, name), array(b, name), 1.0, 0.0)
        assert bool(mx.array_equal(result, array(a, name) @ array(b, name)))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shape", [(0, 3), (7, 1), (9000, 40), (70, 300), (2, 50, 60)], ids=str)
def test_products_with_their_own_transpose(shape, name):
    host = values(name, shape, (-1, 1))
    x, other = array(host, name), array(host, name)
    for own, apart in ((x.mT @ x, x.mT @ other), (x @ x.mT, x @ other.mT)):
        assert bool(mx.array_equal(own, apart))
    assert_near(x.mT @ x, exact(host.swapaxes(-1, -2), host), name, TOLERANCE[name])


CONTRACTIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("ij->ji", (3, 4)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("ij->", (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("i,j->ij", (3,), (4,)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("ij,kj->ik", (3, 4), (5, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("i,i", (4,), (4,)),
    ("ijk,k->ji", (2, 3, 4), (4,)),
]


@pytest.mark.parametrize("subscripts, shapes", [(c[0], c[1:]) for c in CONTRACTIONS], ids=str)
def test_einsum(subscripts, shapes):
    hosts = [values("float32", s, seed=i) for i, s in enumerate(shapes)]
    result = mx.einsum(subscripts, *(mx.array(h) for h in hosts))
    assert_near(result, np.einsum(subscripts, *(h.astype(np.float64) for h in hosts)), "float32")


@pytest.mark.parametrize("axes", [0, 1, 2, [[0], [1]], [[1, 0], [0, 1]]], ids=str)
def test_tensordot(axes):
    a, b = values("float32", (4, 4, 4)), values("float32", (4, 4), seed=1)
    if axes == 2:
        a = a[0][None]
    assert_near(mx.tensordot(mx.array(a), mx.array(b), axes), np.tensordot(a, b, axes), "float32")


def test_vector_products():
    a, b = values("float32", (3, 4)), values("float32", (5, 4), seed=1)
    assert_near(mx.inner(mx.array(a), mx.array(b)), np.inner(a, b), "float32")
    assert_near(mx.outer(mx.array(a), mx.array(b)), np.outer(a, b), "float32")
    assert_near(mx.vecdot(mx.array(a), mx.array(a)), (a * a).sum(-1), "float32")
    assert_near(mx.vecdot(mx.array(a), mx.array(a), axis=0), (a * a).sum(0), "float32")


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve(mode):
    a, v = values("float32", (30,)), values("float32", (7,), seed=1)
    assert_near(
        mx.convolve(mx.array(a), mx.array(v), mode=mode), np.convolve(a, v, mode), "float32"
    )


ROWS = [
    ("mx.matmul(mx.ones((2, 2)), mx.ones((2, 2), mx.float16)).dtype == mx.float32", True),
    ("mx.matmul(mx.ones((2, 2), mx.int32), mx.ones((2, 2)))", [[2, 2], [2, 2]], "float32"),
    ("mx.matmul(mx.ones((2, 2), mx.int32), mx.ones((2, 2), mx.int32))", ValueError),
    ("mx.matmul(mx.ones((2, 3)), mx.ones((2, 3)))", ValueError),
    ("mx.matmul(mx.array(1.0), mx.ones((2, 2)))", ValueError),
    ("mx.matmul(mx.ones((2, 2, 3)), mx.ones((3, 3, 2)))", ValueError),
    ("mx.addmm(mx.ones(3), mx.ones((2, 2)), mx.ones((2, 2)))", ValueError),
    ("mx.einsum('ij,jk->iz', mx.ones((2, 2)), mx.ones((2, 2)))", ValueError),
    ("mx.einsum('ij', mx.ones((2, 2)), mx.ones((2, 2)))", ValueError),
    ("mx.einsum('ij,jk', mx.ones((2, 3)), mx.ones((2, 2)))", ValueError),
    ("mx.tensordot(mx.ones((2, 3)), mx.ones((2, 3)), 1)", ValueError),
    ("mx.inner(mx.ones(3), mx.ones(2))", ValueError),
]


@rows(ROWS)
def test_rows(row):
    check_row(row)


@pytest.mark.skipif(not IS_RILL, reason="the peer needs seconds")
@pytest.mark.parametrize("name", KINDS)
def test_large(name):
    a, b = (values(name, (513, 1030), (-1, 1), seed=i) for i in range(2))
    result = array(a, name) @ array(b, name).T
    assert name_of(result.dtype) == name
    assert_near(result, exact(a, b.T), name, TOLERANCE[name])


def test_nan_and_inf_travel():
    a = np.ones((3, 3), np.float32)
    a[0, 0], a[1, 1] = np.nan, np.inf
    assert_near(mx.array(a) @ mx.ones((3, 3)), np.array([[np.nan] * 3, [np.inf] * 3, [3] * 3]))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_random_shapes(m, n, k, left, right):
    a, b = (
        values("float32", (k, m) if left else (m, k)),
        values("float32", (n, k) if right else (k, n)),
    )
    x, y = mx.array(a), mx.array(b)
    result = (x.T if left else x) @ (y.T if right else y)
    assert_near(result, exact(a.T if left else a, b.T if right else b), "float32")


@pytest.mark.skipif(not IS_RILL, reason="about how Rill lays out arrays")
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_gradients_lie_like_their_weights(batch):
    x = mx.array(values("float32", (*batch, 5, 4), (-1, 1)))
    w = mx.array(values("float32", (6, 4), (-1, 1), seed=1))
    for f in (lambda w: (x @ w.T).sum(), lambda w: mx.addmm(mx.array(1.0), x, w.T).sum()):
        gradient = mx.grad(f)(w)
        mx.eval(gradient)
        assert memoryview(gradient).c_contiguous
        expected = np.broadcast_to(np.asarray(x).reshape(-1, 4).sum(0), (6, 4))
        assert_near(gradient, expected, "float32", 2e-5)
