"""Random graphs from eight threads over six streams, of arrays that the threads share."""

import numpy as np
import pytest
import reference_random
from support import mx, rill_only, to_numpy
from test_stress import in_threads

pytestmark = rill_only

THREADS, STREAMS, STEPS, SMALL, LARGE = 8, 6, 200, 16, 300
ROWS = np.array([3, 0, 0, 2, 15])


def numbers(x):
    return mx.random.randint(-9, 9, x.shape, key=mx.random.key(x.shape[0])).astype(mx.float32)


def numbers_on_host(x):
    key = reference_random.make_key(x.shape[0])
    return reference_random.randint(key, -9, 9, x.shape).astype(np.float32)


def rows_added(x, y):
    result = x.copy()
    np.add.at(result, ROWS, y[ROWS])
    return result


def columns_set(m, x, y):
    x = m.array(x)  # of its own
    x[:, 1::3] = y[:, ::3][:, : x[:, 1::3].shape[1]]
    return x


def looped(x, y):
    return mx.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] + y), (mx.array(0), x))[1]


# Of whole numbers below 31 in magnitude, which float32 computes exactly: (Rill's, NumPy's).
OPERATIONS = {
    "add": (lambda x, y: x + y, lambda x, y: x + y),
    "chain": (
        lambda x, y: mx.where(x > y, mx.abs(x) * 3 - y, mx.square(y)),
        lambda x, y: np.where(x > y, np.abs(x) * 3 - y, np.square(y)),
    ),
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y),
    "matmul of transposed": (lambda x, y: x.T @ y[::-1], lambda x, y: x.T @ y[::-1]),
    "vector": (lambda x, y: x + y @ x[0], lambda x, y: x + y @ x[0]),
    "sum": (lambda x, y: x - y.sum(0), lambda x, y: x - y.sum(0)),
    "sum of all": (lambda x, y: x + y.sum(), lambda x, y: x + y.sum()),
    "max": (lambda x, y: x * y.max(1, keepdims=True), lambda x, y: x * y.max(1, keepdims=True)),
    "cumsum": (lambda x, y: mx.cumsum(x, 1) - y, lambda x, y: np.cumsum(x, 1) - y),
    "sort": (lambda x, y: mx.sort(x, 0) + y, lambda x, y: np.sort(x, 0) + y),
    "random": (lambda x, y: x + numbers(y), lambda x, y: x + numbers_on_host(y)),
    "gather": (
        lambda x, y: mx.concatenate([x[mx.array(ROWS)], y], 0)[: len(x)],
        lambda x, y: np.concatenate([x[ROWS], y], 0)[: len(x)],
    ),
    "rows added": (lambda x, y: x.at[mx.array(ROWS)].add(y[mx.array(ROWS)]), rows_added),
    "columns set": (
        lambda x, y: columns_set(mx, x, y),
        lambda x, y: columns_set(np, x, y),
    ),
    "loop": (looped, lambda x, y: x + 5 * y),
    "compiled": (mx.compile(lambda x, y: (x * 2 - y).T + 1), lambda x, y: (x * 2 - y).T + 1),
}


class Shared:
    """Arrays with the values that NumPy has for them, which any thread adds to and takes."""

    def __init__(self, size):
        host = np.arange(size * size, dtype=np.float32).reshape(size, size) % 31
        self.pairs = [(mx.array(host), host), (mx.array(host.T), host.T)]

    def taken(self, rng):
        return self.pairs[rng.integers(max(0, len(self.pairs) - 12), len(self.pairs))]


def step(rng, shared, stream):
    """One operation on two arrays; then nothing, or one of the ways to compute."""
    ours, theirs = OPERATIONS[rng.choice(list(OPERATIONS))]
    (x, x_host), (y, y_host) = shared.taken(rng), shared.taken(rng)
    with mx.stream(stream):
        made, host = ours(x, y) % 31, theirs(x_host, y_host) % 31
    fate = rng.random()
    if fate < 0.2:
        mx.async_eval(made)
    elif fate < 0.3:
        mx.eval(made, x)
    elif fate < 0.4:
        np.testing.assert_array_equal(to_numpy(made), host)
    shared.pairs.append((made, host))


@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_of_arrays_that_threads_share(seed):
    streams = [mx.new_stream(mx.cpu) for _ in range(STREAMS)]
    small, large = Shared(SMALL), Shared(LARGE)

    def work(number):
        rng = np.random.default_rng([seed, number])
        for _ in range(STEPS):
            step(rng, large if rng.random() < 0.1 else small, streams[rng.integers(STREAMS)])

    in_threads(THREADS, work)
    for x, host in small.pairs + large.pairs:
        np.testing.assert_array_equal(to_numpy(x), host)
