"""The process around the streams: exit, fork, Ctrl-C, idling, memory over a long run."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support import NAME, assert_same, environment, mx, rill_only

HERE = os.path.dirname(os.path.abspath(__file__))
PRELUDE = f"""
import os, sys, threading, time
import {NAME} as mx
def work(n=50, size=256, stream=None):
    x = mx.ones((size, size))
    for _ in range(n):
        x = mx.multiply(mx.matmul(x, x, stream=stream), 1.0 / size, stream=stream)
    return x
"""

EXITS = {  # how the program ends -> (its last lines, its exit code)
    "end of file": ("mx.async_eval(work())", 0),
    "many streams": (
        "[mx.async_eval(work(20, stream=mx.new_stream(mx.cpu))) for _ in range(8)]",
        0,
    ),
    "built, not evaluated": ("x = work()", 0),
    "sys.exit": ("mx.async_eval(work()); sys.exit(3)", 3),
    "an exception": ("mx.async_eval(work()); raise SystemError", 1),
    "os._exit": ("mx.async_eval(work()); os._exit(4)", 4),
    "a thread at work": ("t = threading.Thread(target=lambda: mx.eval(work(20))); t.start()", 0),
    "a daemon at work": (
        "t = threading.Thread(target=lambda: mx.eval(work()), daemon=True); t.start();"
        "time.sleep(0.01)",
        0,
    ),
    "queued by an ended thread": (
        "t = threading.Thread(target=lambda: mx.async_eval(work())); t.start(); t.join()",
        0,
    ),
    "a pending error": ("mx.async_eval(mx.arange(3)[mx.array([9])])", 0),
}


def run(script, timeout=60):
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        timeout=timeout,
        env=environment(),
        capture_output=True,
        text=True,
    )


@rill_only
@pytest.mark.parametrize("way", EXITS)
def test_exit_with_work_queued(way, full):
    script, code = EXITS[way]
    for _ in range(100 if full else 2):
        done = run(script)
        assert done.returncode == code, done.stderr
        assert (
            "Error" not in done.stderr.replace("SystemError", "") and "terminate" not in done.stderr
        )


@contextlib.contextmanager
def interrupted(script):
    """A child that has said that it is ready, was sent Ctrl-C then, and says that it noticed."""
    child = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        yield child, start
    finally:
        child.kill()
        child.wait()


CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a runner in the background ignores it
x = work(100_000, 1024)
print("ready", flush=True)
try:
    %s
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(0)
"""


@rill_only
@pytest.mark.parametrize(
    "wait",
    [
        "mx.eval(x)",
        "mx.async_eval(x); mx.synchronize()",
        "mx.async_eval(x); mx.clear_streams()",
        "x.tolist()",
        "float(x[0, 0])",
        "memoryview(x)",
        "import numpy; numpy.array(x)",
    ],
)
def test_ctrl_c_during_a_long_wait(wait):
    with interrupted(CTRL_C % wait) as (_, start):
        assert time.monotonic() - start < 3


QUEUED_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
s = mx.new_stream(mx.cpu)
mx.eval(work(50, 1024, s))
start = time.monotonic()
mx.eval(work(100, 1024, s))
x = work(int(200 / (time.monotonic() - start)), 1024, s)
print("ready", flush=True)
try:
    mx.eval(x)
except KeyboardInterrupt:
    print("interrupted", flush=True)
start = time.monotonic()
print(mx.add(1, 2, stream=mx.new_stream(mx.cpu)).item(), time.monotonic() - start, flush=True)
print(mx.add(1, 2, stream=s).item(), time.monotonic() - start, flush=True)
start = time.monotonic()
print(x[0, 0].item(), time.monotonic() - start, flush=True)
"""


@rill_only
def test_what_is_queued_still_runs_after_ctrl_c():
    """A queue of two seconds: new work on its stream waits for it, that of another does not."""
    with interrupted(QUEUED_CTRL_C) as (child, _):
        lines = [child.stdout.readline().split() for _ in range(3)]
        assert [float(value) for value, _ in lines] == [3, 3, 1]
        other, same, again = (float(seconds) for _, seconds in lines)
        assert other < 0.5 < same and again < 0.5


LOOPS = {  # without an end, or nearly so
    "small": "x = mx.while_loop(lambda s: s >= 0, lambda s: s * 1, mx.array(1))",
    "large": "x = mx.while_loop(lambda s: s[0, 0] >= 0, lambda s: s * 1, mx.ones((300, 300)))",
    "compiled": (
        "f = lambda x: mx.while_loop(lambda s: s >= 0, lambda s: s * 1, x) + 1\n"
        "x = mx.compile(f)(mx.array(1))"
    ),
    "a long scan": "x = mx.scan(lambda c, x: (mx.sin(c), None), mx.array(1.0), length=1 << 60)[0]",
}
LOOP_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
try:
    %s
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(mx.add(mx.array(1), 2, stream=mx.new_stream(mx.cpu)).item(), flush=True)
"""


@rill_only
@pytest.mark.parametrize("wait", ["mx.eval(x)", "mx.async_eval(x); mx.eval(x)"])
@pytest.mark.parametrize("loop", LOOPS)
def test_endless_loops_end(loop, wait):
    """Ctrl-C ends the wait, other work goes on, and the process ends by itself."""
    with interrupted(LOOPS[loop] + LOOP_CTRL_C % wait) as (child, start):
        assert child.stdout.readline() == "3\n"
        assert child.wait(10) == 0
        assert time.monotonic() - start < 5


@rill_only
def test_a_second_ctrl_c_drops_what_is_queued():
    """The process waits at its end for what is queued, until Ctrl-C says that nobody wants it."""
    with interrupted(CTRL_C.replace("os._exit(0)", "pass") % "mx.eval(x)") as (child, _):
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0


@rill_only
def test_a_program_that_ctrl_c_ends_drops_what_is_queued():
    ends = CTRL_C.replace("os._exit(0)", "raise")
    with interrupted(ends % "mx.eval(x)") as (child, _):
        assert child.wait(10) == -signal.SIGINT


@rill_only
def test_exit_ends_endless_loops():
    done = run(LOOPS["small"] + "\nmx.async_eval(x)\ntime.sleep(0.1)\n")
    assert done.returncode == 0, done.stderr


def wait_for(child, seconds):
    """The exit status of a forked child; one that hangs is killed and None."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@rill_only
@pytest.mark.filterwarnings("ignore:This process.*:DeprecationWarning")
def test_fork_with_work_queued(full):
    for _ in range(100 if full else 5):
        streams = [mx.new_stream(mx.cpu) for _ in range(4)]
        ready = mx.arange(1000) + 1
        mx.eval(ready)
        queued = [mx.exp(mx.zeros((200, 200)), stream=s) for s in streams]
        mx.async_eval(queued)
        child = os.fork()
        if child == 0:
            try:
                fresh = mx.sum(mx.add(mx.arange(1000), 1, stream=streams[0])).item() == 500_500
                inherited = mx.sum(ready * 2).item() == 1_001_000
                os._exit(0 if fresh and inherited else 1)
            except BaseException:
                os._exit(2)
        assert wait_for(child, 20) == 0
        for x in queued:
            assert_same(x, np.ones((200, 200)))


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
@rill_only
def test_memory_stays_flat_over_many_evals(full):
    stream = mx.new_stream(mx.cpu)

    def rounds(count):
        x = mx.zeros((64,))
        for _ in range(count):
            x = mx.add(x * 0.5, 1, stream=stream)
            mx.eval(x)

    rounds(2_000)
    before, active = resident(), mx.get_active_memory()
    rounds(1_000_000 if full else 20_000)
    assert resident() - before < 8 << 20
    assert mx.get_active_memory() - active < 1 << 16


@rill_only
def test_streams_leave_nothing_behind():
    def make(count):
        for _ in range(count):
            mx.eval(mx.add(1, 2, stream=mx.new_stream(mx.cpu)))

    make(1_000)
    before = resident()
    make(20_000)
    assert resident() - before < 32 << 20


@rill_only
def test_idle_streams_use_no_cpu():
    for stream in [mx.new_stream(mx.cpu) for _ in range(16)]:
        mx.eval(mx.add(mx.ones(100_000), 1, stream=stream))
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.02


@rill_only
def test_async_eval_returns_before_the_work_is_done():
    x = mx.ones((1024, 1024))
    for _ in range(60):
        x = x @ x * (1 / 1024)
    start = time.monotonic()
    mx.async_eval(x)
    queued = time.monotonic() - start
    mx.eval(x)
    assert queued < 0.2 * (time.monotonic() - start)


@rill_only
def test_other_threads_run_python_while_one_waits():
    import threading

    x = mx.ones((1024, 1024))
    for _ in range(60):
        x = x @ x * (1 / 1024)
    thread = threading.Thread(target=lambda: mx.eval(x))
    thread.start()
    ticks = 0
    while thread.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 20
