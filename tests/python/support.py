"""The module under test, and what every test file shares.

RILL_TEST_MODULE names the module: `rill.core`, or a peer with the same API against which
the tests themselves are checked.
"""

import importlib
import os
import sys
import threading

import numpy as np
import pytest

NAME = os.environ.get("RILL_TEST_MODULE", "rill.core")
mx = importlib.import_module(NAME)
IS_RILL = NAME.startswith("rill")
rill_only = pytest.mark.skipif(not IS_RILL, reason="asked of Rill, not offered by its peer")

UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = UNSIGNED + SIGNED
HALVES = ("float16", "bfloat16")
FLOATS = HALVES + ("float32", "float64")
REALS = ("bool",) + INTEGERS + FLOATS
DTYPES = REALS + ("complex64",)

# Explicit bits of the significand and the least normal exponent, of the real float types.
FORMATS = {
    "float16": (10, -14, 15),
    "bfloat16": (7, -126, 127),
    "float32": (23, -126, 127),
    "float64": (52, -1022, 1023),
}


def environment(**more):
    """Of a child process that finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more}


class Traced:
    """A function that counts how often it is traced."""

    def __init__(self, fun):
        self.fun, self.count = fun, 0

    def __call__(self, *args, **kwargs):
        self.count += 1
        return self.fun(*args, **kwargs)


def dtype(name):
    """The Dtype called `name`."""
    return getattr(mx, "bool_" if name == "bool" else name)


def name_of(dtype):
    """The bare name of a Dtype, 'float32'."""
    return str(dtype).rsplit(".", 1)[-1]


def numpy_type(name):
    """The NumPy type that holds every value of `name`; bfloat16 travels as float32."""
    return np.dtype("float32" if name == "bfloat16" else name)


def round_to(values, name):
    """`values` rounded to the nearest of `name`, as the NumPy type that holds it."""
    with np.errstate(all="ignore"):
        values = np.asarray(values).astype(numpy_type(name))
    if name != "bfloat16":
        return values
    bits = values.view(np.uint32)
    even = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), values, even.view(np.float32))


def array(values, name):
    """An array of dtype `name` with the given values."""
    host = round_to(values, name)
    return mx.array(np.array(host, order="C"), dtype=dtype(name))


def to_numpy(x):
    """The values of an array, bfloat16 as float32."""
    if name_of(x.dtype) == "bfloat16":
        x = x.astype(mx.float32)
    return np.array(x)


def spacing(values, name):
    """The distance between neighbours of dtype `name` at each |value|."""
    digits, least, _ = FORMATS[name]
    values = np.abs(np.asarray(values, dtype=np.longdouble))
    finite = np.where(np.isfinite(values), values, 1)
    exponent = np.maximum(np.frexp(finite)[1] - 1, least)
    return np.ldexp(np.longdouble(1), exponent - digits)


def ulps(actual, exact, name):
    """The largest distance between `actual` and the exact values, in units of last place.

    NaN must meet NaN. An infinity counts as the power of two that follows the largest
    finite number, so that a result just over the limit is an error of one unit, not of many.
    """
    with np.errstate(all="ignore"):
        actual = np.asarray(actual).astype(np.longdouble)
        exact = np.asarray(exact).astype(np.longdouble)
    assert actual.shape == exact.shape, f"shape {actual.shape}, expected {exact.shape}"
    if not actual.size:
        return 0.0
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
    limit = np.ldexp(np.longdouble(1), FORMATS[name][2] + 1)
    actual, exact = (
        np.clip(np.nan_to_num(v, posinf=np.inf, neginf=-np.inf), -limit, limit)
        for v in (actual, exact)
    )
    error = np.abs(actual - exact) / spacing(np.minimum(np.abs(exact), limit / 2), name)
    return float(error.max())


def assert_same(actual, expected, name=None):
    """Equal in shape, in every value, NaNs included, and in dtype where `name` is given."""
    if name is not None:
        assert name_of(actual.dtype) == name
    np.testing.assert_array_equal(to_numpy(actual), np.asarray(expected))


def assert_near(actual, expected, name=None, tolerance=None):
    """Equal within `tolerance`, relative to the largest expected magnitude."""
    name = name or name_of(actual.dtype)
    if tolerance is None:
        tolerance = {"float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-12}.get(name, 2e-5)
    actual, expected = to_numpy(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    finite = expected[np.isfinite(expected)]
    scale = np.abs(finite).max() if finite.size else 1.0
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * max(scale, 1e-30))


def values(name, shape, span=(-4, 4), seed=0):
    """Reproducible values of dtype `name` as NumPy: uniform in `span`, clipped to the type."""
    rng = np.random.default_rng([seed, *shape, DTYPES.index(name)])
    low, high = span
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if name in INTEGERS:
        limits = np.iinfo(name)
        low, high = max(int(np.ceil(low)), limits.min), min(int(high), limits.max)
        return rng.integers(low, high, shape, dtype=name, endpoint=True)
    if name == "complex64":
        real, imaginary = rng.uniform(low, high, (2, *shape))
        return (real + 1j * imaginary).astype(np.complex64)
    return round_to(rng.uniform(low, high, shape), name)


def value(expression, **names):
    """What a row's expression evaluates to, with mx, np, nan and inf at hand."""
    return eval(expression, {"mx": mx, "np": np, "nan": np.nan, "inf": np.inf, **names})


def check_row(row, **names):
    """A row (expression, expected[, dtype]): an exception, a list or scalar, or a shape."""
    expression, expected, *name = row
    if isinstance(expected, type) and issubclass(expected, BaseException):
        with pytest.raises(expected):
            mx.eval(value(expression, **names))
        return
    result = value(expression, **names)
    if not isinstance(result, mx.array):
        assert result == expected
        return
    if name:
        assert name_of(result.dtype) == name[0]
    actual = to_numpy(result)
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual, np.array(expected), rtol=1e-6, atol=1e-6)


def rows(table, **options):
    """The rows of a table as parameters whose ids are their expressions."""
    return pytest.mark.parametrize("row", table, ids=lambda row: str(row[0]), **options)


def wide(x):
    """The values of a real array in double precision."""
    return to_numpy(x).astype(np.float64)


def host(x):
    """The values of an operand that may be None or a word."""
    if x is None or isinstance(x, str):
        return x
    return to_numpy(x) if x.dtype == mx.bool_ else wide(x)


def normal(shape, seed=0):
    """Normal numbers for NumPy, the same for a shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def in_threads(work, count):
    """Calls work(i) for i < count, each in a thread of its own, and waits for all."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
