"""Streams as arguments, as defaults and as objects."""

import threading

import numpy as np
import pytest
from calls import CALLS, ELSEWHERE, METHODS, f, find
from support import assert_same, mx, name_of, rill_only, to_numpy

MODULES = ("", "random.", "linalg.", "fft.", "fast.", "distributed.")


def outputs(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


@pytest.mark.parametrize("name", CALLS)
def test_every_operation_takes_a_stream(name):
    function = find(mx, name)
    if function is None:
        pytest.skip("not in this module yet")
    streams = (mx.cpu, mx.Device(mx.cpu), mx.default_stream(mx.cpu), mx.new_stream(mx.cpu))
    args, kwargs = CALLS[name](mx)
    expected = outputs(function(*args, **kwargs, stream=None))
    for stream in streams:
        args, kwargs = CALLS[name](mx)
        for result, value in zip(outputs(function(*args, **kwargs, stream=stream)), expected):
            assert result.shape == value.shape and result.dtype == value.dtype
            if "empty" not in name:
                np.testing.assert_array_equal(to_numpy(result), to_numpy(value))


@pytest.mark.parametrize("name", CALLS)
def test_every_operation_refuses_what_is_no_stream(name):
    function = find(mx, name)
    if function is None:
        pytest.skip("not in this module yet")
    args, kwargs = CALLS[name](mx)
    for wrong in ("cpu", 3, object()):
        with pytest.raises(TypeError) as caught:
            function(*args, **kwargs, stream=wrong)
        assert "stream" in str(caught.value).lower() or "Stream" in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_stream(name):
    x = f(mx, 2, 3)
    args = [getattr(mx, a) if isinstance(a, str) else a for a in METHODS[name]]
    expected = outputs(getattr(x, name)(*args))
    for stream in (None, mx.cpu, mx.Device(mx.cpu), mx.new_stream(mx.cpu)):
        for result, value in zip(outputs(getattr(x, name)(*args, stream=stream)), expected):
            assert_same(result, to_numpy(value))
    with pytest.raises(TypeError):
        getattr(x, name)(*args, stream="cpu")


def test_every_function_with_a_stream_has_a_call():
    for module in MODULES:
        for name in dir(find(mx, module.rstrip(".")) if module else mx):
            function = find(mx, module + name)
            document = getattr(function, "__doc__", None) or ""
            if (
                callable(function)
                and not isinstance(function, type)
                and "stream:" in document.split("\n")[0]
            ):
                assert module + name in CALLS or module + name in ELSEWHERE, module + name


def test_the_default_device_and_stream():
    assert mx.default_device() == mx.Device(mx.cpu)
    stream = mx.default_stream(mx.default_device())
    assert stream.device == mx.Device(mx.cpu)
    assert stream == mx.default_stream(mx.cpu) == mx.default_stream(mx.Device(mx.cpu))


def test_set_default_stream():
    before, stream = mx.default_stream(mx.cpu), mx.new_stream(mx.cpu)
    mx.set_default_stream(stream)
    assert mx.default_stream(mx.cpu) == stream != before
    assert (mx.array(1) + 1).item() == 2


def test_streams_differ_and_name_their_device():
    streams = [mx.new_stream(mx.cpu) for _ in range(10)]
    assert all(a != b for i, a in enumerate(streams) for b in streams[:i])
    assert streams[0] == streams[0]
    assert len({repr(s) for s in streams}) == 10
    assert repr(streams[0]).startswith("Stream(Device(cpu, 0), ")
    assert all(s.device == mx.cpu for s in streams)


def test_the_stream_context_nests_and_restores():
    before = mx.default_stream(mx.cpu)
    a, b = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    with mx.stream(a):
        assert mx.default_stream(mx.cpu) == a
        with mx.stream(b):
            assert mx.default_stream(mx.cpu) == b
            x = mx.array(2) * 3
        assert mx.default_stream(mx.cpu) == a
    assert mx.default_stream(mx.cpu) == before
    with mx.stream(mx.cpu):
        assert mx.default_device() == mx.Device(mx.cpu)
    assert x.item() == 6


def test_the_stream_context_restores_after_an_error():
    before = mx.default_stream(mx.cpu)
    with pytest.raises(KeyError), mx.stream(mx.new_stream(mx.cpu)):
        raise KeyError
    assert mx.default_stream(mx.cpu) == before


@pytest.mark.parametrize("wrong", [None, "cpu", 3])
def test_the_stream_context_refuses(wrong):
    with pytest.raises(TypeError):
        mx.stream(wrong)


@pytest.mark.parametrize(
    "function",
    [
        "new_stream",
        "default_stream",
        "set_default_device",
        "device_count",
        "is_available",
        "new_thread_local_stream",
        "new_thread_unsafe_stream",
    ],
)
def test_devices_are_not_strings(function):
    with pytest.raises(TypeError):
        getattr(mx, function)("cpu")


def test_a_default_stream_is_per_thread():
    mine = mx.new_stream(mx.cpu)
    mx.set_default_stream(mine)
    seen = []

    def work():
        seen.append(mx.default_stream(mx.cpu))
        other = mx.new_stream(mx.cpu)
        mx.set_default_stream(other)
        seen.append(mx.default_stream(mx.cpu) == other)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] != mine and seen[1]
    assert mx.default_stream(mx.cpu) == mine


def test_synchronize():
    stream = mx.new_stream(mx.cpu)
    x = mx.add(f(mx, 300, 300), 1, stream=stream)
    mx.async_eval(x)
    for what in (None, mx.cpu, mx.Device(mx.cpu), stream, mx.default_stream(mx.cpu)):
        assert mx.synchronize(what) is None
    mx.synchronize()
    with pytest.raises(TypeError):
        mx.synchronize("cpu")


@rill_only
def test_clear_streams_leaves_the_defaults_usable():
    def work():
        mx.eval(mx.add(1, 2, stream=mx.new_stream(mx.cpu)))
        mx.clear_streams()
        done.append((mx.array(1) + 1).item())

    done = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [2]


def test_devices():
    assert mx.device_count(mx.cpu) == 1
    assert mx.is_available(mx.cpu) and mx.is_available(mx.Device(mx.cpu))
    assert not mx.is_available(mx.Device(mx.cpu, 3))
    info = mx.device_info(mx.cpu)
    assert isinstance(info, dict) and info["architecture"] and info["device_name"]
    assert mx.device_info() == info


@pytest.mark.skipif(mx.device_count(mx.gpu) > 0, reason="has a GPU")
def test_without_a_gpu():
    assert not mx.is_available(mx.gpu) and mx.device_info(mx.gpu) == {}
    for call in (
        lambda: mx.new_stream(mx.gpu),
        lambda: mx.set_default_device(mx.gpu),
        lambda: mx.add(1, 2, stream=mx.gpu),
        lambda: mx.default_stream(mx.gpu),
        lambda: mx.synchronize(mx.gpu),
    ):
        with pytest.raises(ValueError, match="gpu"):
            call()
    with pytest.raises((ValueError, IndexError)):
        mx.add(1, 2, stream=mx.Device(mx.cpu, 5))


def test_a_thread_local_stream_serves_each_thread():
    stream, results = mx.new_thread_local_stream(mx.cpu), []
    assert stream.device == mx.Device(mx.cpu) and stream == stream
    threads = [
        threading.Thread(target=lambda: results.append(mx.add(1, 2, stream=stream).item()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [3] * 4


def test_a_thread_unsafe_stream_is_a_stream():
    stream = mx.new_thread_unsafe_stream(mx.cpu)
    assert mx.add(1, 2, stream=stream).item() == 3


def test_eval_takes_any_tree():
    x = mx.array(1) + 1
    mx.eval(x, {"a": [x + 1, (x + 2,)], "b": "not an array"}, None, 3)
    mx.async_eval([x + 3])
    mx.eval()


def test_one_graph_over_many_streams():
    streams = [mx.new_stream(mx.cpu) for _ in range(5)]
    x = mx.zeros(100)
    for i in range(500):
        x = mx.add(x, 1, stream=streams[i % 5])
        if i % 7 == 0:
            x = mx.multiply(x, 1, stream=streams[(i * 3) % 5])
    assert_same(x, np.full(100, 500), "float32")


def test_a_diamond_over_streams():
    a, b = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.exp(f(mx, 1000), stream=a)
    left, right = mx.sin(x, stream=a), mx.cos(x, stream=b)
    total = mx.add(mx.square(left, stream=b), mx.square(right, stream=a), stream=b)
    np.testing.assert_allclose(to_numpy(total), np.ones(1000), rtol=1e-5)


FAILURES = ["x[mx.array([9])]", "mx.take(x, mx.array([9]), stream=stream)"]


@rill_only
@pytest.mark.parametrize("expression", FAILURES)
def test_a_failing_operation_leaves_its_stream_usable(expression):
    stream, x = mx.new_stream(mx.cpu), mx.arange(4.0)
    with mx.stream(stream):
        with pytest.raises(IndexError):
            mx.eval(eval(expression, {"mx": mx, "x": x, "stream": stream}))
        assert (x + 1).tolist() == [1, 2, 3, 4]


def short_mask_assignment():
    x = mx.arange(6)
    x[mx.array([True] * 6)] = mx.array([1, 2, 3])  # three values for six places
    return x


def test_an_error_at_eval_is_raised_where_the_value_is_wanted():
    stream = mx.new_stream(mx.cpu)
    with mx.stream(stream), pytest.raises((ValueError, RuntimeError)):
        mx.eval(short_mask_assignment())
    assert mx.add(1, 2, stream=stream).item() == 3


@rill_only
def test_an_error_reaches_everything_computed_from_it_and_nothing_else():
    with mx.stream(mx.new_stream(mx.cpu)):
        bad = mx.arange(4)[mx.array([9])]
        after, beside = bad + 1, mx.arange(4) * 2
        mx.async_eval(after, beside)
        assert beside.tolist() == [0, 2, 4, 6]
        for array in (after, bad, bad * 2):
            with pytest.raises(IndexError, match="out of"):
                array.tolist()
    assert name_of(after.dtype) == "int32"
