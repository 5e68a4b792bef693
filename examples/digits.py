"""Learns to read handwritten digits: one stream prepares the batches while another trains.

The data are the 1797 real digits that come with scikit-learn. Writes to build/demo/ a picture of
what the streams did and of the loss, and a trace for https://ui.perfetto.dev.
"""

import math
import sys
import time
from pathlib import Path

import rill.core as mx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

OUTPUT = Path("build/demo")
WANTED_ACCURACY = 0.97
BATCH = 256
EPOCHS = 100
LAYERS = (64, 256, 128, 10)
# A place in a frame of 10 x 10 where an image of 8 x 8 begins: the middle, or a pixel beside it.
SHIFTS = mx.array([11, 1, 21, 10, 12])


def load():
    """Returns (training images, labels), (test images, labels): images are rows of 64 in [0, 1]."""
    digits = load_digits()
    parts = train_test_split(
        digits.data / 16, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    images, test_images, labels, test_labels = (mx.array(part) for part in parts)
    return (images.astype(mx.float32), labels), (test_images.astype(mx.float32), test_labels)


# --- preparing -----------------------------------------------------------------------------------


def framed(images):
    """Returns the images with a border of one empty pixel: rows of 100."""
    return mx.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1))).reshape(-1, 100)


def prepared(frames, labels, rows, key):
    """Returns a batch: those rows, each image moved by at most a pixel, and a little noisy."""
    shift_key, light_key, noise_key = mx.random.split(key, 3)
    shift = SHIFTS[mx.random.randint(0, len(SHIFTS), (BATCH, 1), key=shift_key)]
    window = mx.add(10 * mx.arange(8)[:, None], mx.arange(8)).reshape(1, 64)
    images = mx.take_along_axis(frames[rows], window + shift, axis=1)
    light = mx.random.uniform(0.9, 1.1, (BATCH, 1), key=light_key)
    noise = mx.random.normal(images.shape, scale=0.04, key=noise_key)
    return images * light + noise, labels[rows]


def batches(images, labels, stream):
    """Yields the batches of all epochs, shuffled and prepared on `stream`.

    async_eval returns at once: while the caller trains with a batch, the next one is in the making.
    """
    ready = None
    with mx.stream(stream):
        frames = framed(images)
        keys = mx.random.split(mx.random.key(1), EPOCHS)
    for epoch in range(EPOCHS):
        with mx.stream(stream):
            order_key, *batch_keys = mx.random.split(keys[epoch], 1 + len(labels) // BATCH)
            order = mx.random.permutation(len(labels), key=order_key)
        for start, key in zip(range(0, len(labels), BATCH), batch_keys):
            with mx.stream(stream):
                batch = prepared(frames, labels, order[start : start + BATCH], key)
                mx.async_eval(batch)
            if ready is not None:
                yield ready
            ready = batch
    yield ready


# --- training ------------------------------------------------------------------------------------


def new_parameters(key):
    """Returns a list of (weights, bias), the weights He-normal."""
    keys = mx.random.split(key, len(LAYERS) - 1)
    return [
        (mx.random.normal((n_in, n_out), key=k) * math.sqrt(2 / n_in), mx.zeros(n_out))
        for k, n_in, n_out in zip(keys, LAYERS, LAYERS[1:])
    ]


def logits(parameters, x):
    for weights, bias in parameters[:-1]:
        x = mx.maximum(mx.addmm(bias, x, weights), 0)
    weights, bias = parameters[-1]
    return mx.addmm(bias, x, weights)


def cross_entropy(parameters, x, labels):
    scores = logits(parameters, x)
    right = mx.take_along_axis(scores, labels[:, None], axis=1).squeeze(1)
    return (mx.logsumexp(scores, axis=1) - right).mean()


def adam(parameter, gradient, mean, square, step, rate, b1=0.9, b2=0.99):
    """Returns the parameter after a step of Adam, and the new moments of its gradient."""
    mean = b1 * mean + (1 - b1) * gradient
    square = b2 * square + (1 - b2) * gradient * gradient
    scale = rate * math.sqrt(1 - b2**step) / (1 - b1**step)
    return parameter - scale * mean / (mx.sqrt(square) + 1e-8), mean, square


def updated(parameters, gradients, moments, step, rate):
    """Returns all parameters and moments after a step of Adam."""
    new_parameters, new_moments = [], []
    for layer, layer_gradients, layer_moments in zip(parameters, gradients, moments):
        news = [
            adam(p, g, m, s, step, rate)
            for p, g, (m, s) in zip(layer, layer_gradients, layer_moments)
        ]
        new_parameters.append(tuple(p for p, _, _ in news))
        new_moments.append(tuple((m, s) for _, m, s in news))
    return new_parameters, new_moments


def accuracy(parameters, images, labels):
    return (mx.argmax(logits(parameters, images), axis=1) == labels).astype(mx.float32).mean()


def train(training, test, prepare_stream, train_stream):
    """Returns the losses of all steps and [(step, accuracy on the test images)]."""
    images, labels = training
    steps = EPOCHS * (len(labels) // BATCH)
    loss_and_gradients = mx.value_and_grad(cross_entropy)
    losses, accuracies = [], []
    with mx.stream(train_stream):
        parameters = new_parameters(mx.random.key(0))
        moments = [tuple((mx.zeros_like(p), mx.zeros_like(p)) for p in row) for row in parameters]
    for step, (x, y) in enumerate(batches(images, labels, prepare_stream), start=1):
        with mx.stream(train_stream):
            rate = 0.004 * (1 + math.cos(math.pi * step / steps)) / 2
            loss, gradients = loss_and_gradients(parameters, x, y)
            parameters, moments = updated(parameters, gradients, moments, step, rate)
            mx.async_eval(loss, parameters, moments)
            losses.append(loss)
            if step % (steps // 25) == 0:
                accuracies.append((step, accuracy(parameters, *test).item()))
        # Waits for the step before, not for this one: the streams never run dry.
        show_progress(step, steps, losses[max(0, step - 2)].item(), accuracies)
    return [loss.item() for loss in losses], accuracies


# --- showing -------------------------------------------------------------------------------------


def show_progress(step, steps, loss, accuracies, width=30):
    terminal = sys.stdout.isatty()
    if not terminal and step % (steps // 5) != 0:
        return
    done = width * step // steps
    right = f"{accuracies[-1][1]:.1%}" if accuracies else "-"
    line = (
        f"[{'#' * done}{'.' * (width - done)}] step {step}/{steps}, loss {loss:.4f}, test {right}"
    )
    print(f"\r{line}   " if terminal else line, end="" if terminal and step < steps else "\n")
    sys.stdout.flush()


def busy_spans(records):
    """Returns the times [begin, end] in which at least one of the records ran."""
    spans = []
    for record in sorted(records, key=lambda r: r["begin"]):
        if spans and record["begin"] <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], record["end"])
        else:
            spans.append([record["begin"], record["end"]])
    return spans


def total(spans):
    return sum(end - begin for begin, end in spans)


def overlap(a, b):
    """Returns the time that lies in a span of `a` and in one of `b`."""
    time_in_both, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        time_in_both += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return time_in_both


def by_stream(records):
    streams = {}
    for record in records:
        streams.setdefault(record["stream_name"], []).append(record)
    return streams


def report(records, seconds):
    """Prints what each stream did, and for how long two of them ran at once."""
    streams = by_stream(records)
    spans = {name: busy_spans(rows) for name, rows in streams.items()}
    print(f"\n{'stream':<10}{'steps':>8}{'busy':>10}{'of the time':>13}")
    for name, rows in streams.items():
        busy = total(spans[name])
        print(f"{name:<10}{len(rows):>8}{busy * 1e3:>7.0f} ms{busy / seconds:>12.0%}")
    both = overlap(spans["prepare"], spans["train"])
    share = both / total(spans["prepare"])
    print(f"{share:.0%} of the preparing ({both * 1e3:.0f} ms) ran while `train` was busy")


def draw(records, losses, accuracies, path):
    """Writes a picture: a piece of the timeline of the streams, and the loss over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"train": "#2f6f9f", "prepare": "#e08a1e"}
    figure, (timeline, curve) = plt.subplots(
        2, 1, figsize=(9, 5.2), height_ratios=(1, 2), layout="constrained"
    )
    middle = records[len(records) // 2]["begin"]
    window = [r for r in records if 0 <= r["begin"] - middle < 0.01]
    streams = by_stream(window)
    names = [name for name in colours if name in streams]
    for row, name in enumerate(names):
        bars = [((r["begin"] - middle) * 1e3, (r["end"] - r["begin"]) * 1e3) for r in streams[name]]
        timeline.broken_barh(bars, (row - 0.35, 0.7), color=colours[name], linewidth=0)
    timeline.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 10), xlabel="milliseconds")
    timeline.set_title("What two streams did, 10 ms from the middle of the training")
    curve.semilogy(range(1, len(losses) + 1), losses, color=colours["train"], linewidth=1)
    curve.set(xlabel="step", ylabel="loss", xlim=(0, len(losses)))
    right = curve.twinx()
    right.plot(*zip(*accuracies), color="#3a8f4d", marker=".", markersize=4)
    right.set(ylabel="accuracy on the test images", ylim=(0.8, 1.0))
    right.yaxis.label.set_color("#3a8f4d")
    figure.savefig(path, dpi=100)


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    training, test = load()
    prepare_stream, train_stream = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    mx.set_stream_name(prepare_stream, "prepare")
    mx.set_stream_name(train_stream, "train")
    print(f"{len(training[1])} training digits, {len(test[1])} test digits, {EPOCHS} epochs")

    start = time.perf_counter()
    with mx.trace(OUTPUT / "digits.json") as trace:
        losses, accuracies = train(training, test, prepare_stream, train_stream)
        mx.synchronize(train_stream)
        seconds = time.perf_counter() - start

    result = accuracies[-1][1]
    print(f"{len(losses)} steps in {seconds:.2f} s, test accuracy {result:.2%}")
    report(trace.records, seconds)
    draw(trace.records, losses, accuracies, OUTPUT / "digits.png")
    print(f"\n{OUTPUT / 'digits.png'}: the timeline and the loss")
    print(f"{OUTPUT / 'digits.json'}: the whole trace, for https://ui.perfetto.dev")
    if result < WANTED_ACCURACY:
        sys.exit(f"the accuracy is below {WANTED_ACCURACY:.0%}")


if __name__ == "__main__":
    main()
