"""mx.fft against NumPy: values, shapes, dtypes, derivatives, errors."""

import itertools

import numpy as np
import pytest
from support import assert_near, assert_same, check_row, mx, rill_only, rows, to_numpy, values

NORMS = ("backward", "ortho", "forward")
LINES = ("fft", "ifft", "rfft", "irfft")
# Small primes, products of small factors, Bluestein's lengths, and both sides of the limits at
# which lines are divided.
SIZES = (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 30, 97, 101, 128, 210, 1009, 1022, 1024, 1536, 2310)


def operand(name, shape, seed=0):
    real = name in ("rfft", "rfftn", "rfft2")
    return values("float32" if real else "complex64", shape, seed=seed)


def check(name, x, tolerance=None, **kwargs):
    actual = getattr(mx.fft, name)(mx.array(x), **kwargs)
    expected = getattr(np.fft, name)(x.astype(np.result_type(x, np.float64)), **kwargs)
    dtype = "float32" if name.startswith("irfft") else "complex64"
    assert_near(actual, expected, dtype, tolerance)


@pytest.mark.parametrize("name", LINES)
def test_sizes(name):
    for n in SIZES:
        if name == "irfft" and n == 1:
            continue
        for count in (1, 3, 17):
            check(name, operand(name, (count, n)))


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("n", [10007, 65536, 2**15 * 3, 20160, 40000, 65537 * 2])
def test_long_lines(name, n):
    check(name, operand(name, (n,)))
    check(name, operand(name, (n // 8, 2)), axis=0)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("norm", NORMS)
def test_axis_n_and_norm(name, axis, norm):
    x = operand(name, (5, 6, 40))
    for n in (None, 1, 4, 6, 9, 40):
        check(name, x, axis=axis, n=n, norm=norm)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_several_axes(name):
    x = operand(name, (4, 6, 5, 18))
    axes = [(0,), (-1, 0), (2, 1), (0, 1, 2), (3, 2, 1, 0), (0, 1, 2, 3)]
    for along, norm in itertools.product(axes, NORMS):
        check(name, x, axes=along, norm=norm)
    check(name, x)
    for along, s in (((0, 1), (3, 8)), ((2, 3), (8, 8)), ((3, 0), (20, 1)), ((1,), (7,))):
        check(name, x, s=s, axes=along)


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2"])
def test_two_axes(name):
    x = operand(name, (3, 8, 10))
    check(name, x)
    check(name, x, axes=(0, 1))
    check(name, x, s=(6, 12), axes=(-2, -1), norm="ortho")


@pytest.mark.parametrize("name", ["bool", "uint8", "int32", "int64", "float16", "bfloat16"])
def test_other_dtypes_are_float32(name):
    from support import array

    x = values(name, (3, 12))
    exact = np.asarray(x, np.float64)
    for function in LINES:
        expected = getattr(np.fft, function)(exact)
        actual = getattr(mx.fft, function)(array(x, name))
        assert_near(actual, expected, "float32" if function == "irfft" else "complex64")


@rill_only
def test_float64_is_computed_in_double():
    # A large constant would drown what float32 can hold.
    x = 1e9 + np.cos(np.arange(48) * 2 * np.pi / 48 * 5)
    for name in ("fft", "rfft"):
        actual = getattr(mx.fft, name)(mx.array(x, dtype=mx.float64))
        expected = getattr(np.fft, name)(x)
        assert abs(to_numpy(actual)[5] - expected[5]) < 1e-4
    long = np.cos(np.arange(2**14) * 0.1) + 1e9
    actual = to_numpy(mx.fft.rfft(mx.array(long, dtype=mx.float64)))
    np.testing.assert_allclose(actual[1:], np.fft.rfft(long)[1:], atol=1e-2)


@pytest.mark.parametrize("name", LINES)
def test_views_and_batches(name):
    x = operand(name, (6, 33, 8))
    whole = mx.array(x)
    function, exact = getattr(mx.fft, name), getattr(np.fft, name)
    dtype = "float32" if name == "irfft" else "complex64"
    assert_near(function(whole[::2, ::-1]), exact(x[::2, ::-1]), dtype)
    assert_near(function(whole.transpose(2, 0, 1)), exact(x.transpose(2, 0, 1)), dtype)
    one = mx.broadcast_to(whole[:1], x.shape)
    assert_near(function(one, axis=1), exact(np.broadcast_to(x[:1], x.shape), axis=1), dtype)


def test_empty_batches_and_axes():
    x = mx.zeros((0, 4))
    assert mx.fft.fft(x).shape == (0, 4) and mx.fft.rfft(x).shape == (0, 3)
    assert mx.fft.irfft(x).shape == (0, 6)
    y = mx.array([1.0, 2.0])
    assert_same(mx.fft.fftn(y, axes=()), [1, 2], "float32")


def test_frequencies_and_shifts():
    for n in (1, 2, 5, 8):
        assert_near(mx.fft.fftfreq(n, 0.1), np.fft.fftfreq(n, 0.1), "float32")
        assert_near(mx.fft.rfftfreq(n, d=2), np.fft.rfftfreq(n, 2), "float32")
    x = values("int32", (4, 5, 3))
    for axes in (None, 0, 1, (0, 2), (-1,), ()):
        for name in ("fftshift", "ifftshift"):
            actual = getattr(mx.fft, name)(mx.array(x), axes=axes)
            assert_same(actual, getattr(np.fft, name)(x, axes=axes), "int32")
    assert_same(mx.fft.fftshift(mx.array(3)), 3)


ERRORS = [
    ("mx.fft.fft(mx.array(1.0))", (ValueError, IndexError)),
    ("mx.fft.fftn(mx.array(1.0))", ValueError),
    ("mx.fft.fft(mx.zeros((3, 0)))", ValueError),
    ("mx.fft.fft(mx.zeros(3), n=0)", ValueError),
    ("mx.fft.fft(mx.zeros(3), n=-1)", ValueError),
    ("mx.fft.irfft(mx.zeros((3, 1)))", ValueError),
    ("mx.fft.fft(mx.zeros(3), axis=1)", (ValueError, IndexError)),
    ("mx.fft.fft(mx.zeros(3), norm='other')", ValueError),
    ("mx.fft.fftn(mx.zeros((3, 3)), axes=(0, -2))", ValueError),
    ("mx.fft.fftn(mx.zeros((3, 3)), s=(2,), axes=(0, 1))", ValueError),
    ("mx.fft.fftn(mx.zeros((3, 3)), s=(2,))", ValueError),
    ("mx.fft.fftfreq(0)", ValueError),
    ("mx.fft.rfftfreq(-1)", ValueError),
    ("mx.fft.fftfreq(4, 0.0)", ValueError),
    ("mx.fft.fftshift(mx.zeros(3), axes=1)", (ValueError, IndexError)),
    ("mx.fft.fft('a')", (TypeError, ValueError)),
]


@pytest.mark.parametrize("expression, errors", ERRORS, ids=lambda e: str(e)[:60])
def test_errors(expression, errors):
    with pytest.raises(errors):
        mx.eval(eval(expression, {"mx": mx}))


ROWS = [
    ("mx.fft.irfft(mx.array([1 + 5j, 2 + 1j, 3 + 3j]))", [2, -1, 0, 0], "float32"),
    ("mx.fft.fft(mx.array([1.0, 2]), 3, 0, 'forward', mx.cpu).shape", (3,)),
    ("mx.fft.rfft(mx.ones((2, 3)), stream=mx.cpu).shape", (2, 2)),
]


@rows(ROWS)
def test_rows(row):
    check_row(row)


def real_loss(function, shape, **kwargs):
    """A function of real numbers to one, through a transform, and its twin in NumPy."""
    weight = None

    def loss(x, module, transform):
        nonlocal weight
        y = transform(x, **kwargs)
        if weight is None:
            weight = values("complex64", tuple(y.shape), seed=7)
        w = module.array(weight)
        return (module.real(y) * module.real(w) + module.imag(y) * module.imag(w)).sum()

    return (
        lambda x: loss(x, mx, getattr(mx.fft, function)),
        lambda x: loss(x, np, getattr(np.fft, function)),
    )


@pytest.mark.parametrize("n", [4, 5, 1, 8, 3])
@pytest.mark.parametrize("function", ["fft", "rfft", "ifft", "rfftn", "fftn"])
def test_gradient_of_real_operands(function, n):
    kwargs = {"norm": "ortho"} if function.endswith("n") else {"n": n, "norm": "ortho"}
    ours, exact = real_loss(function, (3, 5), **kwargs)
    x = values("float32", (3, 5))
    gradient = to_numpy(mx.grad(ours)(mx.array(x)))
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = 1
        # Linear, so a difference of any size is exact.
        assert abs(exact(x + step) - exact(x) - gradient[place]) < 2e-4


@pytest.mark.parametrize("function, n", [("irfft", 5), ("irfft", 6), ("fft", 4), ("ifft", 6)])
def test_gradient_of_complex_operands(function, n):
    ours, exact = real_loss(function, (2, 4), n=n)
    x = values("complex64", (2, 4))
    gradient = to_numpy(mx.grad(ours)(mx.array(x)))
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape, complex)
        step[place] = 1
        real = exact(x + step) - exact(x)
        imaginary = exact(x + 1j * step) - exact(x)
        assert abs(real + 1j * imaginary - gradient[place]) < 2e-4


def test_tangent():
    x, t = mx.array([1.0, 2, 3, 4, 5]), mx.array([1.0, 0, 2, 0, 0])
    _, (tangent,) = mx.jvp(lambda a: mx.fft.rfft(a, norm="forward"), [x], [t])
    assert_near(tangent, np.fft.rfft(np.array(t), norm="forward"), "complex64")


@rill_only
def test_same_bits_on_a_stream_and_in_place():
    stream = mx.new_stream(mx.cpu)
    x = mx.array(values("complex64", (100, 96)))
    once = mx.fft.fft2(x)
    assert_same(mx.fft.fft2(x, stream=stream), to_numpy(once))
    assert_same(mx.fft.fft2(x * 1), to_numpy(once))  # overwrites the product
