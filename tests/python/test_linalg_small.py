"""Batches of small matrices, which lie one in each lane of a vector: backward errors, pivots,
failures, layouts. Sizes go past the largest that is treated so."""

import subprocess
import sys

import numpy as np
import pytest
from support import IS_RILL, array, environment, in_threads, mx, rill_only, to_numpy

la = mx.linalg
pytestmark = rill_only
EPSILON = {"float32": 2.0**-24, "float64": 2.0**-53, "complex64": 2.0**-24}
SIZES = [1, 2, 3, 7, 8, 15, 16, 31, 32, 33]
IN_LANES = IS_RILL and mx.device_info()["instructions"] != "scalar"
lanes_only = pytest.mark.skipif(not IN_LANES, reason="what LAPACK does for it is its own affair")
COUNTS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17]  # around the lanes of every instruction set


def random(name, shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if name == "complex64" else x


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def well(name, shape, seed=0):
    return random(name, shape, seed) / shape[-1] + np.eye(shape[-1])


def badly(name, shape, seed=0):
    """Singular values from 1 down to 1e-6."""
    left, _, right = np.linalg.svd(random(name, shape, seed))
    return left * np.geomspace(1, 1e-6, shape[-1]) @ right


def permuted(name, shape, seed=0):
    """Of which each row but one has its largest element off the diagonal."""
    rng = np.random.default_rng(seed)
    x = well(name, shape, seed) * np.where(np.eye(shape[-1]) > 0, 1, 1e-3)
    return np.stack([m[rng.permutation(shape[-1])] for m in x.reshape(-1, *shape[-2:])])


def rounded(x, name):
    """An array of `name` and its values in double precision."""
    x = array(x, name)
    return x, wide(x)


def wide(x):
    x = to_numpy(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def assert_solves(a, x, b, name):
    """By the backward error, for each column: |a x - b| <= c n epsilon |a| |x|."""
    assert x.shape == b.shape
    bound = np.abs(a) @ np.abs(x) + np.abs(b)
    limit = 8 * (a.shape[-1] + 2) * EPSILON[name]
    assert np.all(np.abs(a @ x - b) <= limit * bound.max(-2, keepdims=True))


@pytest.mark.parametrize("name", EPSILON)
@pytest.mark.parametrize("make", [well, badly, permuted])
@pytest.mark.parametrize("n", SIZES)
def test_backward_errors(name, make, n):
    for count in (*COUNTS, 1000 // n):
        a, exact = rounded(make(name, (count, n, n), seed=count), name)
        for columns in (1, 5):
            b, right = rounded(random(name, (count, n, columns), seed=1), name)
            assert_solves(exact, wide(la.solve(a, b)), right, name)
        unit = np.broadcast_to(np.eye(n), exact.shape)
        assert_solves(exact, wide(la.inv(a)), unit, name)


@pytest.mark.parametrize("name", EPSILON)
@pytest.mark.parametrize("n", SIZES)
def test_triangles(name, n):
    for count in COUNTS:
        a, exact = rounded(well(name, (count, n, n), seed=count), name)
        b, right = rounded(random(name, (count, n, 3), seed=1), name)
        for upper, part in ((False, np.tril), (True, np.triu)):
            assert_solves(part(exact), wide(la.solve_triangular(a, b, upper=upper)), right, name)
            inverse = wide(la.tri_inv(a, upper))
            assert np.array_equal(inverse, part(inverse))
            assert_solves(part(exact), inverse, np.broadcast_to(np.eye(n), exact.shape), name)


@pytest.mark.parametrize("name", EPSILON)
@pytest.mark.parametrize("n", SIZES)
def test_cholesky(name, n):
    for count in COUNTS:
        x = random(name, (count, n, n), seed=count)
        a, exact = rounded(x @ adjoint(x) / n + np.eye(n), name)
        for upper, kept in ((False, np.tril), (True, np.triu)):
            # The other triangle is not read.
            factor = wide(la.cholesky(mx.tril(a) if not upper else mx.triu(a), upper))
            assert np.array_equal(factor, kept(factor))
            product = adjoint(factor) @ factor if upper else factor @ adjoint(factor)
            limit = 8 * (n + 2) * EPSILON[name] * np.abs(exact).max()
            np.testing.assert_allclose(product, exact, rtol=0, atol=limit)


@pytest.mark.parametrize("name", EPSILON)
@pytest.mark.parametrize("make", [well, permuted])
@pytest.mark.parametrize("n", SIZES)
def test_determinants(name, make, n):
    for count in COUNTS:
        a, exact = rounded(make(name, (count, n, n), seed=count), name)
        sign, logarithm = np.linalg.slogdet(exact)
        tolerance = {"rtol": 0, "atol": 100 * n * EPSILON[name]}
        got = la.slogdet(a)
        np.testing.assert_allclose(wide(got[0]), sign, **tolerance)
        np.testing.assert_allclose(wide(got[1]), logarithm, **tolerance)
        np.testing.assert_allclose(wide(la.det(a)) / np.linalg.det(exact), 1, **tolerance)


@lanes_only
@pytest.mark.parametrize("name", EPSILON)
@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_a_matrix_depends_on_no_other(name, n):
    """Not even where its neighbours need divisions, or hold no numbers."""
    a = permuted(name, (21, n, n))
    a[3] *= 1e-39
    a[11] *= 1e38
    a[17, 0, n - 1] = np.nan
    a, b = array(a, name), array(random(name, (21, n, 2)), name)
    everything = (la.solve(a, b), la.inv(a), la.det(a))
    for i in range(21):
        alone = (la.solve(a[i], b[i]), la.inv(a[i]), la.det(a[i]))
        for one, many in zip(alone, everything, strict=True):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(many)[i])


@lanes_only
@pytest.mark.parametrize("name, tiny, huge", [("float32", 1e-36, 1e36), ("float64", 1e-305, 1e305)])
def test_pivots_whose_reciprocals_are_not_normal(name, tiny, huge):
    a, b = permuted(name, (20, 6, 6)), random(name, (20, 6, 1))
    for scale in (tiny, tiny / 1e4, huge, huge * 50):
        x = wide(la.solve(array(a * scale, name), array(b * scale, name)))
        np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=2e-3, atol=2e-3)


def identities(count, n, dtype=np.float32):
    return np.broadcast_to(np.eye(n, dtype=dtype), (count, n, n)).copy()


@pytest.mark.parametrize("count, wrong", [(1, 0), (5, 4), (40, 17), (1000, 999)])
@pytest.mark.parametrize("n, pivot", [(1, 0), (2, 1), (8, 0), (8, 5), (16, 15)])
def test_failures_name_what_is_wrong(count, wrong, n, pivot):
    a = identities(count, n)
    a[wrong, pivot, pivot] = 0
    b = mx.ones((count, n, 1))
    x = mx.array(a)
    at_pivot, of_diagonal = rf"pivot {pivot} is 0", rf"element {pivot} of its diagonal"
    for f, message in (
        (lambda: la.solve(x, b), rf"linalg\.solve\b.*{at_pivot}"),
        (lambda: la.inv(x), rf"linalg\.inv\b.*{at_pivot}"),
        (lambda: la.solve_triangular(x, b), rf"linalg\.solve_triangular\b.*{of_diagonal}"),
        (lambda: la.tri_inv(x, upper=True), rf"linalg\.tri_inv\b.*{of_diagonal}"),
        (lambda: la.cholesky(x), rf"linalg\.cholesky\b.*order {pivot + 1} is not positive"),
        (lambda: la.cholesky(x, upper=True), rf"order {pivot + 1} is not positive"),
    ):
        result = f()
        with pytest.raises(ValueError, match=message):
            mx.eval(result)
    assert to_numpy(la.det(x)).tolist() == [float(i != wrong) for i in range(count)]
    sign, logarithm = (to_numpy(part) for part in la.slogdet(x))
    assert sign[wrong] == 0 and logarithm[wrong] == -np.inf
    assert sign.sum() == count - 1


def test_the_first_failure_is_told():
    a = identities(3000, 4)
    for matrix, pivot in ((2999, 0), (1500, 2), (700, 3)):
        a[matrix, pivot, pivot] = 0
    for _ in range(5):
        with pytest.raises(ValueError, match="pivot 3 is 0"):
            mx.eval(la.inv(mx.array(a)))


@lanes_only
@pytest.mark.parametrize("place", [(0, 0), (2, 0), (3, 3)])
def test_what_is_not_a_number_stays_where_it_is(place):
    a = well("float32", (20, 4, 4)).astype(np.float32)
    a[6][place] = np.nan
    x, b = mx.array(a), mx.ones((20, 4, 1))
    for result in (la.solve(x, b), la.inv(x), la.det(x)):
        bad = np.isnan(to_numpy(result)).reshape(20, -1).any(-1)
        assert bad.tolist() == [i == 6 for i in range(20)]
    with pytest.raises(ValueError, match="not positive definite"):
        mx.eval(la.cholesky(x))
    column = np.zeros((3, 2, 2), np.float32)
    column[:, 1, 0] = np.nan  # neither of the pivots is a number other than 0
    assert np.isnan(to_numpy(la.inv(mx.array(column)))).any()


@pytest.mark.parametrize("name", EPSILON)
def test_layouts(name):
    a, exact = rounded(permuted(name, (12, 5, 5)), name)
    b, right = rounded(random(name, (12, 5, 4)), name)
    same = lambda x, y: np.testing.assert_array_equal(to_numpy(x), to_numpy(y))
    copied = mx.contiguous
    transposed, backward, every = a.swapaxes(1, 2), a[::-1, ::-1], a[1::3]
    for view in (transposed, backward, every, a[:, 1:4, :3], a.reshape(3, 4, 5, 5).swapaxes(0, 1)):
        for f in (la.inv, la.det):
            same(f(view), f(copied(view)))
    same(la.solve(transposed, b[..., ::2]), la.solve(copied(transposed), copied(b[..., ::2])))
    one = a[3]
    shared = mx.broadcast_to(one, (12, 5, 5))
    assert_solves(wide(shared), wide(la.solve(one, b)), right, name)
    same(la.inv(shared)[7], la.inv(one))
    vector = b[0, :, 0]
    same(la.solve(a, vector)[5], la.solve(a[5], vector))
    assert la.solve(a[:0], b[:0]).shape == (0, 5, 4)
    assert to_numpy(la.solve(a, b[..., :0])).shape == (12, 5, 0)
    each = mx.vmap(la.solve)(a, b)
    assert_solves(exact, wide(each), right, name)


def test_streams_and_threads():
    a = mx.array(well("float32", (1000, 8, 8)).astype(np.float32))
    b = mx.array(random("float32", (1000, 8, 1)).astype(np.float32))
    expected = to_numpy(la.solve(a, b))
    results = [None] * 4

    def work(i):
        stream = mx.new_stream(mx.cpu)
        results[i] = [to_numpy(la.solve(a, b, stream=stream)) for _ in range(20)]

    in_threads(work, 4)
    for one in results:
        for x in one:
            assert np.array_equal(x, expected)


PROGRAM = """
import hashlib, numpy as np, rill.core as mx
results = []
for dtype in (mx.float32, mx.complex64):
    a = mx.random.normal((37, 6, 6), key=mx.random.key(3)).astype(dtype)
    b = mx.random.normal((37, 6, 3), key=mx.random.key(4)).astype(dtype)
    definite = a @ mx.conjugate(a.swapaxes(1, 2)) + mx.eye(6)
    results += [mx.linalg.solve(a, b), mx.linalg.inv(a), mx.linalg.det(a)]
    results += [mx.linalg.cholesky(definite), mx.linalg.solve_triangular(definite, b)]
print(*(hashlib.sha256(np.asarray(r).tobytes()).hexdigest() for r in results))
"""


def test_instruction_sets_agree_bit_for_bit():
    digests = {}
    for target in ("avx512", "avx2", "scalar"):
        child = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment(RILL_CPU_TARGET=target),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert child.returncode == 0, child.stderr
        digests[target] = child.stdout
    assert len(digests["scalar"].split()) == 10  # by LAPACK: other roundings
    assert digests["avx512"] == digests["avx2"]
