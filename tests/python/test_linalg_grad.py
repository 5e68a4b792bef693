"""Derivatives of linear algebra, against differences: of real matrices in float64."""

import numpy as np
import pytest
from support import array, mx, rill_only
from test_linalg import la, random, square, wide


def difference(f, x, direction, step=1e-6):
    value = lambda t: float(f(array(x + t * direction, "float64")).item())
    return (value(step) - value(-step)) / (2 * step)


def weights(x, seed):
    return array(np.random.default_rng(seed).standard_normal(x.shape), "float64")


def weigh(result):
    """A scalar that depends on every output."""
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return sum((x * weights(x, i)).sum() for i, x in enumerate(parts))


def symmetric(f):
    return lambda x: f((x + mx.swapaxes(x, -1, -2)) * 0.5)


def invariant_vectors(x):
    """Of eigenvectors, what does not depend on their signs."""
    values, vectors = la.eigh(x)
    return values, vectors * vectors[..., :1, :]


def invariant_svd(x):
    u, s, vt = la.svd(x)
    k = min(x.shape[-2:])
    return s, u[..., :k] @ vt[..., :k, :], mx.square(u), mx.square(vt)


def projectors(x):
    """What the further columns of u and rows of vt span."""
    u, _, vt = la.svd(x)
    k = min(x.shape[-2:])
    return (
        u[..., k:] @ mx.swapaxes(u[..., k:], -1, -2),
        mx.swapaxes(vt[..., k:, :], -1, -2) @ vt[..., k:, :],
        u[..., :k] @ vt[..., :k, :],
    )


B = array(random("float64", (4, 2), 7), "float64")
SMOOTH = {
    "inv": (la.inv, (4, 4)),
    "inv batch": (la.inv, (2, 3, 3)),
    "tri_inv": (la.tri_inv, (4, 4)),
    "tri_inv upper": (lambda x: la.tri_inv(x, True), (4, 4)),
    "pinv": (la.pinv, (4, 4)),
    "pinv tall": (la.pinv, (5, 3)),
    "pinv wide": (la.pinv, (3, 5)),
    "cholesky": (symmetric(la.cholesky), (4, 4)),
    "cholesky upper": (symmetric(lambda x: la.cholesky(x, True)), (2, 4, 4)),
    "cholesky_inv": (la.cholesky_inv, (4, 4)),
    "solve": (lambda x: la.solve(x, B), (4, 4)),
    "solve right": (lambda x: la.solve(B @ B.T + mx.eye(4), x), (4, 3)),
    "solve vector": (lambda x: la.solve(B @ B.T + mx.eye(4), x), (4,)),
    "solve both": (lambda x: la.solve(x, x.T), (4, 4)),
    "solve_triangular": (lambda x: la.solve_triangular(x, B), (2, 4, 4)),
    "solve_triangular upper": (lambda x: la.solve_triangular(x, x, upper=True), (4, 4)),
    "det": (la.det, (2, 4, 4)),
    "slogdet": (lambda x: la.slogdet(x)[1], (2, 4, 4)),
    "qr": (la.qr, (4, 4)),
    "qr tall": (la.qr, (2, 6, 3)),
    "qr wide": (la.qr, (2, 3, 6)),
    "eigvalsh": (symmetric(la.eigvalsh), (4, 4)),
    "eigh": (symmetric(invariant_vectors), (2, 4, 4)),
    "svd values": (lambda x: la.svd(x, False), (2, 3, 5)),
    "nuclear norm": (lambda x: la.norm(x, "nuc"), (3, 5)),
    "2-norm": (lambda x: la.norm(x, 2), (3, 5)),
    "svd": (invariant_svd, (4, 4)),
    "svd tall": (projectors, (5, 3)),
    "svd wide": (projectors, (3, 5)),
    "lu": (lambda x: la.lu(x)[1:], (4, 4)),
    "lu tall": (lambda x: la.lu(x)[1:], (2, 5, 3)),
    "lu wide": (lambda x: la.lu(x)[1:], (3, 5)),
    "lu_factor": (lambda x: la.lu_factor(x)[0], (2, 4, 4)),
    "cross": (lambda x: la.cross(x, x[::-1]), (2, 3)),
}


@rill_only
@pytest.mark.parametrize("case", SMOOTH)
def test_derivatives(case):
    function, shape = SMOOTH[case]
    x = random("float64", shape, seed=11)
    if len(shape) > 1 and shape[-1] == shape[-2]:
        x = x + 6 * np.diag(np.arange(1.0, shape[-1] + 1))
    f = lambda z: weigh(function(z))
    gradient = wide(mx.grad(f)(array(x, "float64")))
    for seed in range(3):
        direction = random("float64", shape, seed)
        expected = difference(f, x, direction)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        _, tangents = mx.jvp(f, [array(x, "float64")], [array(direction, "float64")])
        assert tangents[0].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


COMPLEX = {
    "inv": la.inv,
    "cholesky": lambda z: la.cholesky(z @ mx.conj(z.T) + mx.eye(3)),
    "solve": lambda z: la.solve(z, mx.eye(3)[0]),
    "det": la.det,
    "slogdet": lambda z: la.slogdet(z)[0] * la.slogdet(z)[1],
    "qr": lambda z: la.qr(z)[0] + la.qr(z)[1],
    "eigh": lambda z: la.eigh(z + mx.conj(z.T))[0],
    "svd": lambda z: la.svd(z)[0] @ la.svd(z)[2],
    "pinv": lambda z: la.pinv(z[:, :2]),
    "lu": lambda z: la.lu(z)[1] + la.lu(z)[2],
    "lu tall": lambda z: la.lu(z[:, :2])[1],
    "lu wide": lambda z: la.lu(z[:2])[2],
    "eigvals": lambda z: la.eigvals(z + mx.diag(mx.arange(3.0))),
    "eig": lambda z: la.eig(z + 3 * mx.diag(mx.arange(3.0)))[1],
}


@rill_only
@pytest.mark.parametrize("case", COMPLEX)
def test_derivatives_of_complex_matrices(case):
    z = square("complex64", (3, 3), seed=5)
    parts = np.stack([z.real, z.imag]).astype(np.float32)
    w = array(random("complex64", (3, 3), seed=6), "complex64")

    def f(x):
        value = COMPLEX[case](x[0] + x[1] * 1j)
        weight = w[: value.shape[0], : value.shape[1]] if value.ndim == 2 else w[0, 0]
        if value.ndim == 1:
            weight = w[0]
        return mx.real(mx.conj(value) * weight).sum()

    gradient = wide(mx.grad(f)(mx.array(parts)))
    direction = np.random.default_rng(8).standard_normal(parts.shape)
    at = lambda t: f(mx.array((parts + t * direction).astype(np.float32))).item()
    expected = (at(1e-2) - at(-1e-2)) / 2e-2
    assert np.sum(gradient * direction) == pytest.approx(expected, rel=2e-2, abs=2e-2)
    tangent = mx.jvp(f, [mx.array(parts)], [mx.array(direction.astype(np.float32))])[1][0]
    assert tangent.item() == pytest.approx(expected, rel=2e-2, abs=2e-2)
