"""Values of the fast ways that large or special input takes, against NumPy."""

import numpy as np
import pytest
from support import array, mx, rill_only, to_numpy, values

pytestmark = rill_only


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_integer_division_is_exact(name):
    limits = np.iinfo(name)
    edges = [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, 1, 2, 3, 7, 11]
    edges += [-1, -2, -3, -7] if limits.min < 0 else []
    drawn = np.random.default_rng(1).integers(limits.min, limits.max, 500, endpoint=True)
    if limits.bits == 8:
        drawn = np.arange(limits.min, limits.max + 1)
    numbers = np.concatenate([np.array(edges), drawn]).astype(name)
    a, b = numbers[:, None].astype(object), numbers[None].astype(object)
    safe = np.where(b == 0, 1, b)
    quotient = np.where(b == 0, 0, np.sign(a) * np.sign(b) * (abs(a) // abs(safe)))
    rest = np.where(b == 0, 0, a % safe)
    x, y = array(numbers[:, None], name), array(numbers[None], name)
    wrapped = lambda v: (v.astype(object) % 2**limits.bits).astype(f"uint{limits.bits}").view(name)
    np.testing.assert_array_equal(to_numpy(x // y), wrapped(quotient))
    np.testing.assert_array_equal(to_numpy(x % y), wrapped(rest))


def test_every_half_is_widened_and_rounded_as_ieee_says():
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = to_numpy(array(halves, "float16").astype(mx.float32))
    np.testing.assert_array_equal(wide, halves.astype(np.float32))
    finite = halves[np.isfinite(halves)].astype(np.float32)
    between = np.concatenate([finite * np.float32(f) for f in (1, 1 + 2**-11, 1 + 2**-12, 0.9999)])
    with np.errstate(over="ignore"):
        expected = between.astype(np.float16)
    narrow = to_numpy(mx.array(between).astype(mx.float16))
    np.testing.assert_array_equal(narrow.view(np.uint16), expected.view(np.uint16))
    doubled = to_numpy(mx.array(between).astype(mx.float16) + 0)  # rounded between operations
    np.testing.assert_array_equal(doubled, expected)


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "complex64"])
def test_transposed_operands_walk_together_with_rows_and_columns(name):
    x, y = values(name, (67, 1030), (-3, 3)), values(name, (67, 1030), (-3, 3))
    row, column = values(name, (67,), (-3, 3)), values(name, (1030, 1), (-3, 3))
    a, b, r, c = (array(v, name) for v in (x, y, row, column))
    cases = [
        (lambda a, b, r, c: a.T + r, 0),
        (lambda a, b, r, c: (a.T - c) * 2 + b.T, 0),
        (lambda a, b, r, c: (r - c) * a.T, 0),
        (lambda a, b, r, c: (a.T + r) * c - b.T * r, 1),
    ]
    for function, axis in cases:
        result = function(a, b, r, c)
        np.testing.assert_allclose(
            to_numpy(result), function(x, y, row, column), rtol=1e-2 if name == "float16" else 1e-6
        )
        steps = [a.T, r, c, b.T]
        mx.eval(steps)
        apart = function(steps[0].T, steps[3].T, r, c)
        mx.eval(apart)
        fused = function(a, b, r, c).sum(axis=axis)
        np.testing.assert_array_equal(to_numpy(fused), to_numpy(apart.sum(axis=axis)))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_extremes_of_complex_numbers(axis):
    x = values("complex64", (5, 300, 130), (-3, 3)).round()
    for place in (None, (2, 77, 9)):
        if place:
            x[place] = complex(np.nan, 1)
        np.testing.assert_array_equal(to_numpy(mx.max(mx.array(x), axis=axis)), x.max(axis=axis))
        np.testing.assert_array_equal(to_numpy(mx.min(mx.array(x), axis=axis)), x.min(axis=axis))
    long = np.zeros(100_003, np.complex64)
    long[70_000] = 1j
    assert mx.max(mx.array(long)).item() == 1j and mx.min(mx.array(-long)).item() == -1j


@pytest.mark.parametrize("place", [None, 0, 255, 256, 40_000, 599_999])
@pytest.mark.parametrize("shape", [(600_000,), (300, 2000), (2000, 300)])
def test_answers_that_need_not_read_everything(place, shape):
    for base in (False, True):
        x = np.full(600_000, base)
        if place is not None:
            x[place] = not base
        x = x.reshape(shape)
        for axis in (None, len(shape) - 1, 0):
            for name in ("all", "any", "min", "max", "argmax", "argmin"):
                result = to_numpy(getattr(mx, name)(mx.array(x), axis=axis))
                np.testing.assert_array_equal(result, getattr(np, name)(x, axis=axis), name)
        as_float = mx.array(x.astype(np.float32) * -2)
        assert mx.any(as_float).item() == x.any() and mx.all(as_float).item() == x.all()


@pytest.mark.parametrize("name", ["bool", "uint16", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(7, 130), (130, 3), (40, 1, 9)])
def test_moved_elements(name, shape):
    x = values(name, shape)
    a = array(x, name)
    for axis in range(len(shape)):
        np.testing.assert_array_equal(to_numpy(mx.flip(a, axis)), np.flip(x, axis))
        np.testing.assert_array_equal(to_numpy(mx.repeat(a, 3, axis)), np.repeat(x, 3, axis))
    for mode in ("edge", "reflect", "symmetric"):
        for width in (0, 1, 2) if 1 not in shape or mode == "edge" else (0, 1):
            if mode == "reflect" and 1 in shape:
                continue
            np.testing.assert_array_equal(to_numpy(mx.pad(a, width, mode)), np.pad(x, width, mode))
    np.testing.assert_array_equal(to_numpy(mx.take(a, mx.array([2, 0, 2]), 0)), x[[2, 0, 2]])


@pytest.mark.parametrize("k", [-3, 0, 2])
@pytest.mark.parametrize("size", [0, 1, 5])
def test_diagonal_matrices(size, k):
    x = values("float32", (size,))
    np.testing.assert_array_equal(to_numpy(mx.diag(mx.array(x), k)), np.diag(x, k))
    gradient = mx.grad(lambda v: (mx.diag(v, k) * 3).sum())(mx.array(x))
    np.testing.assert_array_equal(to_numpy(gradient), np.full(size, 3, np.float32))


@pytest.mark.parametrize("n", [8209, 9999, 10_007, 19_683])
def test_long_odd_transforms_of_real_numbers(n):
    x = values("float32", (2, n), (-1, 1))
    forward = np.fft.rfft(x.astype(np.float64))
    scale = np.abs(forward).max()
    half = to_numpy(mx.fft.rfft(mx.array(x)))
    np.testing.assert_allclose(half / scale, forward / scale, atol=3e-6)
    full = to_numpy(mx.fft.ifft(mx.array(x)))
    np.testing.assert_allclose(full * n / scale, np.fft.ifft(x) * n / scale, atol=3e-6)
    back = to_numpy(mx.fft.irfft(mx.array(forward.astype(np.complex64)), n=n))
    np.testing.assert_allclose(back, x, atol=2e-5)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("m, n, k", [(2, 2, 1), (7, 5, 3), (9, 17, 33), (33, 64, 60), (5, 3, 900)])
def test_products_with_a_small_matrix(name, m, n, k):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((3, m, k)).astype(name), rng.standard_normal((3, k, n)).astype(name)
    tolerance = 1e-4 if name == "float32" else 1e-10
    close = lambda x, y: np.testing.assert_allclose(to_numpy(x), y, rtol=tolerance, atol=tolerance)
    x, y = array(a, name), array(b, name)
    close(x @ y, a @ b)
    close(x[0] @ y[1], a[0] @ b[1])
    left = array(np.ascontiguousarray(a.swapaxes(1, 2)), name)
    right = array(np.ascontiguousarray(b.swapaxes(1, 2)), name)
    close(left.swapaxes(1, 2) @ right.swapaxes(1, 2), a @ b)
    close(x[:, ::-1] @ y[:, :, ::-1], a[:, ::-1] @ b[:, :, ::-1])


def test_masks_of_several_axes():
    x = values("float32", (300, 70, 5), (-1, 1))
    for mask in (x > 0, x[..., 0] > 0.5, x[..., 0] > 5, x[:, 0, 0] > 0):
        np.testing.assert_array_equal(to_numpy(mx.array(x)[mx.array(mask)]), x[mask])
    lines = np.ascontiguousarray(x.T)
    np.testing.assert_array_equal(to_numpy(mx.array(lines).T[mx.array(x > 0)]), x[x > 0])


def test_the_modulus_of_extreme_numbers():
    x = np.array([3 + 4j, 1e30 + 1e30j, 1e-30 + 1e-30j, complex(np.inf, np.nan), 0], np.complex64)
    for count in (1, 7, 40):
        many = np.tile(x, count)
        np.testing.assert_allclose(to_numpy(mx.abs(mx.array(many))), np.abs(many), rtol=2e-7)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64", "int8", "complex64"])
def test_programs_on_what_fits_no_cache_have_the_bits_of_single_operations(name):
    """Their tiles are computed in pieces, of types of different widths."""
    dtype = getattr(mx, name)
    keys = mx.random.split(mx.random.key(3), 2)
    # More than 16 MiB are read and written; the last tile is short.
    x, y = (mx.random.normal((5_000_003,), key=k).astype(dtype) for k in keys)

    def program(x, y):
        small = mx.sin(x) * y + x
        narrowed = small.astype(mx.bool_) | (y != 0)
        halves = mx.tanh(mx.real(y).astype(mx.float16)) - 0.5
        return mx.where(narrowed, small, x - 1), halves

    outputs = mx.compile(program)(x, y)
    mx.eval(outputs)
    with mx.debug():
        single = program(x, y)
        mx.eval(single)
    for one, two in zip(outputs, single):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(two))
