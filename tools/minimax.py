"""Fits the polynomials of rill/cpu/math_coefficients.h; prints that header.

    python -m pip install mpmath
    python tools/minimax.py > rill/cpu/math_coefficients.h

Each fit is close to the minimax polynomial: weighted least squares at Chebyshev points, 100 digits.
Coefficients are rounded to the target type one by one, lowest power first, and the others are
fitted again each time, so the rounded polynomial stays close to the best one.
"""

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 100
POINTS = 400


@dataclass(frozen=True)
class Fit:
    """`function` on [low, high] as a polynomial; the error is multiplied by `weight`."""

    name: str
    formula: str
    function: Callable
    weight: Callable
    low: float
    high: float
    terms: dict  # number of coefficients by type


def to_float(x):
    return mp.mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


ROUND = {"float": to_float, "double": lambda x: mp.mpf(float(x))}


def chebyshev_points(low, high, count):
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


class Samples:
    """The function and its weight at Chebyshev points, and the sums that least squares needs."""

    def __init__(self, fit, terms):
        low, high = mp.mpf(fit.low), mp.mpf(fit.high)
        self.x = chebyshev_points(low, high, POINTS)
        self.f = [fit.function(x) for x in self.x]
        self.w = [fit.weight(x) for x in self.x]
        squares = [w * w for w in self.w]
        powers = [squares]
        for _ in range(2 * terms):
            powers.append([p * x for p, x in zip(powers[-1], self.x)])
        self.moments = [mp.fsum(p) for p in powers]
        self.projections = [mp.fdot(p, self.f) for p in powers[:terms]]

    def best(self, fixed, terms):
        """The free coefficients after `fixed`, `terms` in all, by weighted least squares."""
        first, count = len(fixed), terms - len(fixed)
        gram, rhs = mp.matrix(count, count), mp.matrix(count, 1)
        for i in range(count):
            for j in range(count):
                gram[i, j] = self.moments[2 * first + i + j]
            known = mp.fsum(c * self.moments[first + i + k] for k, c in enumerate(fixed))
            rhs[i] = self.projections[first + i] - known
        return mp.lu_solve(gram, rhs)

    def largest_error(self, coefficients):
        reverse = coefficients[::-1]
        points = zip(self.x, self.f, self.w)
        return max(abs(w * (mp.polyval(reverse, x) - f)) for x, f, w in points)


def rounded_fit(fit, type_name, terms):
    samples = Samples(fit, terms)
    fixed = []
    while len(fixed) < terms:
        fixed.append(ROUND[type_name](samples.best(fixed, terms)[0]))
    return fixed, samples.largest_error(fixed)


def quotient(function, removed, power):
    """(function(x) - removed(x)) / x**power; the caller keeps x away from 0."""
    return lambda x: (function(x) - removed(x)) / x**power


def in_square(function):
    """As a function of z = x * x."""
    return lambda z: function(mp.sqrt(z))


def erfinv_ratio(w):
    """erfinv(x) / x where w = -log(1 - x * x)."""
    if w < mp.mpf("1e-40"):
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    complement = mp.exp(-w) / (1 + x)
    # Newton on log(erfc(y)), which keeps its digits when x is close to 1.
    y = mp.sqrt(w) if w > 4 else mp.erfinv(mp.mpf(float(x)))
    for _ in range(60):
        value = mp.erfc(y)
        step = mp.log(value / complement) * value / (2 / mp.sqrt(mp.pi) * mp.exp(-y * y))
        y += step
        if abs(step) < mp.mpf("1e-80"):
            break
    return y / x


def shifted(function, shift):
    return lambda t: function(t + shift)


def fits():
    ln2, sqrt2 = mp.ln2, mp.sqrt(2)
    sin3 = in_square(quotient(mp.sin, lambda r: r, 3))
    cos4 = in_square(quotient(mp.cos, lambda r: 1 - r * r / 2, 4))
    asin3 = in_square(quotient(mp.asin, lambda r: r, 3))
    atan3 = in_square(quotient(mp.atan, lambda r: r, 3))
    sinh3 = in_square(quotient(mp.sinh, lambda r: r, 3))
    tanh3 = in_square(quotient(mp.tanh, lambda r: r, 3))
    log3 = quotient(mp.log1p, lambda f: f - f * f / 2, 3)
    atanh3 = in_square(quotient(mp.atanh, lambda r: r, 3))
    atanh5 = in_square(quotient(mp.atanh, lambda r: r + r**3 / 3, 5))
    erf1 = in_square(lambda r: mp.erf(r) / r - 1)
    erfc_slope = quotient(lambda t: mp.log(mp.erfc(1 + t), 2), lambda t: mp.log(mp.erfc(1), 2), 1)
    erfc_weight = lambda t: t * mp.ln2 * mp.erfc(1 + t) / mp.erf(1 + t)
    tiny = 1e-20
    root = mp.sqrt
    return [
        Fit(
            "exp_tail",
            "(exp(r) - 1 - r) / r^2 in r",
            quotient(mp.exp, lambda r: 1 + r, 2),
            lambda r: r * r / mp.exp(r),
            -0.348,
            0.348,
            {"float": 5, "double": 11},
        ),
        Fit(
            "exp2_tail",
            "(2^r - 1 - r ln 2) / r^2 in r",
            quotient(lambda r: 2**r, lambda r: 1 + r * ln2, 2),
            lambda r: r * r / 2**r,
            -0.502,
            0.502,
            {"float": 5, "double": 11},
        ),
        Fit(
            "log_tail",
            "(log(1 + f) - f + f^2 / 2) / f^3 in f",
            log3,
            lambda f: f**3 / mp.log1p(f),
            1 / sqrt2 - 1,
            sqrt2 - 1,
            {"float": 9},
        ),
        Fit(
            "log_atanh_tail",
            "2 (atanh(s) - s) / s^3 in s^2",
            lambda z: 2 * atanh3(z),
            lambda z: z / 2,
            tiny,
            0.02945,
            {"double": 7},
        ),
        Fit(
            "pow_atanh_tail",
            "(atanh(s) - s - s^3 / 3) / s^5 in s^2",
            atanh5,
            lambda z: z * z,
            tiny,
            0.02945,
            {"double": 9},
        ),
        Fit(
            "pow_log2",
            "log2(1 + f) / f in f, for powers of floats",
            quotient(lambda f: mp.log(1 + f, 2), lambda f: 0, 1),
            lambda f: f / mp.log(1 + f, 2),
            1 / sqrt2 - 1,
            sqrt2 - 1,
            {"double": 13},
        ),
        Fit(
            "pow_exp2",
            "2^r in r, for powers of floats",
            lambda r: 2**r,
            lambda r: 1 / 2**r,
            -0.502,
            0.502,
            {"double": 7},
        ),
        Fit(
            "sin_tail",
            "(sin(r) - r) / r^3 in r^2",
            sin3,
            lambda z: z * root(z) / mp.sin(root(z)),
            tiny,
            0.63,
            {"float": 4, "double": 7},
        ),
        Fit(
            "cos_tail",
            "(cos(r) - 1 + r^2 / 2) / r^4 in r^2",
            cos4,
            lambda z: z * z / mp.cos(root(z)),
            tiny,
            0.63,
            {"float": 3, "double": 6},
        ),
        Fit(
            "asin_tail",
            "(asin(x) - x) / x^3 in x^2",
            asin3,
            lambda z: z * root(z) / mp.asin(root(z)),
            tiny,
            0.2501,
            {"float": 5, "double": 13},
        ),
        Fit(
            "atan_tail",
            "(atan(x) - x) / x^3 in x^2",
            atan3,
            lambda z: z * root(z) / mp.atan(root(z)),
            tiny,
            0.2501,
            {"float": 6, "double": 12},
        ),
        Fit(
            "sinh_tail",
            "(sinh(x) - x) / x^3 in x^2",
            sinh3,
            lambda z: z * root(z) / mp.sinh(root(z)),
            tiny,
            1.01,
            {"float": 4, "double": 7},
        ),
        Fit(
            "tanh_tail",
            "(tanh(x) - x) / x^3 in x^2",
            tanh3,
            lambda z: z * root(z) / mp.tanh(root(z)),
            tiny,
            1.0,
            {"float": 8, "double": 15},
        ),
        Fit(
            "erf_small",
            "erf(x) / x - 1 in x^2, |x| <= 1",
            erf1,
            lambda z: root(z) / mp.erf(root(z)),
            tiny,
            1.0,
            {"float": 7, "double": 14},
        ),
        Fit(
            "erfc_log2_slope",
            "(log2(erfc(x)) - log2(erfc(1))) / t in t = x - 1, 1 <= x <= 4",
            erfc_slope,
            erfc_weight,
            tiny,
            3.0,
            {"float": 8},
        ),
        Fit(
            "erfc_log2_slope",
            "(log2(erfc(x)) - log2(erfc(1))) / t in t = x - 1, 1 <= x <= 6",
            erfc_slope,
            erfc_weight,
            tiny,
            5.0,
            {"double": 22},
        ),
        Fit(
            "erfinv_center",
            "erfinv(x) / x in w - 2.5, w = -log(1 - x^2) <= 5",
            shifted(erfinv_ratio, mp.mpf("2.5")),
            lambda t: 1 / erfinv_ratio(t + mp.mpf("2.5")),
            -2.5,
            2.5,
            {"float": 12},
        ),
        Fit(
            "erfinv_tail",
            "erfinv(x) / x in sqrt(w) - 3, w <= 17",
            shifted(lambda s: erfinv_ratio(s * s), 3),
            lambda t: 1 / erfinv_ratio((t + 3) ** 2),
            root(5) - 3,
            1.13,
            {"float": 11},
        ),
        Fit(
            "erfinv_center",
            "erfinv(x) / x in w - 3.125, w = -log(1 - x^2) <= 6.25",
            shifted(erfinv_ratio, mp.mpf("3.125")),
            lambda t: 1 / erfinv_ratio(t + mp.mpf("3.125")),
            -3.125,
            3.125,
            {"double": 26},
        ),
        Fit(
            "erfinv_tail",
            "erfinv(x) / x in sqrt(w) - 3.25, 6.25 <= w <= 16",
            shifted(lambda s: erfinv_ratio(s * s), mp.mpf("3.25")),
            lambda t: 1 / erfinv_ratio((t + mp.mpf("3.25")) ** 2),
            -0.75,
            0.75,
            {"double": 21},
        ),
        Fit(
            "erfinv_far",
            "erfinv(x) / x in sqrt(w) - 5, 16 <= w <= 37",
            shifted(lambda s: erfinv_ratio(s * s), 5),
            lambda t: 1 / erfinv_ratio((t + 5) ** 2),
            -1.0,
            1.083,
            {"double": 20},
        ),
    ]


def words(value, type_name):
    """The value as two words: the nearest number and the nearest to what it leaves."""
    first = ROUND[type_name](value)
    return [first, ROUND[type_name](value - first)]


def literal(value, type_name):
    return f"{float(value):.9g}f" if type_name == "float" else f"{float(value):.17g}"


def with_point(text):
    body = text.rstrip("f")
    if "." not in body and "e" not in body:
        body += ".0"
    return body + ("f" if text.endswith("f") else "")


HEADER = """// Generated by tools/minimax.py: the polynomials of math-inl.h, lowest power first.
// Each comment says what is approximated and the largest weighted error, as a power of two:
// relative to the function's result, before rounding of the arithmetic.
#pragma once

namespace rill::coefficients {

// clang-format off"""


def print_table(name, comment, type_name, values, declared):
    print(f"\n/// {comment}")
    if name not in declared:
        declared.add(name)
        print(f"template <class T>\ninline constexpr int {name} = 0;")
    print(f"template <>\ninline constexpr {type_name} {name}<{type_name}>[] = {{")
    for value in values:
        print(f"    {with_point(literal(value, type_name))},")
    print("};")


def main():
    wanted = set(sys.argv[1:])
    print(HEADER)
    declared = set()
    for fit in fits():
        if wanted and fit.name not in wanted:
            continue
        for type_name, terms in fit.terms.items():
            values, error = rounded_fit(fit, type_name, terms)
            bits = f"2^{float(mp.log(error, 2)):.1f}"
            print_table(fit.name, f"{fit.formula}: {bits}", type_name, values, declared)
            print(fit.name, type_name, terms, bits, file=sys.stderr, flush=True)
    for type_name in ROUND:
        values = words(mp.log(mp.erfc(1), 2), type_name)
        print_table("erfc_log2_at_1", "log2(erfc(1)) in two words", type_name, values, declared)
    print("\n// clang-format on\n\n}  // namespace rill::coefficients")


if __name__ == "__main__":
    main()
