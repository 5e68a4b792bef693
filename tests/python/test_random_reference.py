"""The NumPy reference of the random numbers, against published vectors and against MLX."""

import math

import numpy as np
import pytest
import reference_random as ref

SHAPES = [
    (),
    (0,),
    (1,),
    (2,),
    (3,),
    (8,),
    (33,),
    (1000,),
    (1001,),
    (0, 4),
    (3, 5),
    (4, 6),
    (7, 1, 3),
]
SEEDS = [0, 1, 42, 2**32 - 1, 2**32, 0x123456789ABCDEF0, 2**64 - 1]
TYPES = ["float32", "float16", "bfloat16"]
BOUNDS = [(0, 1), (-1, 1), (2, 3), (-0.3, 0.7), (0.1, 0.3), (5, 1), (1000, 1010), (0, 0)]


@pytest.fixture(scope="module")
def mx():
    """MLX itself: what this file compares with, whichever module is under test."""
    return pytest.importorskip("mlx.core")


def host(array, mx):
    """An MLX array as NumPy's, halves widened to float32."""
    if array.dtype in (mx.float16, mx.bfloat16):
        array = array.astype(mx.float32)
    return np.array(array)


def ulps(a, b):
    """The largest distance in units in the last place of float32."""
    if a.size == 0:
        return 0
    return float(np.max(np.abs(a.astype(np.float64) - b) / np.spacing(np.abs(b))))


@pytest.mark.parametrize(
    "key, counter, block",
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_vectors(key, counter, block):
    assert tuple(int(x) for x in ref.threefry(key, *counter)) == block


def test_inverse_erf_inverts():
    for u in (0.0, 1e-6, 0.01, 0.5, 0.9, 0.999, 1 - 2**-24):
        assert math.erf(ref.inverse_erf_of(u)) == pytest.approx(u, rel=1e-15, abs=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_key_and_split(mx, seed):
    key = mx.random.key(seed)
    assert np.array_equal(ref.make_key(seed), np.array(key))
    for num in (0, 1, 2, 3, 8, 101):
        assert np.array_equal(
            ref.split(ref.make_key(seed), num), np.array(mx.random.split(key, num))
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_uniform(mx, seed, dtype):
    for shape in SHAPES:
        for low, high in BOUNDS:
            got = mx.random.uniform(low, high, shape, getattr(mx, dtype), mx.random.key(seed))
            expected = ref.uniform(ref.make_key(seed), low, high, shape, dtype)
            assert got.shape == expected.shape
            assert np.array_equal(host(got, mx), expected), (shape, low, high)


@pytest.mark.parametrize("dtype", TYPES)
def test_uniform_between_arrays(mx, dtype):
    low = np.array([[0.0], [-2.5], [7.0]], np.float32)
    high = np.array([1.0, 100.0], np.float32)
    got = mx.random.uniform(
        mx.array(low), mx.array(high), (5, 3, 2), getattr(mx, dtype), mx.random.key(3)
    )
    assert np.array_equal(host(got, mx), ref.uniform(ref.make_key(3), low, high, (5, 3, 2), dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_uniform_stays_below_one(mx, dtype):
    shape, key = (1 << 20,), ref.make_key(9)
    assert ref.bits(key, shape).max() == 0xFFFFFFFE
    got = host(mx.random.uniform(0, 1, shape, getattr(mx, dtype), mx.array(key)), mx)
    assert np.array_equal(got, ref.uniform(key, 0, 1, shape, dtype))
    assert got.max() < 1


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("loc, scale", [(None, None), (1.5, None), (None, 3.3), (-2.0, 0.3)])
def test_normal(mx, dtype, loc, scale):
    for seed in (0, 7, 2**40 + 1):
        for shape in SHAPES:
            got = mx.random.normal(shape, getattr(mx, dtype), loc, scale, mx.random.key(seed))
            expected = ref.normal(ref.make_key(seed), shape, dtype, loc, scale)
            got = host(got, mx)
            if dtype == "float32" and loc is None:
                assert ulps(got, expected) <= 5
            else:
                step = {"float32": 2**-21, "float16": 2**-10, "bfloat16": 2**-7}[dtype]
                assert np.allclose(got, expected, rtol=step, atol=step)


def test_complex_normal(mx):
    for shape in SHAPES:
        got = np.array(mx.random.normal(shape, mx.complex64, 1 + 2j, 0.3, mx.random.key(9)))
        expected = ref.normal(ref.make_key(9), shape, "complex64", 1 + 2j, 0.3)
        assert np.allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool"]
)
@pytest.mark.parametrize("low, high", [(0, 10), (1, 2), (5, 5), (10, 0), (0, 100), (0, 1)])
def test_randint(mx, dtype, low, high):
    kind = mx.bool_ if dtype == "bool" else getattr(mx, dtype)
    for seed in (0, 2**63):
        for shape in SHAPES:
            got = mx.random.randint(low, high, shape, kind, mx.random.key(seed))
            expected = ref.randint(ref.make_key(seed), low, high, shape, dtype)
            assert np.array_equal(np.array(got), expected), shape


@pytest.mark.parametrize(
    "dtype, low, high",
    [
        ("int32", -7, -2),
        ("int32", -(2**31), 2**31 - 1),
        ("int32", 2**24, 2**24 + 3),
        ("int64", -(2**40), 2**40),
        ("int64", 0, 2**62),
        ("uint32", 0, 2**32 - 1),
        ("uint8", 0, 256),
        ("uint8", 0, 300),
        ("uint8", -5, 10),
        ("int8", 0, 200),
        ("int8", -128, 127),
    ],
)
def test_randint_at_the_edges(mx, dtype, low, high):
    got = mx.random.randint(low, high, (10001,), getattr(mx, dtype), mx.random.key(1))
    assert np.array_equal(np.array(got), ref.randint(ref.make_key(1), low, high, (10001,), dtype))


def test_randint_between_arrays(mx):
    low, high = np.array([[0], [-5]], np.int32), np.array([3, 100, 2**20], np.int32)
    got = mx.random.randint(mx.array(low), mx.array(high), (4, 2, 3), key=mx.random.key(8))
    assert np.array_equal(np.array(got), ref.randint(ref.make_key(8), low, high, (4, 2, 3)))


@pytest.mark.parametrize("p", [0.5, 0.0, 1.0, 0.1, 0.75, 0.9999999, 1e-6, -1.0, 2.0, float("nan")])
def test_bernoulli(mx, p):
    for seed in (0, 13):
        for shape in [*SHAPES, (1 << 22,)]:
            got = mx.random.bernoulli(p, shape, mx.random.key(seed))
            assert np.array_equal(np.array(got), ref.bernoulli(ref.make_key(seed), p, shape))


def test_bernoulli_of_an_array(mx):
    p = np.linspace(0, 1, 1001, dtype=np.float32)
    for shape in (None, (300, 1001)):
        got = mx.random.bernoulli(mx.array(p), shape, mx.random.key(4))
        assert np.array_equal(np.array(got), ref.bernoulli(ref.make_key(4), p, shape))


def test_derived_distributions(mx):
    key = ref.make_key(21)
    for shape in SHAPES:
        got = np.array(mx.random.gumbel(shape, key=mx.random.key(21)))
        assert np.allclose(got, ref.gumbel(key, shape), rtol=1e-5, atol=1e-6)
        got = np.array(mx.random.laplace(shape, loc=1.5, scale=0.3, key=mx.random.key(21)))
        assert np.allclose(got, ref.laplace(key, shape, 1.5, 0.3), rtol=1e-5, atol=1e-6)
        for bounds in ((-1, 1), (0.5, 3), (-2, 0.25)):
            got = np.array(mx.random.truncated_normal(*bounds, shape, key=mx.random.key(21)))
            assert np.allclose(got, ref.truncated_normal(key, *bounds, shape), rtol=1e-4, atol=1e-5)


def test_permutation(mx):
    for n in (1, 2, 5, 1000, 4097):
        key, got = ref.make_key(n), mx.random.permutation(n, key=mx.random.key(n))
        assert np.array_equal(np.array(got), ref.permutation(key, n))
    table = np.arange(30).reshape(5, 6)
    for axis in (0, 1):
        got = mx.random.permutation(mx.array(table), axis=axis, key=mx.random.key(6))
        order = ref.permutation(ref.make_key(6), table.shape[axis])
        assert np.array_equal(np.array(got), np.take(table, order, axis))


def test_categorical_is_the_argmax_of_gumbel_noise(mx):
    logits = np.random.default_rng(0).normal(size=(5, 7, 11)).astype(np.float32)
    key = mx.random.key(2)
    for axis in range(3):
        got = mx.random.categorical(mx.array(logits), axis, key=key)
        noise = ref.gumbel(ref.make_key(2), logits.shape)
        assert np.array_equal(np.array(got), np.argmax(logits + noise, axis))
        got = mx.random.categorical(mx.array(logits), axis, num_samples=4, key=key)
        noise = ref.gumbel(ref.make_key(2), (*logits.shape, 4))
        assert np.array_equal(np.array(got), np.argmax(logits[..., None] + noise, axis))


@pytest.mark.parametrize("logits, how, shape", ref.ONE_DISTRIBUTION, ids=lambda x: str(x)[:20])
def test_categorical_of_one_distribution_inverts_it(mx, logits, how, shape):
    for seed in range(20):
        got = mx.random.categorical(mx.array(logits), key=mx.random.key(seed), **how)
        assert np.array_equal(
            np.array(got), ref.categorical_of_one(ref.make_key(seed), logits, shape)
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_global_state(mx, seed):
    state = ref.State(seed)
    mx.random.seed(seed)
    for shape in SHAPES:
        assert np.array_equal(
            np.array(mx.random.uniform(shape=shape)), ref.uniform(state.next(), shape=shape)
        )
        assert np.array_equal(
            np.array(mx.random.randint(0, 9, shape)), ref.randint(state.next(), 0, 9, shape)
        )
        assert np.array_equal(
            np.array(mx.random.bernoulli(0.3, shape)), ref.bernoulli(state.next(), 0.3, shape)
        )
        assert np.array_equal(np.array(mx.random.state[0]), state.key)
