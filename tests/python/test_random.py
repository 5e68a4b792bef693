"""Random numbers: the same as the peer's for the same key, and of the right distribution."""

import threading

import numpy as np
import pytest
import reference_random as ref
from support import (
    INTEGERS,
    IS_RILL,
    assert_same,
    check_row,
    dtype,
    mx,
    name_of,
    rill_only,
    rows,
    to_numpy,
    value,
)

KEY = mx.random.key(7)

GOLDEN = [  # recorded from MLX 0.32.2
    ("mx.random.key(2**40 + 3)", [256, 3], "uint32"),
    ("mx.random.split(KEY)", [[966301609, 989289821], [1948237315, 1058547403]], "uint32"),
    (
        "mx.random.split(KEY, 3)",
        [[276534068, 861967409], [1905761346, 1641862660], [2900896126, 1402713516]],
        "uint32",
    ),
    (
        "mx.random.uniform(shape=(5,), key=KEY)",
        [0.064385608, 0.20069243, 0.65045923, 0.38227594, 0.67541748],
        "float32",
    ),
    ("mx.random.uniform(shape=(), key=KEY)", 0.84410697, "float32"),
    (
        "mx.random.uniform(-2, 3, (4,), key=KEY)",
        [-0.87507689, -0.84831512, 0.26804686, -0.76768863],
        "float32",
    ),
    (
        "mx.random.uniform(mx.array([0, 10]), mx.array([1.0, 20]), (3, 2), key=KEY)",
        [[0.064385608, 12.006925], [0.44371966, 13.82276], [0.67541748, 13.265947]],
        "float32",
    ),
    (
        "mx.random.uniform(shape=(3,), dtype=mx.float16, key=KEY)",
        [0.22497559, 0.42626953, 0.45361328],
        "float16",
    ),
    (
        "mx.random.uniform(shape=(3,), dtype=mx.bfloat16, key=KEY)",
        [0.22460938, 0.42578125, 0.453125],
        "bfloat16",
    ),
    (
        "mx.random.normal((5,), key=KEY)",
        [-1.518965, -0.83915031, 0.38656068, -0.29950869, 0.45492253],
        "float32",
    ),
    (
        "mx.random.normal((3,), mx.float16, key=KEY)",
        [-0.75537109, -0.18603516, -0.11651611],
        "float16",
    ),
    (
        "mx.random.normal((3,), mx.complex64, key=KEY)",
        [
            complex(-1.0740705, -0.59336889),
            complex(-0.10008746, -0.21178463),
            complex(0.32167882, -0.31772843),
        ],
        "complex64",
    ),
    (
        "mx.random.normal((3,), loc=3, scale=2, key=KEY)",
        [1.4890676, 2.6276841, 2.7669053],
        "float32",
    ),
    ("mx.random.randint(0, 10, (9,), key=KEY)", [8, 2, 2, 8, 5, 4, 2, 6, 6], "int32"),
    ("mx.random.randint(-5, 5, (5,), mx.int8, key=KEY)", [-5, -3, 1, -2, 1], "int8"),
    ("mx.random.randint(0, mx.array([1, 10]), (3, 2), key=KEY)", [[0, 2], [0, 3], [0, 3]], "int32"),
    (
        "mx.random.bernoulli(0.3, (9,), key=KEY)",
        [False, True, True, False, False, False, True, False, False],
        "bool",
    ),
    ("mx.random.bernoulli(mx.array([0.0, 1.0]), key=KEY)", [False, True], "bool"),
    (
        "mx.random.truncated_normal(-1, 1, (4,), key=KEY)",
        [-0.48948294, -0.47918394, -0.079469539, -0.44845489],
        "float32",
    ),
    (
        "mx.random.gumbel((4,), key=KEY)",
        [-0.39993194, -0.38404527, 0.23506567, -0.33686239],
        "float32",
    ),
    (
        "mx.random.laplace((4,), key=KEY)",
        [0.79857594, 0.77506453, 0.097371675, 0.70739913],
        "float32",
    ),
    ("mx.random.categorical(mx.array([[0.0, 1, 2], [5, 0, 0]]), key=KEY)", [2, 0], "uint32"),
    (
        "mx.random.categorical(mx.zeros((2, 3)), shape=(3, 2), key=KEY)",
        [[1, 2], [2, 1], [2, 1]],
        "uint32",
    ),
    ("mx.random.permutation(6, key=KEY)", [0, 1, 5, 3, 2, 4], "uint32"),
]

AFTER_SEED_3 = [[0.52085847, 0.24485554], [-0.085987791, -1.8563229], [24, 91, 37]]


@rows(GOLDEN)
def test_known_draws(row):
    expression, expected, name = row
    result = value(expression, KEY=KEY)
    assert name_of(result.dtype) == name
    np.testing.assert_allclose(
        to_numpy(result), expected, rtol=1e-3 if "16" in name else 3e-6, atol=1e-6
    )


def test_known_sequence_after_a_seed():
    mx.random.seed(3)
    drawn = [mx.random.uniform(shape=(2,)), mx.random.normal((2,)), mx.random.randint(0, 100, (3,))]
    for result, expected in zip(drawn, AFTER_SEED_3):
        np.testing.assert_allclose(to_numpy(result), expected, rtol=3e-6)


SAME_AS_PEER = [
    "mx.random.uniform(shape=S, key=K)",
    "mx.random.uniform(shape=S, dtype=mx.float16, key=K)",
    "mx.random.uniform(shape=S, dtype=mx.bfloat16, key=K)",
    "mx.random.normal(S, key=K)",
    "mx.random.normal(S, mx.bfloat16, key=K)",
    "mx.random.randint(-9, 1000, S, key=K)",
    "mx.random.randint(0, 200, S, mx.uint8, key=K)",
    "mx.random.bernoulli(0.3, S, key=K)",
    "mx.random.gumbel(S, key=K)",
    "mx.random.laplace(S, key=K)",
    "mx.random.truncated_normal(-1, 2, S, key=K)",
    "mx.random.split(K, 5)",
    "mx.random.permutation(100, key=K)",
    "mx.random.permutation(mx.arange(35).reshape(5, 7), 1, key=K)",
    "mx.random.categorical(mx.arange(24.0).reshape(4, 6) / 6, key=K)",
    "mx.random.categorical(mx.arange(24.0).reshape(4, 6) / 6, 0, num_samples=3, key=K)",
]


@pytest.mark.skipif(not IS_RILL, reason="compares with the peer itself")
@pytest.mark.parametrize("expression", SAME_AS_PEER)
def test_same_as_the_peer(expression):
    peer = pytest.importorskip("mlx.core")
    for seed, shape in enumerate([(), (1,), (7,), (8, 3), (1000,), (3, 33, 5), (100_001,)]):
        mine = value(expression, S=shape, K=mx.random.key(seed))
        theirs = eval(expression, {"mx": peer, "S": shape, "K": peer.random.key(seed)})
        theirs = np.array(
            theirs.astype(peer.float32) if "bfloat16" in str(theirs.dtype) else theirs
        )
        np.testing.assert_allclose(
            to_numpy(mine), theirs, rtol=1e-2 if "float16" in expression else 1e-5, atol=1e-6
        )


def test_a_key_determines_the_draw():
    first, again = (mx.random.normal((100,), key=KEY) for _ in range(2))
    assert_same(first, to_numpy(again))
    other = mx.random.normal((100,), key=mx.random.key(8))
    assert (to_numpy(first) != to_numpy(other)).all()
    halves = mx.random.split(KEY)
    assert (to_numpy(halves[0]) != to_numpy(halves[1])).any()


def test_the_global_state_advances():
    mx.random.seed(1)
    first, second = mx.random.uniform(shape=(10,)), mx.random.uniform(shape=(10,))
    assert (to_numpy(first) != to_numpy(second)).any()
    mx.random.seed(1)
    assert_same(mx.random.uniform(shape=(10,)), to_numpy(first))


def test_an_unevaluated_draw_is_fixed_when_made():
    mx.random.seed(1)
    x = mx.random.uniform(shape=(10,))
    expected = to_numpy(mx.random.uniform(shape=(10,), key=mx.random.key(0)) * 0 + x)
    mx.random.uniform(shape=(10,))
    assert_same(x, expected)


def test_a_draw_is_the_same_on_any_stream():
    draws = [
        to_numpy(mx.random.normal((1000,), key=KEY, stream=mx.new_stream(mx.cpu))) for _ in range(3)
    ]
    assert (draws[0] == draws[1]).all() and (draws[0] == draws[2]).all()


N = 200_000


# (draw, mean, standard deviation, least, largest)
MOMENTS = [
    ("mx.random.uniform(shape=(N,), key=KEY)", 0.5, 12**-0.5, 0, 1),
    ("mx.random.uniform(-3, 5, (N,), key=KEY)", 1, 8 / 12**0.5, -3, 5),
    ("mx.random.uniform(shape=(N,), dtype=mx.float16, key=KEY)", 0.5, 12**-0.5, 0, 1),
    ("mx.random.uniform(shape=(N,), dtype=mx.bfloat16, key=KEY)", 0.5, 12**-0.5, 0, 1),
    ("mx.random.normal((N,), key=KEY)", 0, 1, -6, 6),
    ("mx.random.normal((N,), loc=2, scale=3, key=KEY)", 2, 3, -20, 20),
    ("mx.random.normal((N,), mx.float16, key=KEY)", 0, 1, -6, 6),
    ("mx.random.randint(-3, 7, (N,), key=KEY)", 1.5, (99 / 12) ** 0.5, -3, 6),
    ("mx.random.randint(0, 256, (N,), mx.uint8, key=KEY)", 127.5, (65535 / 12) ** 0.5, 0, 255),
    ("mx.random.bernoulli(0.3, (N,), key=KEY)", 0.3, 0.21**0.5, 0, 1),
    ("mx.random.gumbel((N,), key=KEY)", np.euler_gamma, np.pi / 6**0.5, -4, 30),
    ("mx.random.laplace((N,), key=KEY)", 0, 2**0.5, -30, 30),
    ("mx.random.truncated_normal(-1, 1, (N,), key=KEY)", 0, 0.5396, -1, 1),
    ("mx.random.categorical(mx.zeros(10), num_samples=N, key=KEY)", 4.5, (99 / 12) ** 0.5, 0, 9),
]


@rows(MOMENTS)
def test_moments(row):
    expression, mean, deviation, least, largest = row
    drawn = to_numpy(value(expression, KEY=KEY, N=N)).astype(np.float64)
    assert drawn.shape == (N,)
    assert abs(drawn.mean() - mean) < 5 * deviation / N**0.5 + 2e-3
    assert abs(drawn.std() - deviation) < 0.01 * deviation
    assert least <= drawn.min() and drawn.max() <= largest


def test_neighbours_are_not_correlated():
    drawn = to_numpy(mx.random.normal((N,), key=KEY)).astype(np.float64)
    for lag in (1, 2, 3, N // 2):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 0.02


@pytest.mark.parametrize("name", INTEGERS)
def test_randint_dtypes(name):
    drawn = mx.random.randint(0, 100, (50, 3), dtype(name), KEY)
    assert name_of(drawn.dtype) == name and drawn.shape == (50, 3)
    assert to_numpy(drawn).min() >= 0 and to_numpy(drawn).max() < 100


def test_permutations():
    assert sorted(mx.random.permutation(1000, key=KEY).tolist()) == list(range(1000))
    shuffled = to_numpy(mx.random.permutation(mx.arange(60).reshape(20, 3), key=KEY))
    assert sorted(map(tuple, shuffled)) == [tuple(r) for r in np.arange(60).reshape(20, 3)]


@rill_only
@pytest.mark.parametrize("draw", ["uniform", "normal", "gumbel", "laplace"])
def test_float64(draw):
    drawn = getattr(mx.random, draw)(shape=(N,), dtype=mx.float64, key=KEY)
    assert name_of(drawn.dtype) == "float64"
    assert len(np.unique(to_numpy(drawn))) > 0.99 * N


ROWS = [
    ("mx.random.uniform(shape=(0,), key=KEY)", [], "float32"),
    ("mx.random.normal((2, 0), key=KEY)", [[], []], "float32"),
    ("mx.random.randint(5, 5, (2,), key=KEY)", [5, 5], "int32"),
    ("mx.random.split(KEY, 0).shape", (0, 2)),
    ("mx.random.multivariate_normal(mx.zeros(2), mx.eye(2), (3,), key=KEY).shape", (3, 2)),
    ("mx.random.uniform(shape=(2,), dtype=mx.int32, key=KEY)", ValueError),
    ("mx.random.normal((2,), mx.int32, key=KEY)", ValueError),
    ("mx.random.randint(0, 10, (2,), mx.float32, key=KEY)", ValueError),
    ("mx.random.uniform(shape=(-1,), key=KEY)", ValueError),
    ("mx.random.uniform(shape=(2,), key=mx.array([1]))", ValueError),
    ("mx.random.uniform(shape=(2,), key=mx.zeros(3, mx.uint32))", ValueError),
    ("mx.random.uniform(shape=(2,), key=3)", TypeError),
    ("mx.random.seed('a')", TypeError),
    ("mx.random.key(-1)", TypeError),
]


@rows(ROWS)
def test_rows(row):
    check_row(row, KEY=KEY)


def test_threads_draw_without_harm():
    drawn, lock = [], threading.Lock()

    def work():
        mx.random.seed(5)
        items = [mx.random.uniform(shape=(10,)).tolist() for _ in range(20)]
        with lock:
            drawn.extend(items)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 80 and all(0 <= v < 1 for item in drawn for v in item)


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_gradients_go_through_the_parameters(draw):
    key = mx.random.key(3)
    functions = {
        "uniform": lambda a: mx.random.uniform(-a, a, (5,), key=key),
        "normal": lambda a: mx.random.normal((5,), loc=a, scale=a, key=key),
    }
    f = functions[draw]
    for gradient in (mx.grad(lambda a: f(a).sum()), mx.compile(mx.grad(lambda a: f(a).sum()))):
        np.testing.assert_allclose(gradient(mx.array(2.0)).item(), f(2.0).sum().item() / 2, 1e-5)
    (tangent,) = mx.jvp(f, [mx.array(2.0)], [mx.array(1.0)])[1]
    np.testing.assert_allclose(to_numpy(tangent), to_numpy(f(2.0)) / 2, 1e-5, 1e-6)


@pytest.mark.parametrize("logits, how, shape", ref.ONE_DISTRIBUTION, ids=lambda x: str(x)[:20])
def test_categorical_of_one_distribution_inverts_it(logits, how, shape):
    for seed in range(20):
        got = mx.random.categorical(mx.array(logits), key=mx.random.key(seed), **how)
        assert got.dtype == mx.uint32
        expected = ref.categorical_of_one(ref.make_key(seed), logits, shape)
        # Sums in another order may put a number on the other side of a bound.
        assert np.mean(np.array(got) != expected) < 1e-3


@rill_only  # MLX draws the last where a logit is nan
@pytest.mark.parametrize(
    "logits, expected",
    [
        ([np.inf, 1.0], {0}),
        ([np.nan, 1.0, 1.0], {1, 2}),
        ([-np.inf, -np.inf], {0, 1}),
        ([0.0, -np.inf], {0}),
        ([np.nan, np.nan], {0, 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [100, 200_000])
def test_categorical_of_unusual_logits(logits, expected, samples):
    got = mx.random.categorical(mx.array(logits), num_samples=samples, key=mx.random.key(0))
    assert set(got.tolist()) == expected
