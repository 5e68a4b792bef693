"""Linear algebra: against NumPy in float64, and derivatives against differences."""

import numpy as np
import pytest
from support import IS_RILL, array, mx, name_of, rill_only, to_numpy

la = mx.linalg
FLOATS = ("float32", "float64")
INEXACT = FLOATS + (("complex64",) if IS_RILL else ())
TOLERANCE = {"float32": 2e-4, "float64": 1e-11, "complex64": 2e-4}
BATCHES = [(), (3,), (2, 3)]


def random(name, shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if name == "complex64" else x


def square(name, shape, seed=0):
    """Well-conditioned square matrices."""
    return random(name, shape, seed) + 3 * np.eye(shape[-1])


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def definite(name, shape, seed=0):
    x = random(name, shape, seed)
    return x @ adjoint(x) + np.eye(shape[-1])


def near(got, expected, name):
    if isinstance(got, mx.array):
        got = to_numpy(got)
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[name] * scale)


def wide(x):
    """The values of an array in double precision."""
    x = to_numpy(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


@pytest.mark.parametrize("name", INEXACT)
@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 5, 40])
class TestSquare:
    def test_inverses(self, name, batch, n):
        a = square(name, (*batch, n, n)) * (3 if n < 40 else 1) + n * np.eye(n)
        near(la.inv(array(a, name)), np.linalg.inv(a), name)
        near(la.tri_inv(array(a, name)), np.linalg.inv(np.tril(a)), name)
        near(la.tri_inv(array(a, name), upper=True), np.linalg.inv(np.triu(a)), name)
        near(la.pinv(array(a, name)), np.linalg.inv(a), name)

    def test_determinants(self, name, batch, n):
        a = square(name, (*batch, n, n)) / n**0.5
        name = name if IS_RILL else "float32"
        near(la.det(array(a, name)), np.linalg.det(a), name)
        sign, logarithm = la.slogdet(array(a, name))
        near(sign, np.linalg.slogdet(a)[0], name)
        near(logarithm, np.linalg.slogdet(a)[1], name)

    def test_solutions(self, name, batch, n):
        a = square(name, (*batch, n, n)) + n * np.eye(n)
        b = random(name, (*batch, n, 3), seed=1)
        near(la.solve(array(a, name), array(b, name)), np.linalg.solve(a, b), name)
        for upper, part in ((False, np.tril), (True, np.triu)):
            x = la.solve_triangular(array(a, name), array(b, name), upper=upper)
            near(x, np.linalg.solve(part(a), b), name)

    def test_cholesky(self, name, batch, n):
        a = definite(name, (*batch, n, n))
        lower = np.linalg.cholesky(a)
        near(la.cholesky(array(a, name)), lower, name)
        near(la.cholesky(array(a, name), upper=True), adjoint(lower), name)
        one = lower / np.abs(lower).max() + np.eye(n)
        expected = np.linalg.inv(one @ adjoint(one))
        near(la.cholesky_inv(array(one, name)), expected, name)
        near(la.cholesky_inv(array(adjoint(one), name), upper=True), expected, name)

    def test_eigh(self, name, batch, n):
        a = definite(name, (*batch, n, n))
        for uplo, part in (("L", np.tril), ("U", np.triu)):
            values, vectors = (wide(x) for x in la.eigh(array(part(a), name), UPLO=uplo))
            assert values.dtype == np.float64
            near(values, np.linalg.eigvalsh(a), name)
            near(vectors * values[..., None, :] @ adjoint(vectors), a, name)
            near(adjoint(vectors) @ vectors, np.broadcast_to(np.eye(n), a.shape), name)
            near(la.eigvalsh(array(part(a), name), uplo), values, name)

    def test_eig(self, name, batch, n):
        a = random(name, (*batch, n, n))
        values, vectors = la.eig(array(a, name))
        assert name_of(values.dtype) == name_of(vectors.dtype) == "complex64"
        near(a @ wide(vectors), wide(vectors) * wide(values)[..., None, :], "float32")
        near(np.linalg.norm(wide(vectors), axis=-2), np.ones((*batch, n)), "float32")
        near(np.sort(to_numpy(la.eigvals(array(a, name)))), np.sort(to_numpy(values)), "float32")


SHAPES = [(1, 1), (4, 4), (5, 3), (3, 5), (30, 7), (7, 30)]


@pytest.mark.parametrize("name", INEXACT)
@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
class TestRectangular:
    def test_qr(self, name, batch, shape):
        a = random(name, (*batch, *shape))
        q, r = (wide(x) for x in la.qr(array(a, name)))
        k = min(shape)
        near(q @ r, a, name)
        near(adjoint(q) @ q, np.broadcast_to(np.eye(k), (*batch, k, k)), name)
        assert np.array_equal(r, np.triu(r))

    def test_svd(self, name, batch, shape):
        a = random(name, (*batch, *shape))
        u, s, vt = (wide(x) for x in la.svd(array(a, name)))
        assert u.shape == (*batch, shape[0], shape[0]) and vt.shape == (*batch, shape[1], shape[1])
        k = min(shape)
        near(s, np.linalg.svd(a, compute_uv=False), name)
        near(u[..., :k] * s[..., None, :] @ vt[..., :k, :], a, name)
        for x in (u, vt):
            near(adjoint(x) @ x, np.broadcast_to(np.eye(x.shape[-1]), x.shape), name)
        values = la.svd(array(a, name), compute_uv=False)
        assert isinstance(values, mx.array)
        near(values, s, name)

    def test_lu(self, name, batch, shape):
        a = random(name, (*batch, *shape))
        rows, lower, upper = la.lu(array(a, name))
        assert name_of(rows.dtype) == "uint32"
        index = to_numpy(rows).astype(np.int64)[..., None]
        near(np.take_along_axis(wide(lower) @ wide(upper), index, -2), a, name)
        packed, pivots = la.lu_factor(array(a, name))
        assert name_of(pivots.dtype) == "uint32" and pivots.shape == (*batch, min(shape))
        k = min(shape)
        near(np.triu(wide(packed))[..., :k, :], wide(upper), name)

    def test_pinv(self, name, batch, shape):
        a = random(name, (*batch, *shape))
        near(la.pinv(array(a, name)), np.linalg.pinv(a), name)


def test_pinv_of_deficient_rank():
    a = np.outer([1.0, 2, 3], [4.0, 5])
    near(la.pinv(array(a, "float32")), np.linalg.pinv(a), "float32")


@pytest.mark.parametrize("n", [192, 300, 768, 1025])
@pytest.mark.parametrize("name", INEXACT)
def test_large_cholesky(n, name):
    a = definite(name, (n, n)) / n + np.eye(n)
    for upper in (False, True):
        factor = wide(la.cholesky(array(a, name), upper=upper))
        assert np.array_equal(factor, np.triu(factor) if upper else np.tril(factor))
        near(adjoint(factor) @ factor if upper else factor @ adjoint(factor), a, name)


@rill_only
@pytest.mark.parametrize("n, wrong", [(5, 3), (300, 298), (1025, 700)])
@pytest.mark.parametrize("upper", [False, True])
def test_large_matrices_that_are_not_definite(n, wrong, upper):
    a = definite("float32", (n, n)) / n + np.eye(n)
    a[wrong, wrong] = -1
    with pytest.raises(ValueError, match=f"order {wrong + 1} "):
        mx.eval(la.cholesky(array(a, "float32"), upper=upper))


A = np.array([[4.0, 1, 0.5], [2, 3, 1], [0, 1, 5]], np.float32)


def test_layouts_and_broadcasting():
    a = square("float32", (6, 6)).astype(np.float32)
    x = mx.array(a)
    near(la.inv(x.T), np.linalg.inv(a.T), "float32")
    near(la.inv(x[1::2, ::-2]), np.linalg.inv(a[1::2, ::-2]), "float32")
    near(la.svd(x[2:4], compute_uv=False), np.linalg.svd(a[2:4], compute_uv=False), "float32")
    ones = mx.broadcast_to(mx.eye(3) * 2, (4, 3, 3))
    near(la.cholesky(ones), np.broadcast_to(np.eye(3) * 2**0.5, (4, 3, 3)), "float32")
    near(la.solve(x, mx.arange(6.0)), np.linalg.solve(a, np.arange(6.0)), "float32")


@rill_only
def test_solutions_broadcast_over_batches():
    a, b = square("float64", (3, 3)), random("float64", (4, 3, 2))
    expected = np.linalg.solve(np.broadcast_to(a, (4, 3, 3)), b)
    near(la.solve(array(a, "float64"), array(b, "float64")), expected, "float64")
    many, vector = square("float64", (4, 3, 3)), random("float64", 3)
    expected = np.stack([np.linalg.solve(m, vector) for m in many])
    near(la.solve(array(many, "float64"), array(vector, "float64")), expected, "float64")
    near(
        la.solve_triangular(array(many, "float64"), array(vector, "float64")),
        np.stack([np.linalg.solve(np.tril(m), vector) for m in many]),
        "float64",
    )


@rill_only
def test_empty():
    shapes = lambda arrays: tuple(x.shape for x in arrays)
    for batch in ((), (2,)):
        none = mx.zeros((*batch, 0, 0))
        for f in (la.inv, la.tri_inv, la.pinv, la.cholesky, la.cholesky_inv):
            assert to_numpy(f(none)).shape == none.shape
        assert np.array_equal(to_numpy(la.det(none)), np.ones(batch))
        sign, logarithm = la.slogdet(none)
        assert np.all(to_numpy(sign) == 1) and np.all(to_numpy(logarithm) == 0)
        for f in (la.eig, la.eigh):
            assert shapes(map(to_numpy, f(none))) == ((*batch, 0), (*batch, 0, 0))
        assert to_numpy(la.solve(none, mx.zeros((*batch, 0, 3)))).shape == (*batch, 0, 3)
    u, s, vt = la.svd(mx.zeros((3, 0)))
    assert np.array_equal(to_numpy(u), np.eye(3)) and shapes((s, vt)) == ((0,), (0, 0))
    assert shapes(map(to_numpy, la.qr(mx.zeros((0, 3))))) == ((0, 0), (0, 3))
    rows, lower, upper = la.lu(mx.zeros((3, 0)))
    assert to_numpy(rows).tolist() == [0, 1, 2] and shapes((lower, upper)) == ((3, 0), (0, 0))
    assert to_numpy(la.pinv(mx.zeros((3, 0)))).shape == (0, 3)
    assert to_numpy(la.inv(mx.zeros((0, 2, 2)))).shape == (0, 2, 2)


ZERO = np.zeros((2, 2), np.float32)
NAN = np.full((2, 2), np.nan, np.float32)
FAILURES = [
    ("inv", ZERO),
    ("tri_inv", ZERO),
    ("cholesky", np.array([[1, 2], [2, 1]], np.float32)),
    ("svd", NAN),
    ("pinv", NAN),
    ("eigh", NAN),
    ("eigvalsh", NAN),
    ("eig", NAN),
    ("eigvals", NAN),
]


@rill_only
@pytest.mark.parametrize("name, a", FAILURES)
def test_failures_raise_when_they_are_read(name, a):
    batch = mx.array(np.stack([A[:2, :2], a, A[:2, :2]]))
    if name == "cholesky":
        batch = mx.array(np.stack([np.eye(2, dtype=np.float32), a]))
    result = getattr(la, name)(batch)
    for part in result if isinstance(result, tuple) else (result,):
        with pytest.raises(ValueError, match=rf"linalg\.{name}\b"):
            mx.eval(part)


@rill_only
def test_singular_systems_raise():
    for f in (la.solve, la.solve_triangular):
        x = f(mx.array(ZERO), mx.ones((2,)))
        with pytest.raises(ValueError, match=f.__name__):
            x.tolist()


def test_singular_but_answerable():
    zero = mx.array(ZERO)
    assert la.det(zero).item() == 0
    sign, logarithm = la.slogdet(zero)
    assert sign.item() == 0 and logarithm.item() == -np.inf
    assert not to_numpy(la.pinv(zero)).any()
    assert to_numpy(la.lu(zero)[2]).tolist() == [[0, 0], [0, 0]]


NEED_FLOATS = "qr svd inv tri_inv pinv cholesky cholesky_inv lu lu_factor eig eigvals eigh eigvalsh"
SQUARE_ONLY = "inv tri_inv cholesky cholesky_inv eig eigvals eigh eigvalsh det slogdet"


@pytest.mark.parametrize("name", NEED_FLOATS.split())
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "bool"])
def test_refused_dtypes(name, dtype):
    with pytest.raises(ValueError, match=name if IS_RILL else "inv|" + name):
        getattr(la, name)(array(np.eye(2), dtype))


@pytest.mark.parametrize("name", [*NEED_FLOATS.split(), "det", "slogdet"])
def test_refused_shapes(name):
    f = getattr(la, name)
    for shape in ((), (3,)):
        with pytest.raises(ValueError):
            f(mx.zeros(shape))
    if name in SQUARE_ONLY.split():
        with pytest.raises(ValueError):
            f(mx.zeros((2, 3)))


def test_refused_systems():
    for f in (la.solve, la.solve_triangular):
        for a, b in (((2, 2), (3, 3)), ((2, 3), (2,)), ((2,), (2,)), ((3, 2, 2), (3, 2))):
            with pytest.raises(ValueError):
                f(mx.ones(a), mx.ones(b))
        with pytest.raises(ValueError):
            f(mx.ones((2, 2), mx.int32), mx.ones((2,), mx.int32))
        assert name_of(f(mx.eye(2), mx.array([1, 2])).dtype) == "float32"
        assert name_of(f(mx.eye(2, dtype=mx.float64), mx.ones(2)).dtype) == "float64"


@rill_only
def test_unknown_triangle():
    with pytest.raises(ValueError, match="UPLO"):
        la.eigh(mx.eye(2), UPLO="X")


@pytest.mark.parametrize(
    "dtype, result",
    [("float16", "float16"), ("int32", "float32"), ("bool", "float32"), ("bfloat16", "bfloat16")],
)
def test_determinants_of_other_dtypes(dtype, result):
    a = array(np.array([[2, 1], [0, 3]]), dtype)
    value = la.det(a)
    assert name_of(value.dtype) == result
    assert value.item() == (1 if dtype == "bool" else 6)
    assert [name_of(x.dtype) for x in la.slogdet(a)] == [result, result]


@pytest.mark.parametrize("dtype", ["int32", "float16", "float64", "complex64"])
@pytest.mark.parametrize(
    "a, b, axis",
    [
        ((3,), (3,), -1),
        ((2,), (3,), -1),
        ((4, 2), (4, 2), -1),
        ((3,), (4, 3), -1),
        ((3, 4), (3, 4), 0),
    ],
)
def test_cross(dtype, a, b, axis):
    x, y = (np.random.default_rng(i).integers(-4, 5, s) for i, s in enumerate((a, b)))
    got = la.cross(array(x, dtype), array(y, dtype), axis=axis)
    x, y = (
        np.pad(z, [(0, 0)] * (z.ndim - 1) + [(0, 1)]) if z.shape[-1] == 2 else z for z in (x, y)
    )
    assert name_of(got.dtype) == dtype
    np.testing.assert_array_equal(to_numpy(got), np.cross(x, y, axis=axis))


def test_cross_of_bool():
    """Differences of bool are true where the two differ, as everywhere."""
    got = la.cross(mx.array([True, False, True]), mx.array([False, True, True]))
    assert got.dtype == mx.bool_ and got.tolist() == [True, True, True]


def test_cross_refuses():
    for shape, axis in (((4,), -1), ((3,), 5), ((), -1)):
        with pytest.raises((ValueError, IndexError)):
            la.cross(mx.ones(shape), mx.ones(shape), axis=axis)


X3 = np.random.default_rng(3).standard_normal((2, 3, 4))


@pytest.mark.parametrize("order", ["fro", "f", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [(1, 2), (2, 0), (-1, -2)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_matrix_norms(order, axis, keepdims):
    got = la.norm(array(X3, "float64"), order, axis, keepdims)
    near(got, np.linalg.norm(X3, "fro" if order == "f" else order, axis, keepdims), "float64")


@pytest.mark.parametrize("order", [None, 0, 1, -1, 2, -2, 3, 0.5, np.inf, -np.inf])
def test_vector_norms(order):
    near(la.norm(array(X3, "float64"), order, axis=1), np.linalg.norm(X3, order, 1), "float64")
    flat = la.norm(array(X3, "float64"))
    near(flat, np.linalg.norm(X3.ravel()), "float64")


@rill_only
def test_norm_refuses():
    x = mx.ones((2, 3))
    for order, axis in (("fro", 0), ("nuc", 1), ("g", None), (3, None), (0, (0, 1)), (1, (0, 0))):
        with pytest.raises(ValueError):
            la.norm(x, order, axis)
    with pytest.raises(ValueError):
        la.norm(mx.ones((2, 2, 2)), 1)


def test_streams():
    stream = mx.new_stream(mx.cpu)
    x = mx.array(A)
    inverse = la.inv(x + mx.zeros((3, 3)), stream=stream)
    near(inverse @ x, np.eye(3), "float32")
    near(la.det(inverse, stream=mx.cpu), 1 / np.linalg.det(A), "float32")


# Random vectors.


def test_multivariate_normal():
    mean, cov = mx.array([1.0, -2]), mx.array([[2.0, 1], [1, 3]])
    x = to_numpy(mx.random.multivariate_normal(mean, cov, (20000,), key=mx.random.key(3)))
    assert x.shape == (20000, 2)
    np.testing.assert_allclose(x.mean(0), [1, -2], atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), [[2, 1], [1, 3]], atol=0.1)
    small = to_numpy(mx.random.multivariate_normal(mean, cov, (3,), key=mx.random.key(0)))
    z = to_numpy(mx.random.normal((3, 2), key=mx.random.key(0)))
    values, vectors = np.linalg.eigh(np.array([[2.0, 1], [1, 3]]))
    root = vectors * values**0.5 @ vectors.T
    near(small, z @ root + np.array([1, -2]), "float32")


def test_multivariate_normal_batches():
    key = mx.random.key(0)
    draw = lambda *args: mx.random.multivariate_normal(*args, key=key)
    assert draw(mx.zeros((4, 2)), mx.eye(2)).shape == (4, 2)
    assert draw(mx.zeros((4, 2)), mx.eye(2), (3, 4)).shape == (3, 4, 2)
    for mean, cov, shape in (
        (mx.zeros((4, 2)), mx.eye(2), (3,)),
        (mx.zeros(3), mx.eye(2), (3,)),
        (mx.zeros(2), mx.ones((2, 3)), (3,)),
        (mx.array(2.0), mx.eye(2), (3,)),
    ):
        with pytest.raises(ValueError):
            draw(mean, cov, shape)
    with pytest.raises(ValueError):
        mx.random.multivariate_normal(mx.zeros(2), mx.eye(2), (3,), mx.float16, key)
