"""Every operation against NumPy and, where it is installed, MLX: random shapes, dtypes, strides
and streams, with the values at the edges; forward and gradient.

MLX runs in a process of its own (differential.py), by the Python that RILL_PEER_PYTHON names, the
one of .venv-peers, or this one. What differs on purpose is in docs/differences.md, and here in
DIFFERENT. --full takes many more examples, and looks for the least one that fails.
"""

import atexit
import importlib.util
import os
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from differential import LAYOUTS, Answer, Input, Request, answer, as_numpy, read, write
from differential_rows import DIFFERENT, ROWS
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support import FLOATS, INTEGERS, REALS, mx, numpy_type, rill_only, round_to

HERE = Path(__file__).parent
EXAMPLES = 120 if "--full" in sys.argv else 12
PHASES = [Phase.generate, Phase.shrink] if "--full" in sys.argv else [Phase.generate]
KINDS = {
    "any": REALS + ("complex64",),
    "real": REALS,
    "number": INTEGERS + FLOATS,
    "float": FLOATS,
    "integer": INTEGERS + ("bool",),
    "single": ("float32",),
    "wide": ("float32", "float64"),
    "bool": ("bool",),
    "count": INTEGERS,  # of places to shift by
}
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-30, 65504.0, 1e-7]
TOLERANCE = {"float16": 6e-3, "bfloat16": 5e-2, "float32": 3e-5, "float64": 1e-11}
TOLERANCE["complex64"] = 1e-4

pytestmark = rill_only


def peer_python():
    """A Python that has MLX, or None."""
    named = os.environ.get("RILL_PEER_PYTHON")
    if named:
        return named
    beside = HERE.parents[1] / ".venv-peers" / "bin" / "python"
    if beside.exists():
        return str(beside)
    return sys.executable if importlib.util.find_spec("mlx") else None


class Peer:
    """MLX in another process, which is started again when it dies."""

    def __init__(self, python):
        self.python, self.process = python, None
        atexit.register(self.stop)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, request):
        if self.process is None:
            self.process = subprocess.Popen(
                [self.python, "-c", "import differential; differential.serve()"],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")},
            )
        try:
            write(self.process.stdin, request)
            # MLX may loop for ever, e.g. over the bits of an unusual exponent.
            ready, _, _ = select.select([self.process.stdout], [], [], 10)
            reply = read(self.process.stdout) if ready else None
        except OSError:
            reply = None
        if reply is None:
            self.stop()
        return reply or Answer(error="crash")


@pytest.fixture(autouse=True)
def quiet():
    """NumPy says nothing of nan and infinities."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(scope="module")
def peer():
    python = peer_python()
    if python is None:
        pytest.skip("MLX is not installed: tools/setup peers")
    peer = Peer(python)
    yield peer
    peer.stop()


@st.composite
def inputs(draw, kind, shape, plain_values):
    """An operand of a shape, in some layout of memory."""
    dtype = draw(st.sampled_from(KINDS[kind]))
    layout = draw(st.sampled_from(LAYOUTS))
    stored = list(shape)
    if not shape and layout != "stretched":
        layout = "plain"
    elif layout == "transposed":
        stored.reverse()
    elif layout == "stepped":
        stored[-1] *= 2
    elif layout == "offset":
        stored[0] += 1
    elif layout == "stretched":
        stored = [1] * len(shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.normal(0, 3, stored)
    if dtype == "bool":
        values = rng.random(stored) < 0.5
    elif dtype in INTEGERS:
        limits = np.iinfo(dtype)
        low, high = (-9, 9) if plain_values else (limits.min, limits.max)
        if rng.random() < 0.7:
            low, high = -20, 20
        if kind == "count":
            low, high = 0, 7
        low, high = max(low, limits.min), min(high, limits.max)
        values = rng.integers(low, high, stored, dtype=dtype, endpoint=True)
    elif dtype == "complex64":
        values = values + 1j * rng.normal(0, 3, stored)
    elif not plain_values and rng.random() < 0.4:
        special = rng.random(stored) < 0.3
        values = np.where(special, rng.choice(SPECIAL, stored), values)
    if dtype == "complex64" or dtype in FLOATS:
        values = round_to(values, dtype) if dtype in FLOATS else values.astype(np.complex64)
    stored = np.array(values, dtype=numpy_type(dtype), order="C")
    return Input(stored, dtype, layout, tuple(shape))


@st.composite
def requests(draw, row):
    """A call of a row: its operands, their parameters, and where it runs."""
    shape = draw(row.shapes)
    operands, parameters = {}, {"ndim": len(shape), "shape": shape}
    for name, (kind, shape_of) in row.operands.items():
        operands[name] = draw(inputs(kind, shape_of(draw, shape), row.plain))
    for name, strategy in row.parameters.items():
        parameters[name] = draw(strategy(shape))
    return Request(row.expression, operands, parameters)


def ours(request, where):
    """Rill's answer, on a default or a new stream."""
    if not where:
        return answer(mx, request)
    with mx.stream(mx.new_stream(mx.cpu)):
        return answer(mx, request)


def assert_alike(actual, expected, tolerance, scale, note):
    """Equal in shape, in nan and inf, and in value within tolerance * scale."""
    assert actual.shape == expected.shape, note
    if actual.dtype.kind not in "fc" and expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(actual, expected, err_msg=note)
        return
    wide = np.complex128 if "c" in actual.dtype.kind + expected.dtype.kind else np.float64
    actual, expected = actual.astype(wide), expected.astype(wide)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            actual, expected, rtol=tolerance, atol=tolerance * scale, err_msg=note
        )


def scale_of(request):
    """The largest finite magnitude among the operands, for the errors of sums."""
    largest = 1.0
    for operand in request.inputs.values():
        values = np.abs(operand.stored.astype(np.complex128)).ravel()
        values = values[np.isfinite(values)]
        largest = max(largest, values.max(initial=0) * max(1, values.size) ** 0.5)
    return largest


def coarsest(*dtypes):
    return max((TOLERANCE.get(d, 0) for d in dtypes), default=0)


def note_of(request):
    layouts = {n: (i.dtype, i.layout, as_numpy(i).shape) for n, i in request.inputs.items()}
    return f"{request.expression} of {layouts} with {request.parameters}\n{request.inputs}"


@pytest.mark.parametrize("row", [r for r in ROWS if r.numpy], ids=lambda r: r.name)
def test_values_match_numpy(row):
    @settings(max_examples=EXAMPLES, phases=PHASES)
    @given(requests(row), st.booleans())
    def check(request, where):
        actual = ours(request, where)
        if actual.error:
            return  # what must raise is compared with MLX, and tested where it is documented
        arrays = {name: as_numpy(how) for name, how in request.inputs.items()}
        with np.errstate(all="ignore"):
            expected = eval(row.numpy, {"np": np, **request.parameters, **arrays})
        expected = expected if isinstance(expected, (list, tuple)) else [expected]
        kinds = [i.dtype for i in request.inputs.values()]
        assert len(actual.values) == len(expected)
        for (dtype, value), reference in zip(actual.values, expected):
            reference = np.asarray(reference)
            tolerance = row.tolerance * coarsest(dtype, *kinds)
            if dtype in INTEGERS + ("bool",):
                tolerance, reference = 0, reference.astype(value.dtype)
            elif dtype in FLOATS and reference.dtype.kind == "f":
                reference = round_to(reference, dtype)
            assert_alike(value, reference, tolerance, scale_of(request), note_of(request))

    check()


def compare(row, request, where, peer):
    """Whether both have values; they are alike, or one that raises is not alone."""
    theirs = peer.ask(request)
    if theirs.error == "crash":
        return
    actual = ours(request, where)
    note = note_of(request)
    for different in DIFFERENT:
        if different.applies(row, request, actual, theirs):
            return
    assert bool(actual.error) == bool(theirs.error), f"{actual.error} | {theirs.error}: {note}"
    assert len(actual.values) == len(theirs.values), note
    kinds = [i.dtype for i in request.inputs.values()]
    for (dtype, value), (their_dtype, their_value) in zip(actual.values, theirs.values):
        assert dtype == their_dtype, f"{dtype} | {their_dtype}: {note}"
        # MLX computes float64 in float32 here and there.
        kinds = ["float32" if k == "float64" else k for k in [*kinds, dtype]]
        tolerance = 4 * row.tolerance * coarsest(*kinds)
        assert_alike(value, their_value, tolerance, scale_of(request), note)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_values_match_mlx(row, peer):
    @settings(max_examples=EXAMPLES, phases=PHASES)
    @given(requests(row), st.booleans())
    def check(request, where):
        compare(row, request, where, peer)

    check()


@st.composite
def smooth_requests(draw, row, dtype):
    """A call with operands of distinct values away from kinks, in one dtype."""
    request = draw(requests(row).filter(lambda r: all(i.stored.size for i in r.inputs.values())))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for operand in request.inputs.values():
        if operand.layout == "stretched" and not row.stretched:
            operand.layout = "plain"
            operand.stored = np.empty(operand.shape)
        shape = operand.stored.shape
        values = rng.permutation(operand.stored.size).reshape(shape)
        values = 0.2 + 0.7 * (values + rng.uniform(0.2, 0.8, shape)) / operand.stored.size
        operand.stored, operand.dtype = values.astype(dtype), dtype
    request.gradient = True
    return request


DIFFERENTIABLE = [r for r in ROWS if r.gradient]


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda r: r.name)
def test_gradients_match_finite_differences(row):
    @settings(max_examples=max(4, EXAMPLES // 3), phases=PHASES)
    @given(smooth_requests(row, "float64"), st.integers(0, 2**32))
    def check(request, seed):
        gradients = answer(mx, request)
        if gradients.error:
            forward = answer(mx, Request(request.expression, request.inputs, request.parameters))
            assert forward.error, f"{gradients.error}: {note_of(request)}"
            return
        rng = np.random.default_rng(seed)
        ways = {n: rng.normal(size=i.stored.shape) for n, i in request.inputs.items()}
        step, losses = 1e-6, []
        for sign in (1, -1):
            moved = {
                n: Input(i.stored + sign * step * ways[n], i.dtype, i.layout, i.shape)
                for n, i in request.inputs.items()
            }
            losses.append(loss_of(Request(request.expression, moved, request.parameters)))
        if not np.isfinite(losses).all():
            return
        slope = (losses[0] - losses[1]) / (2 * step)
        expected = sum(
            float((g * shown(i, ways[n])).sum())
            for (n, i), (_, g) in zip(request.inputs.items(), gradients.values)
        )
        assert abs(slope - expected) <= 1e-4 * max(1, abs(slope)), note_of(request)

    check()


def shown(operand, values):
    """`values` stored as those of the operand, as its layout shows them."""
    return as_numpy(Input(values, operand.dtype, operand.layout, operand.shape))


def loss_of(request):
    result = 0.0
    for dtype, values in answer(mx, request).values:
        if dtype in FLOATS:
            weights = np.cos(np.arange(values.size, dtype=np.float32)).astype(np.float32)
            result += float((weights.astype(np.float64).reshape(values.shape) * values).sum())
    return result


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda r: r.name)
def test_gradients_match_mlx(row, peer):
    @settings(max_examples=max(4, EXAMPLES // 3), phases=PHASES)
    @given(smooth_requests(row, "float32"), st.booleans())
    def check(request, where):
        compare(row, request, where, peer)

    check()
