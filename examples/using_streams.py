"""Every form of `stream=`, and what streams are good for, with figures from this machine."""

import threading
import time

import rill.core as mx


def title(text):
    print(f"\n{text}\n{'-' * len(text)}")


def forms_of_the_argument():
    title("1. Where an operation runs")
    x = mx.array([1.0, 4.0, 9.0])
    stream = mx.new_stream(mx.cpu)
    for form, where in (
        ("nothing: the default stream", None),
        ("a Stream", stream),
        ("a Device: its default stream", mx.Device(mx.cpu, 0)),
        ("a DeviceType: the same", mx.cpu),
    ):
        print(f"{form:<32}stream={where!r:<28} -> {mx.sqrt(x, stream=where).tolist()}")

    with mx.stream(stream):
        print(f"{'a block':<32}with mx.stream({mx.default_stream(mx.cpu)}):")
        print(f"{'':<32}    operators too: {(x + 1).tolist()}")

    before = mx.default_stream(mx.cpu)
    mx.set_default_stream(stream)
    print(f"{'the default of this thread':<32}mx.set_default_stream({mx.default_stream(mx.cpu)})")
    mx.set_default_stream(before)

    for wrong in ("cpu", 3):
        try:
            mx.sqrt(x, stream=wrong)
        except TypeError as error:
            print(f"{'anything else is a TypeError':<32}stream={wrong!r}: {error}")
    try:
        mx.sqrt(x, stream=mx.gpu)
    except ValueError as error:
        print(f"{'a device that is not there':<32}stream=mx.gpu: {error}")


def order_between_streams():
    title("2. Order between streams needs no help")
    a, b = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.zeros(16)
    for _ in range(1000):
        x = mx.add(x, 1, stream=a)
        x = mx.add(x, 1, stream=b)
    start = time.perf_counter()
    mx.eval(x)
    seconds = time.perf_counter() - start
    print("2000 additions, alternating between two streams, each in need of the one before:")
    print(f"result {x[0].item():.0f}, {seconds * 1e6 / 2000:.2f} us for an addition and a crossing")


def any_thread():
    title("3. Any thread may use any stream and any array")
    stream = mx.new_stream(mx.cpu)
    made = []

    def make():
        with mx.stream(stream):
            made.append(mx.arange(1000).sum())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    print(f"built in a thread that has ended, evaluated here: {made[0].item()}")

    total = sum(mx.ones(1000, stream=stream) * i for i in range(100)).sum()
    results = []
    threads = [threading.Thread(target=lambda: results.append(total.item())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"one array evaluated by 8 threads at once: {set(results)}")


def chain(x, stream, length):
    """Sines of 16k elements: work for one core, since it is too small to be split."""
    with mx.stream(stream):
        for _ in range(length):
            x = mx.sin(x)
    return x


def events():
    title("4. Events and waiting")
    stream = mx.new_stream(mx.cpu)
    y = chain(mx.random.uniform(shape=(16384,)), stream, 4000)
    start = time.perf_counter()
    mx.async_eval(y)
    event = mx.record_event(stream)
    given = time.perf_counter() - start
    print(f"async_eval came back after {given * 1e3:.2f} ms; is the event done? {event.done()}")
    event.wait()
    waited = time.perf_counter() - start
    print(f"event.wait() came back after {waited * 1e3:.2f} ms; done? {event.done()}")
    mx.synchronize(stream)
    print("mx.synchronize(stream) waits for all that was given to a stream")


def errors():
    title("5. Errors reach who reads the result")
    stream = mx.new_stream(mx.cpu)
    row = mx.take(mx.arange(3), mx.array([7]), stream=stream)
    mx.async_eval(row)
    mx.synchronize(stream)
    try:
        mx.eval(row + 1)
    except IndexError as error:
        print(f"IndexError: {error}")
    print(f"the stream goes on: {mx.add(1, 1, stream=stream).item()}")


def best_time(build, repeats=8):
    """Returns the shortest time, in ms, in which the arrays that `build` makes are evaluated."""
    times = []
    for _ in range(repeats):
        arrays = build()
        start = time.perf_counter()
        mx.eval(arrays)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def overlap():
    title("6. Two streams overlap")
    a, b = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.random.uniform(shape=(16384,))
    w = mx.random.normal((64, 64)) / 8
    mx.eval(x, w)

    def products(stream, length=10000):
        y = w
        for _ in range(length):
            y = mx.matmul(y, w, stream=stream)
        return y

    print(f"{'two chains of':<28}{'one stream':>12}{'two streams':>13}{'faster':>9}")
    for name, work in (
        ("12000 sines of 16k elements", lambda s: chain(x, s, 12000)),
        ("10000 matmuls of 64 x 64", products),
    ):
        one = best_time(lambda w=work: (w(a), w(a)))
        two = best_time(lambda w=work: (w(a), w(b)))
        print(f"{name:<28}{one:>9.1f} ms{two:>10.1f} ms{one / two:>8.2f}x")
    cores = mx.device_info(mx.cpu)["cores"]
    print(f"(the best of eight runs; at most {min(2, cores)}x with {cores} cores)")


def what_ran():
    title("7. Seeing it")
    a, b = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    mx.set_stream_name(a, "left")
    mx.set_stream_name(b, "right")
    x = mx.random.uniform(shape=(16384,))
    mx.eval(x)
    with mx.trace() as trace:
        left, right = chain(x, a, 6000), chain(x, b, 6000)
        mx.eval(mx.add(left, right, stream=a).sum(stream=a))
    origin = trace.records[0]["begin"]
    print(f"{'stream':<10}{'steps':>6}{'first begins':>15}{'last ends':>12}{'busy':>12}   such as")
    for name in ("left", "right"):
        rows = [r for r in trace.records if r["stream_name"] == name]
        begin, end = rows[0]["begin"] - origin, max(r["end"] for r in rows) - origin
        busy = sum(r["end"] - r["begin"] for r in rows)
        times = f"{begin * 1e3:>12.1f} ms{end * 1e3:>9.1f} ms{busy * 1e3:>9.1f} ms"
        print(f"{name:<10}{len(rows):>6}{times}   {rows[1]['name']}")


def main():
    forms_of_the_argument()
    order_between_streams()
    any_thread()
    events()
    errors()
    overlap()
    what_ran()


if __name__ == "__main__":
    main()
