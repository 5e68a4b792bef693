"""Measures the errors of the elementary functions and writes docs/accuracy.md.

usage: accuracy.py [--stride N]

float32 is measured at every Nth of the 2^32 bit patterns (default 61), against float64; float64 at
random and hard arguments, against long double or mpmath. Errors count in units in the last place
of the exact result.
"""

import argparse
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath
import numpy as np
import rill.core as mx
from scipy import special

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "accuracy.md"
STATED = ROOT / "tests" / "cpp" / "test_simd_math.cpp"
MARK = re.compile(r"(<!-- table: begin .*?-->\n).*?(<!-- table: end -->)", re.DOTALL)
CHUNK = 1 << 21
# Explicit bits of the significand, the least normal exponent, the largest exponent.
FORMATS = {np.float32: (23, -126, 127), np.float64: (52, -1022, 1023)}


def _sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def _with_mpmath(function):
    """Exact values as long double: the sum of two float64."""

    def parts(x):
        x = float(x)
        if np.isnan(x):
            return x, 0.0
        with mpmath.workdps(40):
            exact = function(mpmath.mpf(x))
            high = float(exact)
            return high, float(exact - high) if np.isfinite(high) else 0.0

    def values(x):
        pairs = np.array([parts(v) for v in np.ravel(x)]).T.astype(np.longdouble)
        return (pairs[0] + pairs[1]).reshape(np.shape(x))

    return values


def _erfinv(x):
    if abs(x) > 1:
        return mpmath.nan
    return mpmath.sign(x) * mpmath.inf if abs(x) == 1 else mpmath.erfinv(x)


@dataclass(frozen=True)
class Function:
    name: str  # in rill.core
    vector: str  # in rill/cpu/math-inl.h
    wide: Callable  # of the next wider type
    exact: Callable | None = None  # where NumPy's long double has no such function
    arity: int = 1


FUNCTIONS = [
    Function("exp", "Exp", np.exp),
    Function("expm1", "Expm1", np.expm1),
    Function("log", "Log", np.log),
    Function("log2", "Log2", np.log2),
    Function("log10", "Log10", np.log10),
    Function("log1p", "Log1p", np.log1p),
    Function("sin", "Sin", np.sin),
    Function("cos", "Cos", np.cos),
    Function("tan", "Tan", np.tan),
    Function("arcsin", "Asin", np.arcsin),
    Function("arccos", "Acos", np.arccos),
    Function("arctan", "Atan", np.arctan),
    Function("sinh", "Sinh", np.sinh),
    Function("cosh", "Cosh", np.cosh),
    Function("tanh", "Tanh", np.tanh),
    Function("arcsinh", "Asinh", np.arcsinh),
    Function("arccosh", "Acosh", np.arccosh),
    Function("arctanh", "Atanh", np.arctanh),
    Function("erf", "Erf", special.erf, _with_mpmath(mpmath.erf)),
    Function("erfinv", "ErfInv", special.erfinv, _with_mpmath(_erfinv)),
    Function("sigmoid", "Sigmoid", _sigmoid),
    Function("arctan2", "Atan2", np.arctan2, arity=2),
    Function("power", "Pow", np.power, arity=2),
    Function("remainder", "FloorMod", np.remainder, arity=2),
    Function("logaddexp", "LogAddExp", np.logaddexp, arity=2),
]


def stated_bounds():
    """The bounds that the C++ test holds every target to: {vector name: (float32, float64)}."""
    row = re.compile(r"X\((\w+), .*, ([\d.]+), ([\d.]+)\)")
    return {m[1]: (float(m[2]), float(m[3])) for m in row.finditer(STATED.read_text())}


def errors(got, exact, scale, dtype):
    """Errors in units in the last place of `scale`; infinite where NaN meets no NaN."""
    digits, least, most = FORMATS[dtype]
    limit = exact.dtype.type(2.0) ** most * 2
    wrong = np.isnan(got) != np.isnan(exact)
    both = np.isnan(got) & np.isnan(exact)
    # An infinity counts as the power of two behind the largest number.
    got, exact = (np.clip(np.where(both, 0, v), -limit, limit) for v in (got, exact))
    _, exponent = np.frexp(np.clip(np.abs(np.where(np.isnan(scale), 0, scale)), 0, limit / 2))
    unit = np.ldexp(exact.dtype.type(1), np.maximum(exponent - 1, least) - digits)
    return np.where(wrong, np.inf, np.abs(got - exact) / unit).astype(np.float64)


def worst(function, arguments, dtype):
    """The largest error at the arguments (arrays of `dtype`), and where it is."""
    wider = np.float64 if dtype is np.float32 else np.longdouble
    names = mx.float32 if dtype is np.float32 else mx.float64
    got = np.array(getattr(mx, function.name)(*(mx.array(a, names) for a in arguments)))
    with np.errstate(all="ignore"):
        operands = [a.astype(wider) for a in arguments]
        reference = function.exact if dtype is np.float64 and function.exact else function.wide
        exact = reference(*operands)
        scale = exact
        if function.name == "logaddexp":
            scale = np.maximum(np.abs(exact), np.abs(np.maximum(*operands)))
        found = errors(got.astype(wider), exact, scale, dtype)
    place = int(np.argmax(found))
    return float(found[place]), tuple(a[place] for a in arguments)


def every_float(stride):
    """Yields the float32 of every `stride`th bit pattern, in pieces."""
    for begin in range(0, 1 << 32, stride * CHUNK):
        bits = np.arange(begin, min(begin + stride * CHUNK, 1 << 32), stride, dtype=np.uint64)
        yield (bits.astype(np.uint32).view(np.float32),)


def hard_arguments(dtype, count, seed=0):
    """Arguments of every size, near 1, near multiples of pi/2, uniform in common ranges."""
    rng = np.random.default_rng(seed)
    word = np.uint32 if dtype is np.float32 else np.uint64
    signs = rng.choice([-1.0, 1.0], count)
    pieces = [
        rng.integers(0, np.iinfo(word).max, count, dtype=word, endpoint=True).view(dtype),
        signs * np.exp2(rng.uniform(-30, 34, count)),
        signs * (1 + np.exp2(rng.uniform(-52, -1, count)) * rng.choice([-1, 1], count)),
        np.round(rng.uniform(-1e6, 1e6, count)) * (np.pi / 2),
        *(rng.uniform(-width, width, count) for width in (1, 1, 8, 40, 800)),
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, np.finfo(dtype).tiny, np.finfo(dtype).max],
    ]
    with np.errstate(all="ignore"):
        return np.concatenate([np.asarray(p).astype(dtype) for p in pieces])


def hard_pairs(dtype, count, seed=0):
    """Pairs of such arguments, and for powers bases whose results do not overflow."""
    rng = np.random.default_rng(seed)
    x, y = (rng.permutation(hard_arguments(dtype, count, seed + i)) for i in (1, 2))
    base = np.exp2(rng.uniform(-30, 30, 4 * count))
    largest = 88 if dtype is np.float32 else 700
    with np.errstate(all="ignore"):
        power = largest / np.log(base) * rng.uniform(-1, 1, base.size)
    return [np.concatenate([x, base.astype(dtype)]), np.concatenate([y, power.astype(dtype)])]


def sample(function, dtype, count):
    """The arguments of a measurement of `count` of each kind."""
    if function.arity == 2:
        return hard_pairs(dtype, count)
    slow = dtype is np.float64 and function.exact
    x = hard_arguments(dtype, min(count, 300) if slow else count)
    return (x[np.abs(x) < 30] if slow else x,)  # beyond, mpmath takes for ever over a 1


def measure(function, dtype, stride, count=200_000):
    found = [worst(function, sample(function, dtype, count), dtype)]
    if dtype is np.float32 and function.arity == 1:
        found += [worst(function, piece, dtype) for piece in every_float(stride)]
    return max(found, key=lambda pair: pair[0])


def row(function, stride, stated):
    cells = [f"`{function.name}`"]
    for dtype, bound in zip((np.float32, np.float64), stated[function.vector]):
        error, where = measure(function, dtype, stride)
        at = ", ".join(np.format_float_scientific(v, 4, trim="-") for v in where)
        cells += [f"{bound:g}", f"{error:.3f}", f"`{at}`"]
    print(" | ".join(cells), flush=True)
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stride", type=int, default=61)
    stride = parser.parse_args().stride
    line = functools.partial(row, stride=stride, stated=stated_bounds())
    table = "\n".join(line(function) for function in FUNCTIONS)
    head = (
        "| function | float32: bound | measured | at | float64: bound | measured | at |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    text = (
        f"Functions of one argument: one in {stride} of the 2^32 bit patterns of `float32`, and "
        f"arguments that are known to be hard.\n\n{head}{table}\n"
    )
    PAGE.write_text(MARK.sub(lambda m: m[1] + text + m[2], PAGE.read_text()))


if __name__ == "__main__":
    main()
