"""One operation on halves takes one pass; the bits are those of a longer way in float32."""

import numpy as np
import pytest
from dtypes_table import binary, unary
from oracle import CASES
from support import IS_RILL, dtype, mx

if not IS_RILL:
    pytest.skip("the steps of Rill", allow_module_level=True)

PATTERNS = np.arange(1 << 16, dtype=np.uint16)  # every half
OF_FLOATS = {
    1: lambda name: unary(name)["float16"],
    2: lambda name: binary(name, "float16", "float16"),
}
ROWS = [c for c in CASES if not c.composed and OF_FLOATS[c.arity](c.name)]


def assert_equal(got, expected):
    """The same numbers, with their signs, and nan where there is nan."""
    got, expected = (v if isinstance(v, (list, tuple)) else [v] for v in (got, expected))
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        a, b = (np.array(v.astype(mx.float32)) for v in (a, b))
        np.testing.assert_array_equal(a, b)
        real = ~np.isnan(a)
        np.testing.assert_array_equal(np.signbit(a)[real], np.signbit(b)[real])


def halves(name):
    return mx.array(PATTERNS).view(dtype(name))


def in_float32(function, name, *operands):
    """The result by float32, rounded in a step of its own."""
    results = function(*(x.astype(mx.float32) for x in operands))
    mx.eval(results)
    parts = results if isinstance(results, (list, tuple)) else [results]
    return [p.astype(dtype(name)) if p.dtype == mx.float32 else p for p in parts]


def assert_same_bits_in_a_chain(function, *operands):
    """Of the operation by itself and of one in a program with others, nan with its bits."""
    alone, together = function(*operands), function(*operands)
    mx.eval(alone)
    alone, together = (v if isinstance(v, (list, tuple)) else [v] for v in (alone, together))
    mx.eval([(part, mx.isnan(part)) for part in together])
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(bits(a), bits(b))


def bits(x):
    return np.array(x.view(mx.uint16) if x.itemsize == 2 else x)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("operation", [c.name for c in ROWS if c.arity == 1])
def test_every_half(operation, name):
    function = getattr(mx, operation)
    x = halves(name)
    assert_equal(function(x), in_float32(function, name, x))
    assert_same_bits_in_a_chain(function, x)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("operation", [c.name for c in ROWS if c.arity == 2])
def test_pairs_of_halves(operation, name):
    function = getattr(mx, operation)
    x = halves(name)
    y = mx.take(x, mx.array(np.random.default_rng(0).permutation(1 << 16)))
    mx.eval(x, y)
    assert_equal(function(x, y), in_float32(function, name, x, y))
    assert_same_bits_in_a_chain(function, x, y)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 17, 63, 5000, 1_000_003])
def test_sizes_and_layouts(size, name):
    x = mx.random.normal((size,), key=mx.random.key(size)).astype(dtype(name))
    both = mx.stack([x, x + 1])
    mx.eval(x, both)
    for y in (x, x[::-1], both.T, both[:, ::2], mx.broadcast_to(x[:1], (3, min(size, 1)))):
        for function in (mx.abs, mx.exp, mx.negative, lambda v: mx.maximum(v, v[:1] * 0)):
            assert_equal(function(y), in_float32(function, name, y))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_what_is_stored_and_read_is_rounded_once(name):
    """Of a chain, where the result of each operation is kept."""
    x = mx.random.normal((70_001,), key=mx.random.key(1)).astype(dtype(name))
    steps = [mx.exp, lambda v: v * 3, mx.abs, lambda v: v.astype(mx.float32), mx.sqrt,
             lambda v: v.astype(dtype(name)), mx.sin]  # fmt: skip
    kept = [x]
    for step in steps:
        kept.append(step(kept[-1]))
    mx.eval(kept)
    alone = [x]
    for step in steps:
        alone.append(step(alone[-1]))
        mx.eval(alone[-1])
    for together, apart in zip(kept, alone):
        assert_equal(together, apart)


def test_an_operand_that_dies_gives_its_memory():
    expected = PATTERNS ^ np.uint16(0x8000)
    expected[(PATTERNS & 0x7C00 == 0x7C00) & (PATTERNS & 0x3FF != 0)] = 0
    x = mx.contiguous(mx.array(PATTERNS).view(mx.float16))
    mx.eval(x)
    x = mx.where(mx.isnan(x), mx.array(0, mx.float16), x)
    mx.eval(x)
    x = mx.negative(x)
    mx.eval(x)
    got = np.array(x.view(mx.uint16))
    np.testing.assert_array_equal(got & 0x7FFF, expected & 0x7FFF)
    real = expected & 0x7FFF != 0
    np.testing.assert_array_equal(got[real], expected[real])


def test_reductions_of_one_operation():
    x = mx.random.normal((300, 1000), key=mx.random.key(2)).astype(mx.float16)
    apart = mx.abs(x)
    mx.eval(x, apart)
    for axis in (None, 0, 1):
        assert_equal(mx.sum(mx.abs(x), axis), mx.sum(apart, axis))
