"""One call, made with any module of the API: what test_differential.py and its peer share.

serve() is the peer: it reads pickled requests from stdin and answers each, in the process of a
Python that has MLX, so that a crash there is an answer, too.
"""

import pickle
import struct
import sys
from dataclasses import dataclass, field

import numpy as np

LAYOUTS = ("plain", "transposed", "stepped", "reversed", "offset", "stretched")


@dataclass
class Input:
    """An operand: NumPy values as stored, the dtype they have, and how the operand views them."""

    stored: np.ndarray  # bfloat16 as float32
    dtype: str
    layout: str = "plain"
    shape: tuple = ()  # of a stretched operand


@dataclass
class Request:
    expression: str  # of m (the module) and the names of the inputs and parameters
    inputs: dict
    parameters: dict = field(default_factory=dict)
    gradient: bool = False  # of the sum of the results by all inputs


@dataclass
class Answer:
    error: str = ""  # the name of an exception, or "crash"
    values: list = field(default_factory=list)  # of (dtype, NumPy array)


def viewed(x, how, module):
    """The stored values as the layout shows them, in NumPy or a module of the API."""
    if how.layout == "transposed":
        return x.T
    if how.layout == "stepped":
        return x[..., ::2]
    if how.layout == "reversed":
        return x[..., ::-1]
    if how.layout == "offset":
        return x[1:]
    if how.layout == "stretched":
        return module.broadcast_to(x, how.shape)
    return x


def as_array(m, how):
    dtype = getattr(m, "bool_" if how.dtype == "bool" else how.dtype)
    return viewed(m.array(how.stored, dtype=dtype), how, m)


def as_numpy(how):
    return viewed(how.stored, how, np)


def flat(result):
    if isinstance(result, (list, tuple)):
        return [x for item in result for x in flat(item)]
    return [result]


def described(m, result):
    """(dtype, values) of an array or a Python value."""
    if not isinstance(result, m.array):
        return type(result).__name__, np.array(result)
    name = str(result.dtype).rsplit(".", 1)[-1]
    if name == "bfloat16":
        result = result.astype(m.float32)
    return name, np.array(result)


def total(m, result, inexact):
    parts = [r for r in flat(result) if isinstance(r, m.array) and m.issubdtype(r.dtype, inexact)]
    if not parts:
        raise ValueError("no inexact result")
    # Unequal weights, so that a gradient at a wrong place is seen.
    sums = [(m.cos(m.arange(r.size, dtype=m.float32).reshape(r.shape)) * r).sum() for r in parts]
    return sum(sums[1:], sums[0])


def answer(m, request):
    """The answer of a module; its exceptions are answers."""
    names = {"m": m, **{k: v for k, v in request.parameters.items() if k != "stream"}}
    try:
        arrays = {name: as_array(m, how) for name, how in request.inputs.items()}
        if request.gradient:
            order = list(arrays)

            def loss(*args):
                result = eval(request.expression, {**names, **dict(zip(order, args))})
                return total(m, result, m.floating)

            result = m.grad(loss, argnums=tuple(range(len(order))))(*arrays.values())
        else:
            result = eval(request.expression, {**names, **arrays})
        m.eval(result)
        return Answer(values=[described(m, x) for x in flat(result)])
    except Exception as error:
        return Answer(error=type(error).__name__)


def write(stream, value):
    data = pickle.dumps(value)
    stream.write(struct.pack("<q", len(data)) + data)
    stream.flush()


def read(stream):
    size = stream.read(8)
    return pickle.loads(stream.read(struct.unpack("<q", size)[0])) if len(size) == 8 else None


def serve():
    import mlx.core as m

    np.seterr(all="ignore")
    replies, sys.stdout = sys.stdout.buffer, sys.stderr
    while (request := read(sys.stdin.buffer)) is not None:
        write(replies, answer(m, request))
