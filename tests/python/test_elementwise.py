"""Every elementwise operation against its oracle: values, edges, layouts, names."""

import numpy as np
import pytest
from dtypes_table import binary as binary_dtype
from dtypes_table import promoted, unary
from oracle import BINARY, BY_NAME, CASES, UNARY
from support import (
    DTYPES,
    FLOATS,
    INTEGERS,
    IS_RILL,
    array,
    assert_same,
    dtype,
    mx,
    name_of,
    numpy_type,
    rill_only,
    round_to,
    to_numpy,
    ulps,
    values,
)

SLACK = 1 if IS_RILL else 1000  # the peer's accuracy is not our subject
EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 1e-30, 3e38, -3e38])
NO_SIGN_OF_ZERO = {"maximum", "minimum", "round", "logaddexp", "power", "remainder"}
SHAPE = (3, 87)


def reference(case, operands, common, result):
    """The exact result for operands already rounded to their dtypes."""
    kind = "f" if result in FLOATS else "c" if result == "complex64" else "="
    compute = np.dtype({"f": np.longdouble, "c": np.complex128}.get(kind, numpy_type(common)))
    if common == "complex64":
        compute = np.dtype(np.complex128)
    elif common in FLOATS:
        compute = np.dtype(np.longdouble)
    with np.errstate(all="ignore"):
        return case.reference(*(x.astype(compute) for x in operands))


def check(case, actual, exact, result):
    """`actual` meets the bound of the case, in dtype and value."""
    if isinstance(actual, (list, tuple)):
        for one, of in zip(actual, exact):
            check(case, one, of, result)
        return
    assert name_of(actual.dtype) == result
    got = to_numpy(actual)
    if result == "complex64":
        assert got.shape == exact.shape
        if case.complex is None:
            return
        bound = SLACK * (case.complex + 0.5) * 2.0**-23 * np.abs(exact)
        np.testing.assert_array_less(np.abs(got - exact), bound + 1e-37)
    elif result in FLOATS:
        exact = np.real(exact)
        bound = 1 if result in ("float16", "bfloat16") else case.ulp + 0.01
        assert ulps(got, exact, result) <= bound * SLACK
    else:
        np.testing.assert_array_equal(got, exact)


def operands(case, names, shape=SHAPE):
    drawn = [values(n, shape, span, seed) for seed, (n, span) in enumerate(zip(names, case.spans))]
    if case.nonzero:
        drawn[1] = np.where(drawn[1] == 0, drawn[1].dtype.type(1), drawn[1])
    return drawn


def run(case, names, drawn):
    common = names[0] if case.arity == 1 else promoted(*names)
    result = unary(case.name)[names[0]] if case.arity == 1 else binary_dtype(case.name, *names)
    if result == "float64" and not IS_RILL:
        pytest.skip("the peer computes some float64 functions in float32")
    function = getattr(mx, case.name)
    arrays = [array(x, n) for x, n in zip(drawn, names)]
    if result is None:
        with pytest.raises((ValueError, RuntimeError)):
            mx.eval(function(*arrays))
        return
    if common == "complex64":  # operands enter as complex64, integers rounded
        drawn = [x.astype(np.complex64) for x in drawn]
    if result == "float32" and common not in FLOATS + ("complex64",):
        common = "float32"  # integers enter a function of floats as float32
    check(case, function(*arrays), reference(case, drawn, common, result), result)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("case", UNARY, ids=lambda c: c.name)
def test_unary_values(case, name):
    run(case, [name], operands(case, [name]))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("case", BINARY, ids=lambda c: c.name)
def test_binary_values(case, name):
    run(case, [name, name], operands(case, [name, name]))


@pytest.mark.parametrize(
    "pair",
    [
        ("int8", "float32"),
        ("uint8", "int8"),
        ("bool", "int32"),
        ("float16", "bfloat16"),
        ("int32", "complex64"),
        ("float32", "float64"),
        ("uint16", "int64"),
    ],
)
@pytest.mark.parametrize("case", BINARY, ids=lambda c: c.name)
def test_binary_values_of_mixed_dtypes(case, pair):
    run(case, list(pair), [x.reshape(SHAPE) for x in operands(case, pair)])


@pytest.mark.parametrize("case", BINARY, ids=lambda c: c.name)
def test_binary_result_dtypes_of_all_pairs(case):
    for a in DTYPES:
        for b in DTYPES:
            expected = binary_dtype(case.name, a, b)
            try:
                result = getattr(mx, case.name)(array([1], a), array([1], b))
            except (ValueError, RuntimeError):
                result = None
            if isinstance(result, (list, tuple)):
                result = result[0]
            assert expected == (None if result is None else name_of(result.dtype)), (a, b)


def same_at_edges(case, actual, exact, name):
    actual, exact = to_numpy(actual), round_to(np.real(exact), name)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
    special = np.isinf(exact) | (exact == 0)
    np.testing.assert_array_equal(actual[special], exact[special])
    if case.name not in NO_SIGN_OF_ZERO:
        zero = exact == 0
        np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("name", ("float32", "float64"))
@pytest.mark.parametrize("case", UNARY, ids=lambda c: c.name)
def test_unary_edges(case, name):
    if unary(case.name)[name] != name:
        pytest.skip("not a float result")
    if case.name in ("erf", "sin") and not IS_RILL:
        pytest.skip("the peer loses the sign of zero")
    edges = round_to(EDGES, name)
    exact = reference(case, [edges], name, name)
    same_at_edges(case, getattr(mx, case.name)(array(edges, name)), exact, name)


@pytest.mark.parametrize("name", ("float32", "float64"))
@pytest.mark.parametrize("case", BINARY, ids=lambda c: c.name)
def test_binary_edges(case, name):
    if binary_dtype(case.name, name, name) != name or case.name == "divmod":
        pytest.skip("not a float result")
    edges = round_to(EDGES[:9], name)
    a, b = (x.ravel() for x in np.meshgrid(edges, edges))
    exact = reference(case, [a, b], name, name)
    same_at_edges(case, getattr(mx, case.name)(array(a, name), array(b, name)), exact, name)


@pytest.mark.parametrize(
    "name", ["isnan", "isinf", "isfinite", "isposinf", "isneginf", "logical_not"]
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_tests_of_specials(name, dtype):
    edges = round_to(EDGES, dtype)
    assert_same(getattr(mx, name)(array(edges, dtype)), BY_NAME[name].reference(edges), "bool")


@pytest.mark.parametrize(
    "name",
    [
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
    ],
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_comparisons_of_specials(name, dtype):
    a, b = (x.ravel() for x in np.meshgrid(*2 * [round_to(EDGES, dtype)]))
    expected = BY_NAME[name].reference(a, b)
    assert_same(getattr(mx, name)(array(a, dtype), array(b, dtype)), expected, "bool")


# A layout is a view in both libraries: (NumPy array) -> (array, the same in NumPy).
LAYOUTS = {
    "strided": lambda x, mx: (mx.array(x)[:, ::2], x[:, ::2]),
    "reversed": lambda x, mx: (mx.array(x)[::-1, ::-3], x[::-1, ::-3]),
    "transposed": lambda x, mx: (mx.array(x).T, x.T),
    "offset": lambda x, mx: (mx.array(x)[1:, 5:], x[1:, 5:]),
    "permuted": lambda x, mx: (
        mx.array(x.reshape(3, 3, 29)).transpose(1, 2, 0),
        x.reshape(3, 3, 29).transpose(1, 2, 0),
    ),
    "broadcast": lambda x, mx: (
        mx.broadcast_to(mx.array(x)[:1, None], (1, 5, 87)),
        np.broadcast_to(x[:1, None], (1, 5, 87)),
    ),
    "scalar": lambda x, mx: (mx.array(x)[1, 2], x[1, 2]),
    "one": lambda x, mx: (mx.array(x)[1:2, 2:3], x[1:2, 2:3]),
    "empty": lambda x, mx: (mx.array(x)[:0], x[:0]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", UNARY, ids=lambda c: c.name)
def test_unary_layouts(case, layout):
    name = "float32" if unary(case.name)["float32"] else "int32"
    view, host = LAYOUTS[layout](operands(case, [name])[0], mx)
    whole = getattr(mx, case.name)(mx.array(np.array(host, order="C")))
    assert_same(getattr(mx, case.name)(view), to_numpy(whole))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", BINARY, ids=lambda c: c.name)
def test_binary_layouts(case, layout):
    name = "float32" if binary_dtype(case.name, "float32", "float32") else "int32"
    a, b = operands(case, [name, name])
    function = getattr(mx, case.name)
    (left, host_left), (right, host_right) = (LAYOUTS[layout](x, mx) for x in (a, b))
    dense = [mx.array(np.array(x, order="C")) for x in (host_left, host_right)]
    one = np.asarray(host_right).ravel()[:1]
    pairs = [(left, right), (left, dense[1]), (dense[0], right)]
    pairs = [(pair, dense) for pair in pairs]
    if one.size:
        pairs.append(((left, mx.array(one)), (dense[0], mx.array(one))))
    for given, contiguous in pairs:
        actual, expected = function(*given), function(*contiguous)
        if not isinstance(actual, (list, tuple)):
            actual, expected = [actual], [expected]
        for x, y in zip(actual, expected):
            assert_same(x, to_numpy(y))


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 1), (1, 4)),
        ((4,), (2, 3, 4)),
        ((), (2, 3)),
        ((2, 1, 3, 1), (5, 1, 4)),
        ((0,), (1,)),
        ((3, 0), (3, 1)),
    ],
)
def test_broadcasting(shapes):
    a, b = (values("float32", s, seed=i) for i, s in enumerate(shapes))
    assert_same(mx.subtract(mx.array(a), mx.array(b)), a - b)


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"\(2,\s*3\).*\(2,?\).*cannot be broadcast"):
        mx.ones((2, 3)) + mx.ones((2,))


@pytest.mark.parametrize("case", [c for c in CASES if c.aliases], ids=lambda c: c.name)
def test_aliases(case):
    drawn = [mx.array(x) for x in operands(case, ["float32"] * case.arity)]
    for alias in case.aliases:
        assert_same(getattr(mx, alias)(*drawn), to_numpy(getattr(mx, case.name)(*drawn)))


def around_and_edges(name):
    rng = np.random.default_rng(3)
    wide = rng.standard_normal(3000) * 10.0 ** rng.uniform(-44, 38, 3000)
    return np.concatenate([EDGES, rng.standard_normal(1000), wide]).astype(name)


@rill_only
@pytest.mark.parametrize("name", ("float32", "float64"))
@pytest.mark.parametrize("exponent", (2, 0.5, 3, -1, 1, -0.5, 4))
def test_short_exponents(exponent, name):
    """They have kernels of their own, whose bits are those among other exponents."""
    x = around_and_edges(name)
    y = np.full(len(x), exponent, name)
    others = y.copy()
    others[::3] = 1.75
    power = to_numpy(array(x, name) ** exponent)
    among = to_numpy(mx.power(array(x, name), array(others, name)))
    kept = others == y
    bits = np.uint32 if name == "float32" else np.uint64
    np.testing.assert_array_equal(power.view(bits)[kept], among.view(bits)[kept])
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.longdouble), np.longdouble(exponent))
    assert ulps(power, exact, name) <= 1
    zero = exact == 0
    np.testing.assert_array_equal(np.signbit(power[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("exponent", (0, 1, 2, 3, 5, 7))
def test_powers_of_integers(exponent, name):
    x = values(name, (1037,), (0, 100))
    result = mx.power(array(x, name), array(np.full_like(x, exponent), name))
    with np.errstate(all="ignore"):
        assert_same(result, np.power(x, x.dtype.type(exponent)), name)


@rill_only
@pytest.mark.parametrize("name", INTEGERS)
def test_division_of_many_by_one(name):
    """By products and shifts: the quotients of the numbers one by one, whatever they are."""
    limits = np.iinfo(name)
    rng = np.random.default_rng(5)
    numbers = rng.integers(limits.min, limits.max, 997, name, endpoint=True)
    ends = np.array([limits.min, limits.min + 1, limits.max - 1, limits.max], name)
    numbers = np.concatenate([numbers, np.arange(100).astype(name), ends])
    divisors = {1, 2, 3, 5, 7, 10, 16, 100, limits.max, limits.max - 1, limits.max // 2 + 1}
    divisors |= {int(v) for v in rng.integers(1, limits.max, 20, name)}
    if limits.min < 0:
        divisors |= {-v for v in divisors} | {limits.min}
    for divisor in divisors:
        by = np.full_like(numbers, divisor)
        by[::30] = 1  # no longer of one
        one_by_one = to_numpy(mx.floor_divide(array(numbers, name), array(by, name)))
        result = to_numpy(mx.floor_divide(array(numbers, name), mx.array(divisor, dtype(name))))
        np.testing.assert_array_equal(result[by == divisor], one_by_one[by == divisor])
        exact = [
            abs(int(n)) // abs(divisor) * (1 if (n < 0) == (divisor < 0) else -1) for n in numbers
        ]
        wrapped = np.array([v % (1 << limits.bits) for v in exact], f"uint{limits.bits}")
        np.testing.assert_array_equal(result, wrapped.astype(name))


TURNED = [
    ((210, 130), lambda x: x.T),
    ((3, 210, 130), lambda x: x.transpose(0, 2, 1)),
    ((40, 30, 31), lambda x: x.transpose(2, 0, 1)),
    ((210, 130), lambda x: x.T[None]),
    ((1, 210, 130), lambda x: x.T[::-1]),
    ((300, 130), lambda x: x[::2].T),
    ((3, 1, 9000), lambda x: x.transpose(2, 1, 0)),
]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape, turn", TURNED, ids=[str(shape) for shape, _ in TURNED])
def test_large_operands_that_lie_otherwise(shape, turn, name):
    x = values(name, shape, (0, 9))
    host = turn(x)
    other = values(name, (2, *host.shape)[-3:], (0, 9), seed=1)
    view, y = turn(array(x, name)), array(other, name)
    assert_same(mx.maximum(view, y), np.maximum(host, other), name)
    assert_same(mx.where(y == view, view, y), np.where(other == host, host, other), name)
    if name != "bool":
        total = mx.sum(mx.minimum(view, y) == y, axis=-1)
        np.testing.assert_array_equal(to_numpy(total), (np.minimum(host, other) == other).sum(-1))


@pytest.mark.parametrize("size", (1, 7, 63, 64, 65, 1000, 4097, 70_001, 300_003))
def test_any_length(size):
    x = values("float32", (size,))
    assert (
        ulps(to_numpy(mx.exp(mx.array(x))), np.exp(x.astype(np.longdouble)), "float32") <= 2 * SLACK
    )
    assert_same(mx.array(x) * 3 - 1, x * np.float32(3) - np.float32(1))


def test_rows_and_oracle_agree():
    rows = getattr(mx, "_elementwise_rows", None)
    if rows is None:
        pytest.skip("the module shows no rows")
    rows = set(rows())
    known = {n for c in CASES for n in (c.name, *c.aliases)}
    assert not rows - known - {"where", "select"}, "rows without an oracle line"
    missing = {c.name for c in CASES if not c.composed and not rows & {c.name, *c.aliases}}
    assert not missing, "oracle lines without a row"


# Expressions with the values and dtype expected of them: weak scalars, ternaries, rounding.
NAN, INF = float("nan"), float("inf")
SINGLES = [
    (lambda: mx.add(1, 2), 3, "int32"),
    (lambda: mx.add(True, True), True, "bool"),
    (lambda: mx.add(1, 2j), 1 + 2j, "complex64"),
    (lambda: mx.exp(0), 1.0, "float32"),
    (lambda: mx.bitwise_invert(3), -4, "int32"),
    (lambda: mx.array([1, -1, 0]) / 0, [INF, -INF, NAN], "float32"),
    (lambda: mx.abs(array([-128], "int8")), [-128], "int8"),
    (lambda: mx.square(array([200], "uint8")), [64], "uint8"),
    (lambda: mx.left_shift(mx.array([1, 3]), mx.array([31, 1])), [-(2**31), 6], "int32"),
    (lambda: mx.power(mx.array([2, 3, -2, 0]), mx.array([3, 0, 3, 0])), [8, 1, -8, 1], "int32"),
    (lambda: mx.power(mx.array([2, -3]), mx.array([-1, -2])), [0, 0], "int32"),
    (lambda: mx.sign(mx.array([NAN, -3.0])), [0, -1], "float32"),
    (lambda: mx.round(mx.array([0.5, 1.5, 2.5, -0.5])), [0, 2, 2, 0], "float32"),
    (lambda: mx.round(mx.array([1234, 1250, 1350]), -2), [1200, 1200, 1400], "int32"),
    (lambda: mx.round(mx.array([1.25, -3.14159]), 1), [1.2, -3.1], "float32"),
    (lambda: mx.maximum(mx.array([NAN, 1.0]), 0), [NAN, 1], "float32"),
    (lambda: mx.clip(mx.array([1.0, 5.0, NAN]), 2, 4), [2, 4, NAN], "float32"),
    (lambda: mx.clip(mx.array([1, 5]), 2.5, 4), [2.5, 4], "float32"),
    (lambda: mx.clip(mx.array([1, 5]), 2, None), [2, 5], "int32"),
    (lambda: mx.clip(mx.array([1, 5]), None, mx.array([0, 9])), [0, 5], "int32"),
    (lambda: mx.where(mx.array([True, False]), 1, 2.0), [1, 2], "float32"),
    (lambda: mx.where(mx.array([1.0, 0.0]), array([1], "int8"), 2), [1, 2], "int8"),
    (lambda: mx.where(mx.array([[True], [False]]), mx.array([1, 2]), 0), [[1, 2], [0, 0]], "int32"),
    (lambda: mx.nan_to_num(mx.array([NAN, INF, -INF]), 7, 8, 9), [7, 8, 9], "float32"),
    (lambda: mx.nan_to_num(array([NAN, INF], "float16")), [0, 65504], "float16"),
    (lambda: mx.nan_to_num(mx.array([1, 2])), [1, 2], "int32"),
    (lambda: mx.array_equal(mx.array([NAN]), mx.array([NAN])), False, "bool"),
    (lambda: mx.array_equal(mx.array([NAN]), mx.array([NAN]), equal_nan=True), True, "bool"),
    (lambda: mx.array_equal(mx.array([1]), mx.array([1.0, 2.0])), False, "bool"),
    (lambda: mx.array_equal(mx.array([1]), mx.array([1.0])), True, "bool"),
    (lambda: mx.isclose(mx.array([1.0, NAN, INF]), mx.array([1.0, NAN, INF])), [1, 0, 1], "bool"),
    (lambda: mx.isclose(mx.array([NAN]), mx.array([NAN]), equal_nan=True), [True], "bool"),
    (lambda: mx.allclose(mx.array([1.0]), mx.array([1.1]), 0.2), True, "bool"),
    (lambda: mx.logaddexp(mx.array(1 + 1j), mx.array(2 + 1j)), 2.3132617 + 1j, "complex64"),
    (lambda: mx.stop_gradient(mx.array([1, 2])), [1, 2], "int32"),
    (lambda: mx.isnan(mx.array([complex(NAN, 1), complex(1, NAN), 1j])), [1, 1, 0], "bool"),
    (lambda: mx.array([1 + 2j, 1 + 1j, 0j]) < mx.array([1 + 3j, 2 + 0j, 0j]), [1, 1, 0], "bool"),
    (lambda: mx.array([1, 2], dtype=mx.int8) + np.ones(2, np.int64), [2, 3], "int8"),
    (lambda: mx.add(np.ones(2), 1), [2, 2], "float32"),
]


@pytest.mark.parametrize("number", range(len(SINGLES)))
def test_singles(number):
    expression, expected, name = SINGLES[number]
    result = expression()
    assert name_of(result.dtype) == name
    np.testing.assert_allclose(to_numpy(result), np.asarray(expected), rtol=1e-6)


@rill_only
@pytest.mark.parametrize("name", ("int8", "uint8", "int32", "int64", "uint64"))
@pytest.mark.parametrize("function", ("floor_divide", "remainder", "divmod"))
def test_integer_division_by_zero_and_overflow_stop_nothing(function, name):
    least = np.iinfo(name).min
    mx.eval(getattr(mx, function)(array([1, least, least], name), array([0, 0, -1], name)))
    assert_same(array([6], name) // array([3], name), [2], name)


@rill_only  # the peer's quotient of integers is not the floored one
@pytest.mark.parametrize("name", INTEGERS)
def test_divmod_of_integers(name):
    limits = np.iinfo(name)
    edge = [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, 1, 2, 7]
    edge += [-1, -2, -7] if limits.min < 0 else [3]
    a, b = (v.ravel() for v in np.meshgrid(*[np.array(edge, name)] * 2))
    with np.errstate(all="ignore"):
        quotient, rest = np.divmod(a, b)
    overflows = (a == limits.min) & (b.astype(object) == -1)
    quotient = np.where(overflows, a, quotient)  # wraps, as in C with -fwrapv
    rest = np.where(overflows, 0, rest)
    for got in (mx.divmod(array(a, name), array(b, name)), divmod(array(a, name), array(b, name))):
        assert_same(got[0], quotient, name)
        assert_same(got[1], rest, name)
    one = divmod(array(a, name)[5], array(b, name)[-1])
    np.testing.assert_array_equal([one[0].item(), one[1].item()], np.divmod(a[5], b[-1]))


BOOLEAN = ["add", "multiply", "maximum", "minimum", "equal", "not_equal", "less", "less_equal"]
BOOLEAN += ["greater", "greater_equal", "logical_and", "logical_or", "logical_xor"]
BOOLEAN += ["bitwise_and", "bitwise_or", "bitwise_xor"]


@pytest.mark.parametrize("operation", BOOLEAN)
@pytest.mark.parametrize("size", [0, 1, 4, 1003])
def test_truth_tables(operation, size):
    a, b = np.arange(size) % 2 == 1, np.arange(size) % 4 > 1
    expected = getattr(np, operation)(a, b)
    assert_same(getattr(mx, operation)(mx.array(a), mx.array(b)), expected, "bool")
    two_by_two = getattr(mx, operation)(mx.array([[False], [True]]), mx.array([False, True]))
    assert_same(two_by_two, getattr(np, operation)([[False], [True]], [False, True]), "bool")


SPECIALS = (0.0, -0.0, -1.0, INF, -INF, NAN, 1e-42, -1e-42, 1.0, 3e38)


@rill_only
@pytest.mark.parametrize("name", ("float32", "float64"))
@pytest.mark.parametrize("special", SPECIALS)
def test_a_special_among_usual_numbers(name, special):
    """Vectors of usual numbers take a shorter way to the same bits."""
    usual = values(name, (64,), (0.1, 9))
    mixed = usual.copy()
    mixed[[3, 40]] = special
    functions = [mx.log, mx.log2, mx.log10, lambda v: v**1.7, lambda v: 1.7**v, lambda v: v**v]
    for function in functions:
        got = to_numpy(function(array(mixed, name)))
        alone = [to_numpy(function(array(mixed[k : k + 1], name)))[0] for k in range(64)]
        np.testing.assert_array_equal(got, alone)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(alone))
        kept = np.setdiff1d(np.arange(64), [3, 40])
        np.testing.assert_array_equal(got[kept], to_numpy(function(array(usual, name)))[kept])


@rill_only
@pytest.mark.parametrize("name", ("float32", "float64"))
def test_more_values_at_once_than_registers(name):
    """A tree of sums and products whose operands and result lie in memory themselves."""
    leaves = [values(name, (5000,), (1, 2), seed) for seed in range(64)]

    def tree(parts, level=0):
        if len(parts) == 1:
            return parts[0]
        middle = len(parts) // 2
        a, b = tree(parts[:middle], level + 1), tree(parts[middle:], level + 1)
        return a * b if level % 2 else a + b

    assert_same(tree([array(leaf, name) for leaf in leaves]), tree(leaves), name)
