"""Events, names of streams, and copies of the names that streams, devices and dtypes are."""

import copy
import json
import pickle
import subprocess
import sys
import threading

import pytest
from support import DTYPES, NAME, dtype, environment, mx, rill_only

pytestmark = rill_only
COPIES = [
    *(lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in range(2, 6)),
    copy.copy,
    copy.deepcopy,
]


def slow(stream):
    """An array that takes some milliseconds."""
    x = mx.ones((600, 600), stream=stream) / 600
    for _ in range(10):
        x = mx.matmul(x, x, stream=stream)
    return x


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("duplicate", COPIES, ids=range(len(COPIES)))
def test_a_copy_of_a_dtype_is_the_dtype(name, duplicate):
    assert duplicate(dtype(name)) is dtype(name)


@pytest.mark.parametrize("duplicate", COPIES, ids=range(len(COPIES)))
def test_copies_of_devices_and_streams(duplicate):
    stream = mx.new_stream(mx.cpu)
    for x in (mx.cpu, mx.Device(mx.cpu), mx.Device(mx.gpu, 3), stream, mx.floating):
        twin = duplicate(x)
        assert twin == x and hash(twin) == hash(x) and repr(twin) == repr(x)
        assert type(twin) is type(x)
    assert duplicate({"stream": [stream]})["stream"][0] == stream
    y = mx.add(1, 2, stream=duplicate(stream))
    assert y.item() == 3


def test_a_stream_that_is_not_here_is_no_stream():
    stream = [mx.new_stream(mx.cpu) for _ in range(50)][-1]
    program = (
        f"import pickle, sys, {NAME} as mx\n"
        "try: pickle.loads(sys.stdin.buffer.read())\n"
        "except ValueError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(stream),
        env=environment(),
        capture_output=True,
        check=True,
    )
    assert f"no stream {stream.index}" in run.stdout.decode()
    twin = mx.Stream.__new__(mx.Stream)
    for state in (
        (mx.Device(mx.cpu), -1),
        (mx.Device(mx.cpu), 10**9),
        (mx.Device(mx.gpu), 0),
        (1,),
    ):
        with pytest.raises(ValueError):
            twin.__setstate__(state)


def test_an_event_of_an_idle_stream_is_done():
    stream = mx.new_stream(mx.cpu)
    event = mx.record_event(stream)
    assert event.stream == stream
    assert event.done()
    event.wait()


@pytest.mark.parametrize("argument", [None, mx.cpu, mx.Device(mx.cpu)], ids=str)
def test_events_of_the_default_stream(argument):
    assert mx.record_event(argument).stream == mx.default_stream(mx.cpu)
    with mx.stream(mx.new_stream(mx.cpu)) as _:
        inner = mx.default_stream(mx.cpu)
        assert mx.record_event().stream == inner


def test_an_event_is_done_when_its_work_is():
    stream = mx.new_stream(mx.cpu)
    x = slow(stream)
    mx.async_eval(x)
    event = mx.record_event(stream)
    event.wait()
    assert event.done()
    with mx.trace() as trace:
        assert x[0, 0].item() == pytest.approx(1 / 600, rel=0.01)
    assert not any("matmul" in record["name"] for record in trace.records)


def test_an_event_does_not_wait_for_later_work():
    stream = mx.new_stream(mx.cpu)
    mx.async_eval(mx.add(1, 2, stream=stream))
    event = mx.record_event(stream)
    later = slow(stream)
    mx.async_eval(later)
    event.wait()
    assert event.done()
    mx.eval(later)
    assert mx.record_event(stream).done()


def test_events_from_many_threads():
    stream = mx.new_stream(mx.cpu)
    done = []

    def wait(event):
        event.wait()
        done.append(event.done())

    mx.async_eval(slow(stream))
    event = mx.record_event(stream)
    threads = [threading.Thread(target=wait, args=(event,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 8


def test_an_event_outlives_what_it_stood_for():
    stream = mx.new_stream(mx.cpu)
    x = slow(stream)
    mx.async_eval(x)
    event = mx.record_event(stream)
    del x
    event.wait()
    assert event.done()


def test_an_event_after_a_failure_is_done():
    stream = mx.new_stream(mx.cpu)
    x = mx.linalg.cholesky(-mx.eye(3), stream=stream)
    mx.async_eval(x)
    event = mx.record_event(stream)
    with pytest.raises((RuntimeError, ValueError)):
        mx.eval(x)
    event.wait()
    assert event.done()


@pytest.mark.parametrize("wrong", ["cpu", 1, object()])
def test_events_refuse_what_is_no_stream(wrong):
    with pytest.raises(TypeError, match="stream"):
        mx.record_event(wrong)


@pytest.mark.parametrize("name", ["loader", "", 'é "quoted" \\ \n'])
def test_traces_show_the_name_of_a_stream(name, tmp_path):
    stream = mx.new_stream(mx.cpu)
    mx.set_stream_name(stream, name)
    path = tmp_path / "run.json"
    with mx.trace(path) as trace:
        mx.eval(mx.add(mx.ones(5), 1, stream=stream))
    assert {r["stream_name"] for r in trace.records if r["stream"] == stream} == {name}
    events = json.loads(path.read_text())
    events = events["traceEvents"] if isinstance(events, dict) else events
    names = [e["args"]["name"] for e in events if e.get("name") == "thread_name"]
    assert name in names


def test_a_stream_may_be_renamed():
    stream = mx.new_stream(mx.cpu)
    for name in ("first", "second"):
        mx.set_stream_name(stream, name)
        with mx.trace() as trace:
            mx.eval(mx.add(mx.ones(5), 1, stream=stream))
        assert {r["stream_name"] for r in trace.records if r["stream"] == stream} == {name}


@pytest.mark.parametrize("arguments", [(mx.cpu, "a"), ("cpu", "a"), (None, "a")], ids=str)
def test_only_streams_have_names(arguments):
    with pytest.raises(TypeError):
        mx.set_stream_name(*arguments)
    with pytest.raises(TypeError):
        mx.set_stream_name(mx.default_stream(mx.cpu), 3)
