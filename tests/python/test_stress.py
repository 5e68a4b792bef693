"""Threads, many streams and random graphs: any thread may use any stream and any array."""

import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import assert_same, mx, rill_only, to_numpy


def in_threads(count, work):
    """Runs work(0) to work(count - 1), each in a thread; raises the first error."""
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


@rill_only
def test_eight_threads_share_one_stream_for_a_hundred_thousand_operations():
    stream, results = mx.new_stream(mx.cpu), [None] * 8

    def work(number):
        x = mx.full((16,), number)
        for i in range(12_500):
            x = mx.add(x, 1, stream=stream)
            if i % 250 == 0:
                mx.eval(x)
        results[number] = x

    in_threads(8, work)
    for number, x in enumerate(results):
        assert_same(x, np.full(16, number + 12_500))


@rill_only
def test_eight_threads_evaluate_one_array():
    arrays, expected = [], np.arange(1000) + 20
    for _ in range(50):
        x = mx.arange(1000)
        for _ in range(20):
            x = x + 1
        arrays.append(x)
    barrier = threading.Barrier(8)

    def work(number):
        for x in arrays:
            barrier.wait(60)
            np.testing.assert_array_equal(to_numpy(x), expected)

    in_threads(8, work)


@rill_only
def test_eight_threads_evaluate_overlapping_graphs():
    graphs = []
    for _ in range(20):
        shared = mx.exp(mx.zeros(5000)) * 3
        nodes = [shared + n for n in range(8)]
        graphs.append([sum(nodes[: n + 1], mx.zeros(5000)) for n in range(8)])
    barrier = threading.Barrier(8)

    def work(number):
        expected = np.full(5000, sum(3 + n for n in range(number + 1)))
        for totals in graphs:
            barrier.wait(60)
            np.testing.assert_array_equal(to_numpy(totals[number]), expected)

    in_threads(8, work)


@rill_only
def test_arrays_and_streams_outlive_their_thread():
    made = {}

    def work(number):
        stream = mx.new_stream(mx.cpu)
        with mx.stream(stream):
            made[number] = (stream, mx.arange(100) * 2 + number)

    in_threads(8, work)
    gc.collect()
    for number, (stream, x) in made.items():
        assert_same(mx.add(x, 1, stream=stream), np.arange(100) * 2 + number + 1)


@rill_only
def test_results_travel_between_threads_in_a_ring():
    boxes = [mx.zeros(10) for _ in range(4)]
    barrier = threading.Barrier(4)

    def work(number):
        stream = mx.new_stream(mx.cpu)
        for _ in range(200):
            barrier.wait(60)
            taken = boxes[(number + 1) % 4]
            barrier.wait(60)
            boxes[number] = mx.add(taken, 1, stream=stream)

    in_threads(4, work)
    for box in boxes:
        assert_same(box, np.full(10, 200))


@rill_only
def test_gradients_in_threads():
    def work(number):
        gradient = mx.grad(lambda x: mx.sum(x**3))
        for _ in range(50):
            assert gradient(mx.array([2.0, float(number)])).tolist() == [12, 3 * number**2]

    in_threads(8, work)


@rill_only
def test_ten_thousand_streams():
    streams = [mx.new_stream(mx.cpu) for _ in range(10_000)]
    results = [mx.add(n, 1, stream=s) for n, s in enumerate(streams)]
    mx.eval(results)
    assert sum(r.item() for r in results) == sum(range(1, 10_001))
    x = mx.array(0)
    for stream in streams:
        x = mx.add(x, 1, stream=stream)
    assert x.item() == 10_000


STEPS = {
    "add": (mx.add, np.add),
    "multiply": (mx.multiply, np.multiply),
    "maximum": (mx.maximum, np.maximum),
    "subtract": (mx.subtract, np.subtract),
}
UNARY = {
    "transpose": (mx.transpose, np.transpose),
    "negative": (mx.negative, np.negative),
    "square": (mx.square, np.square),
    "flip": (lambda x, stream: x[::-1], lambda x: x[::-1]),
    "sum": (
        lambda x, stream: mx.broadcast_to(mx.sum(x, 0, stream=stream), (4, 4)),
        lambda x: np.broadcast_to(x.sum(0, dtype=np.int32), (4, 4)),
    ),
    "gather": (
        lambda x, stream: mx.take(x, mx.array([3, 0, 0, 2]), 0, stream=stream),
        lambda x: x[[3, 0, 0, 2]],
    ),
    "sort": (mx.sort, lambda x: np.sort(x, -1)),
    "cumsum": (
        lambda x, stream: mx.cumsum(x, 1, stream=stream),
        lambda x: np.cumsum(x, 1, dtype=np.int32),
    ),
}
graphs = st.lists(
    st.tuples(
        st.sampled_from([*STEPS, *UNARY]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.integers(0, 7),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@given(graphs)
def test_random_graphs_over_eight_streams(graph):
    """Each step applies an operation to earlier values on one of eight streams."""
    streams = [mx.new_stream(mx.cpu) for _ in range(8)]
    hosts = [np.arange(16, dtype=np.int32).reshape(4, 4), np.full((4, 4), 3, np.int32)]
    arrays = [mx.array(h) for h in hosts]
    with np.errstate(over="ignore"):
        for name, first, second, stream, evaluate in graph:
            a, b = first % len(hosts), second % len(hosts)
            if name in STEPS:
                ours, theirs = STEPS[name]
                arrays.append(ours(arrays[a], arrays[b], stream=streams[stream]))
                hosts.append(theirs(hosts[a], hosts[b]))
            else:
                ours, theirs = UNARY[name]
                arrays.append(ours(arrays[a], stream=streams[stream]))
                hosts.append(theirs(hosts[a]))
            if evaluate:
                mx.async_eval(arrays[-1])
    for x, host in reversed(list(zip(arrays, hosts))):
        assert_same(x, host)


@rill_only
@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_from_random_threads(seed):
    """The same, built and evaluated by four threads at once over common streams and arrays."""
    streams = [mx.new_stream(mx.cpu) for _ in range(8)]
    common = mx.exp(mx.zeros((4, 4))).astype(mx.int32)

    def work(number):
        rng = np.random.default_rng([seed, number])
        x, host = common, np.ones((4, 4), np.int32)
        with np.errstate(over="ignore"):
            for _ in range(300):
                name = rng.choice(list(UNARY))
                ours, theirs = UNARY[name]
                x, host = ours(x, stream=streams[rng.integers(8)]) + 1, theirs(host) + 1
                if rng.random() < 0.1:
                    mx.async_eval(x)
        assert_same(x, host)

    in_threads(4, work)


def test_the_same_bits_on_any_stream_and_any_split():
    host = np.random.default_rng(0).standard_normal((300, 1000)).astype(np.float32)
    results = []
    for _ in range(3):
        x = mx.array(host)
        stream = mx.new_stream(mx.cpu)
        parts = (
            mx.sum(x, stream=stream),
            mx.mean(x, 0, stream=stream),
            mx.softmax(x, -1, stream=stream),
            mx.logsumexp(x, 1, stream=stream),
        )
        results.append([to_numpy(p) for p in parts])
    for again in results[1:]:
        for first, second in zip(results[0], again):
            np.testing.assert_array_equal(first, second)


def test_fused_or_not_the_bits_are_the_same():
    host = np.random.default_rng(0).standard_normal(10_001).astype(np.float32)

    steps = (mx.exp, mx.sin, lambda v: v * 1.7 + 0.3, mx.tanh, lambda v: v / 3 - v, mx.sigmoid)

    def chain(evaluate):
        x = mx.array(host)
        for step in steps:
            x = step(x)
            if evaluate:
                mx.eval(x)
        return to_numpy(x)

    np.testing.assert_array_equal(chain(False), chain(True))
