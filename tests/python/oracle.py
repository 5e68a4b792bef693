"""One line per elementwise operation: what it computes, where, and how exactly.

A reference is called with the widest NumPy type of the operands' kind (longdouble for
floats, complex128 for complex) and, for results that are not floats, with the dtype itself.
`ulp` bounds the error of float32 and float64; half types must be correctly rounded but for
one unit. `complex` is the error bound of complex64, in units of 2**-23 of the modulus, and
None where the operation takes no complex numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    name: str
    reference: Callable
    spans: tuple
    ulp: float
    complex: float | None
    aliases: tuple
    nonzero: bool  # the second operand must not be zero
    composed: bool  # built from other operations: not a row of Rill's table

    @property
    def arity(self):
        return len(self.spans)


CASES = []


def case(
    name,
    reference,
    span=(-10, 10),
    *more,
    ulp=0,
    complex=None,
    aliases=(),
    nonzero=False,
    composed=False,
):
    spans = (span, *more)
    CASES.append(Case(name, reference, spans, ulp, complex, aliases, nonzero, composed))


def binary(name, reference, span=(-10, 10), other=None, **options):
    case(name, reference, span, other or span, **options)


def _erf(x):
    """The C library's, within one unit of float64."""
    return np.array([math.erf(v) for v in np.ravel(x)], np.longdouble).reshape(np.shape(x))


def _erfinv_one(x):
    if math.isnan(x) or abs(x) > 1:
        return math.nan
    if x == 0 or abs(x) == 1:
        return x if x == 0 else math.copysign(math.inf, x)
    a = abs(x)
    t = -math.log1p(-a) - math.log1p(a)  # a start by Winitzki's formula
    y = math.sqrt(math.sqrt((4.33 - t / 2) ** 2 + t / 0.147) - (4.33 - t / 2))
    for _ in range(6):
        gap = math.erf(y) - a if a < 0.5 else (1 - a) - math.erfc(y)
        y -= gap * math.sqrt(math.pi) / 2 * math.exp(y * y)
    return math.copysign(y, x)


def _erfinv(x):
    return np.array([_erfinv_one(float(v)) for v in np.ravel(x)], np.longdouble).reshape(
        np.shape(x)
    )


def _sign(x):
    if np.iscomplexobj(x):
        return np.where(x == 0, 0, x / np.where(x == 0, 1, np.abs(x)))
    return np.where(x > 0, 1, np.where(x < 0, -1, 0)).astype(x.dtype)


def _logaddexp(a, b):
    return np.log(np.exp(a) + np.exp(b)) if np.iscomplexobj(a) else np.logaddexp(a, b)


def _shift(function):
    return lambda a, b: function(
        a.astype(np.uint8) if a.dtype == bool else a, b.astype(np.uint8) if b.dtype == bool else b
    )


def _floor_divide(a, b):
    """Of floats the floor of the quotient; of integers the quotient towards zero."""
    if a.dtype.kind not in "iu":
        return np.floor(a / b) if a.dtype.kind == "f" else a // b
    quotient = np.abs(a.astype(object)) // np.abs(b.astype(object))
    return (quotient * np.sign(a.astype(object)) * np.sign(b.astype(object))).astype(a.dtype)


def _power(a, b):
    """Integers wrap, and a negative exponent gives zero; bool is implication, b -> a."""
    if a.dtype.kind in "iu":
        return np.where(b < 0, 0, np.power(a, np.maximum(b, 0)))
    return a | ~b if a.dtype == bool else np.power(a, b)


def _remainder(a, b):
    """The sign of the divisor, as in Python."""
    return a & False if a.dtype == bool else np.remainder(a, b)


def _isclose(a, b):
    return np.isclose(a, b, rtol=1e-5, atol=1e-8)


def _degrees(x):
    return x * (180 / PI)


def _radians(x):
    return x * (PI / 180)


PI = np.longdouble("3.14159265358979323846264338327950288")
ANY = (-1e9, 1e9)
BITS = (-(2**63), 2**64 - 1)

# Exact
case("abs", np.abs, ANY, ulp=0.5, complex=4)
case("bitwise_invert", np.invert, BITS)
case("ceil", lambda x: x if x.dtype.kind in "biu" else np.ceil(x), (-20, 20))
case("conjugate", np.conjugate, ANY, complex=0, aliases=("conj",))
case("floor", lambda x: x if x.dtype.kind in "biu" else np.floor(x), (-20, 20))
case("imag", np.imag, ANY, complex=0)
case("isfinite", np.isfinite, ANY, complex=0)
case("isinf", np.isinf, ANY, complex=0)
case("isnan", np.isnan, ANY, complex=0)
case("isneginf", lambda x: np.real(x) == -np.inf, ANY, complex=0)
case("isposinf", lambda x: np.real(x) == np.inf, ANY, complex=0)
case("logical_not", np.logical_not, (-2, 2), complex=0)
case("negative", np.negative, ANY, complex=0)
case("positive", lambda x: x, ANY, complex=0, composed=True)
case("real", np.real, ANY, complex=0)
case("round", lambda x: x if x.dtype.kind in "biu" else np.round(x), (-20, 20), complex=0)
case("sign", _sign, ANY, complex=4)
case("square", lambda x: x * x, ANY, ulp=0.5, complex=4)
case("trunc", lambda x: x if x.dtype.kind in "biu" else np.trunc(x), (-20, 20))
binary("add", np.add, ANY, ulp=0.5, complex=1)
binary("bitwise_and", np.bitwise_and, BITS)
binary("bitwise_or", np.bitwise_or, BITS)
binary("bitwise_xor", np.bitwise_xor, BITS)
binary("divide", lambda a, b: np.true_divide(a, b), ulp=0.5, complex=8)
binary("divmod", lambda a, b: np.divmod(a, b), nonzero=True, composed=True, ulp=0.5)
binary("equal", np.equal, (-3, 3), complex=0)
binary("floor_divide", _floor_divide, (-50, 50), nonzero=True)
binary("greater", np.greater, (-3, 3), complex=0)
binary("greater_equal", np.greater_equal, (-3, 3), complex=0)
binary("isclose", _isclose, (-3, 3), complex=0, composed=True)
binary("left_shift", _shift(np.left_shift), BITS, (0, 7))
binary("less", np.less, (-3, 3), complex=0)
binary("less_equal", np.less_equal, (-3, 3), complex=0)
binary("logical_and", np.logical_and, (-2, 2), complex=0)
binary("logical_or", np.logical_or, (-2, 2), complex=0)
binary("logical_xor", np.logical_xor, (-2, 2), complex=0, composed=True)
binary("maximum", np.maximum, complex=0)
binary("minimum", np.minimum, complex=0)
binary("multiply", np.multiply, ulp=0.5, complex=4)
binary("not_equal", np.not_equal, (-3, 3), complex=0)
binary("remainder", _remainder, (-50, 50), nonzero=True, ulp=0.5)
binary("right_shift", _shift(np.right_shift), BITS, (0, 7))
binary("subtract", lambda a, b: a ^ b if a.dtype == bool else a - b, ANY, ulp=0.5, complex=1)

# Rounded: algebraic
case("degrees", _degrees, (-100, 100), ulp=2, complex=4)
case("radians", _radians, (-100, 100), ulp=2, complex=4)
case("reciprocal", lambda x: 1 / x, ulp=0.5, complex=8)
case("rsqrt", lambda x: 1 / np.sqrt(x), (0, 100), ulp=1.5, complex=8)
case("sqrt", np.sqrt, (0, 100), ulp=0.5, complex=8)

# Rounded: transcendental
case("arccos", np.arccos, (-1, 1), ulp=4, complex=16, aliases=("acos",))
case("arccosh", np.arccosh, (1, 50), ulp=4, complex=16, aliases=("acosh",))
case("arcsin", np.arcsin, (-1, 1), ulp=4, complex=16, aliases=("asin",))
case("arcsinh", np.arcsinh, (-50, 50), ulp=4, complex=16, aliases=("asinh",))
case("arctan", np.arctan, (-50, 50), ulp=4, complex=16, aliases=("atan",))
case("arctanh", np.arctanh, (-1, 1), ulp=4, complex=16, aliases=("atanh",))
case("cos", np.cos, (-30, 30), ulp=2, complex=32)
case("cosh", np.cosh, (-10, 10), ulp=4, complex=32)
case("erf", _erf, (-5, 5), ulp=4)
case("erfinv", _erfinv, (-1, 1), ulp=16)
case("exp", np.exp, (-10, 10), ulp=2, complex=32)
case("expm1", np.expm1, (-10, 10), ulp=4)
case("log", np.log, (0, 100), ulp=2, complex=16)
case("log10", np.log10, (0, 100), ulp=4, complex=16)
case("log1p", np.log1p, (-1, 100), ulp=4, complex=16)
case("log2", np.log2, (0, 100), ulp=4, complex=16)
case("sigmoid", lambda x: 1 / (1 + np.exp(-x)), (-20, 20), ulp=4)
case("sin", np.sin, (-30, 30), ulp=2, complex=32)
case("sinh", np.sinh, (-10, 10), ulp=4, complex=32)
case("tan", np.tan, (-30, 30), ulp=8, complex=32)
case("tanh", np.tanh, (-10, 10), ulp=4, complex=32)
binary("arctan2", np.arctan2, (-10, 10), ulp=4, aliases=("atan2",))
binary("logaddexp", _logaddexp, (-10, 10), ulp=4)  # complex: up to a turn, not compared
binary("power", _power, (0.1, 5), (-3, 5), ulp=4, complex=64, aliases=("pow",))

BY_NAME = {c.name: c for c in CASES}
UNARY = [c for c in CASES if c.arity == 1]
BINARY = [c for c in CASES if c.arity == 2]
