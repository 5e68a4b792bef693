"""Calls every function of rill.core with arguments that it did not hope for.

usage: PYTHONPATH=python tools/fuzz.py [--seconds 600] [--calls N] [--seed 0] [--only REGEX]

Wrong types, negative and huge sizes, shapes that do not match, axes out of range, foreign objects,
among arguments that are right. The calls run in a child process with bounded memory: a crash, a
hang or an exception of the wrong kind is reported with the text of the call, which can be pasted.
The same seed makes the same calls. The exit status is 1 when there is something to report.
"""

import argparse
import inspect
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_api import NAMES, POSITIONAL, REST, signatures_of

PATIENCE = 20  # seconds, for one call
MEMORY = 6 << 30  # bytes of address space of the child
ALLOWED = (ValueError, TypeError, IndexError, MemoryError, OverflowError, BufferError)
# What an exception of ours never says: the names of C++ types that nobody caught.
LEAKED = re.compile(r"std::|bad_cast|bad_variant|basic_string|vector::|Unable to convert")

ARRAYS = """
mx.array(1.5) | mx.array(3) | mx.array(True) | mx.array([1.0, 2.0, 3.0]) | mx.array([1, 2, 3])
mx.array([[1.0, 2.0], [3.0, 4.5]]) | mx.arange(24.0).reshape(2, 3, 4) | mx.zeros((0,)) | mx.eye(3)
mx.zeros((0, 3)) | mx.zeros((3, 0, 2), mx.int32) | mx.array([nan, inf, -inf, -0.0])
mx.ones((1,))
mx.arange(6).reshape(2, 3).T | mx.arange(10)[::-2] | mx.array([True, False, True])
mx.ones((1, 1))
mx.array([255, 0, 7], mx.uint8) | mx.array([-128, 127], mx.int8) | mx.array([2**63], mx.uint64)
mx.array([-2**63, 2**63 - 1], mx.int64) | mx.array([1e300, 1e-300], mx.float64)
mx.array([1 + 2j])
mx.ones((2, 3), mx.bfloat16) | mx.ones((4,), mx.float16) | mx.ones((1,) * 9) | mx.zeros((2,) * 11)
mx.broadcast_to(mx.array(1.0), (1 << 10,)) | mx.array([0, 5, -7]) | mx.array([[0, 1], [9, -9]])
mx.array([0, 1], mx.uint32) | mx.random.key(3) | mx.ones((2, 2, 2), mx.complex64) | mx.array([[]])
mx.array(float('nan')) | mx.ones((5, 4, 3, 2))
mx.array([1.0])[mx.array([7])] | mx.full((3, 3), nan) | mx.array([1, 2, 3], mx.int16)[1:]
"""
NUMBERS = """
0 | 1 | 2 | -1 | 3 | 7 | -5 | 100 | 2**31 - 1 | 2**31 | -2**31 - 1 | 2**32 | 2**62 | 2**63 - 1
2**63
-2**63 | 2**64 | 10**40 | True | 0.5 | -0.0 | 1e40 | 1e400 | nan | -inf | 1j | np.int64(2)
np.float32(1.5) | np.uint64(2**63)
"""
SEQUENCES = """
() | [] | (0,) | (1,) | (2, 3) | [2, -1] | (-1,) | (-1, -1) | (0, 1) | (1, 0) | [0, 0] | (2, 0, 1)
(1 << 40,) | (1 << 31, 1 << 33) | (2**62, 2) | (2**63,) | (-2**63,) | (1,) * 40 | (3, 3)
(0, 2**62)
[(1, 2), (0, 1)] | [1.5] | ['a'] | [None] | [[0], [1]] | (True,) | range(3) | 'ab' | [2**64]
[mx.array(1.0)] | [mx.ones((2,)), mx.ones((3,))] | [mx.ones((2, 2)), mx.ones((2, 2))]
(mx.array(1),)
[mx.zeros((0,)), 3] | [[1, 2], [3]] | np.array([1, 0]) | ([0], [1]) | [[], []]
"""
OTHERS = """
None | object() | 'x' | '' | 'ij,jk->ik' | 'ij->' | '...i,i' | 'fro' | 'nuc' | 'same'
b'ab' | {} | {'a': 1}
set() | ... | slice(None) | slice(None, None, -1) | slice(5, 2**63) | mx | int | len
lambda *a: a
lambda x: x.sum() | (lambda x: (x * x).sum()) | np.zeros((2, 3)) | np.array(['a'])
np.array([None])
np.zeros(3)[::-1] | np.array(5) | np.zeros((2,), 'datetime64[s]') | np.zeros(2, '>f4') | Odd()
Liar() | Ill() | mx.array | mx.array.__new__(mx.array) | 'symmetric' | 'reflect' | 'edge'
'left' | 'U'
"""
DTYPES = """
mx.float32 | mx.bool_ | mx.int8 | mx.uint64 | mx.float16 | mx.bfloat16 | mx.float64 | mx.complex64
mx.uint32 | mx.int64 | None | 'float32' | np.float32 | mx.floating | 3
"""
STREAMS = """
None | None | None | mx.cpu | mx.new_stream(mx.cpu) | mx.Device(mx.cpu) | mx.gpu
mx.Device(mx.cpu, 7)
mx.Device(mx.cpu, -1) | 'cpu' | 3 | mx.new_thread_local_stream(mx.cpu)
"""
INDICES = """
0 | -1 | 5 | None | ... | slice(None) | slice(None, None, -1) | slice(2**63, None)
slice(None, None, 0)
slice(1, 0) | slice(-2**63, 2**63 - 1, 2**62) | mx.array([0, 1]) | mx.array([9])
mx.array([True, False])
mx.array(0) | [0, 1] | [0, -1] | True | 1.5 | 'a' | mx.array([0.5]) | (0, ...) | (..., None, 0)
() | 2**63
mx.zeros((0,), mx.int32) | np.array([0, 1]) | (slice(None), mx.array([1, 0])) | (..., ...)
[[0], [1]]
(mx.array([0, 1]), mx.array([[1], [0]])) | (None,) * 20 | mx.array([True, False, True])
mx.array(True)
mx.array([-1], mx.int8) | mx.array([2**63], mx.uint64) | slice(mx.array(1), None) | (0,) * 40
object()
"""


def pieces(text):
    return [piece.strip() for piece in re.split(r"[|\n]", text.strip()) if piece.strip()]


ARRAYS, NUMBERS, SEQUENCES, OTHERS = map(pieces, (ARRAYS, NUMBERS, SEQUENCES, OTHERS))
DTYPES, STREAMS, INDICES = map(pieces, (DTYPES, STREAMS, INDICES))
EVERYTHING = ARRAYS + NUMBERS + SEQUENCES + OTHERS + DTYPES + STREAMS + INDICES
SMALL = ["0", "-1", "1", "None", "2", "-3", "(0, 1)", "(-1,)", "()", "(0, 0)", "7"]
SIZES = ["0", "1", "2", "3", "5", "-1", "-4"]
# What a parameter of this name hopes for.
HOPES = [
    (
        r"a|b|c|x|y|z|v|w|q|k_|input|weight|values?|other|self|arrays?_?|logits|targets|mean|cov",
        ARRAYS,
    ),
    (
        r"p|low|high|lower|upper|vals|a_min|a_max|constant_values|loc|scale|mask|sorted_sequence",
        ARRAYS,
    ),
    (r"condition|update|start_indices|.*indices|key|scales|biases|offset|bias", ARRAYS),
    (r"axis|axis1|axis2|axes|source|destination|start_axis|end_axis|decimals|shift", SMALL),
    (r"shape|strides|slice_size|reps|pad_width|indices_or_sections|shapes", SEQUENCES + SIZES),
    (r"n|m|k|M|num|repeats|kth|size|dims|groups|stride|padding|dilation|block_size|ddof", SIZES),
    (r"arrays|primals|tangents|cotangents|inputs|dependencies|operands", SEQUENCES + ARRAYS),
    (r"dtype|kind|arg|arg1|arg2|to|from_", DTYPES),
    (r"stream|device|s|d", STREAMS),
    (r"start|stop|step|rtol|atol|nan|posinf|neginf|alpha|beta|eps|base", NUMBERS),
    (
        r"keepdims|reverse|inclusive|precise|sparse|upper|equal_nan|copy|traditional",
        ["True", "False"],
    ),
    (
        r"fun",
        ["lambda x: x.sum()", "(lambda x: (x * x).sum())", "lambda *a: a[0]", "lambda x: None"],
    ),
    (
        r"subscripts",
        ["'ij,jk->ik'", "'ij->'", "'i,i'", "'...i,i'", "'ii'", "'->'", "'i->ii'", "''"],
    ),
]
HOPES = [(re.compile(pattern + r"$"), pool) for pattern, pool in HOPES]
# Functions that would change this process, write files, or wait by design.
LEFT_OUT = re.compile(
    r"(set_(default_\w+|memory_limit|cache_limit|wired_limit|printoptions|stream_name)|trace|load"
    r"|save\w*|export\w*|import_function|printoptions|start_capture|_\w+|FunctionExporter)$"
)
SLOTS = """
{} + {} | {} - {} | {} * {} | {} / {} | {} // {} | {} % {} | {} ** {} | {} @ {} | {} & {}
{} << {} | {} >> {} | {} < {} | {} == {} | {} != {} | divmod({}, {}) | -{} | ~{} | abs({})
float({})
int({}) | bool({}) | complex({}) | len({}) | list({}) | hash({}) | repr({}) | format({}, '.3f')
range({})
np.array({}) | copy.deepcopy({}) | pickle.loads(pickle.dumps({})) | memoryview({})
mx.array({}, {})
"""
SLOTS = [*pieces(SLOTS), "{} | {}"]


class Odd:
    """Offers an array that is none."""

    def __array__(self, dtype=None, copy=None):
        return "no array"

    def __dlpack__(self, **kwargs):
        return 3


class Liar:
    """Says that it is longer than it is, and a number that fails."""

    shape = (2**62, "a")

    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index > 2:
            raise IndexError
        return index

    def __float__(self):
        raise ValueError("no number")


class Ill:
    """Raises whatever is asked of it."""

    def __getattr__(self, name):
        raise RuntimeError("ill")


def functions(mx):
    """The names of what can be called, as text after `mx.`, with their parameters."""
    found = []
    for holder in ("", "random.", "linalg.", "fft.", "fast.", "distributed.", "metal.", "cuda."):
        module = getattr(mx, holder[:-1], None) if holder else mx
        for name, value in sorted(vars(module).items()) if module else ():
            plain = callable(value) and not inspect.isclass(value)
            if plain and not LEFT_OUT.match(name):
                found += [(f"mx.{holder}{name}", s.parameters) for s in signatures_of(value)]
    for name in ("finfo", "iinfo", "Device", "ArrayLike", "StreamContext", "array"):
        found += [(f"mx.{name}", s.parameters) for s in signatures_of(getattr(mx, name))]
    for name, value in sorted(vars(mx.array).items()):
        if not re.match(r"__(init|setstate|new|class|iter)|to_device", name) and callable(value):
            found += [(f"{{}}.{name}", s.parameters) for s in signatures_of(value)]
    return found


class Caller:
    """Makes the texts of calls, the same for a seed."""

    def __init__(self, mx, seed, only=""):
        self.random = random.Random(seed)
        self.functions = [f for f in functions(mx) if re.search(only, f[0])]
        self.with_slots = not only

    def argument(self, name):
        if self.random.random() < 0.2:
            return self.random.choice(EVERYTHING)
        for pattern, pool in HOPES:
            if pattern.match(name):
                return self.random.choice(pool)
        return self.random.choice(EVERYTHING)

    def function_call(self):
        name, parameters = self.random.choice(self.functions)
        positional, named = [], []
        by_position = True
        for p in parameters:
            if p.kind == REST:
                positional += [self.argument(p.name) for _ in range(self.random.randrange(4))]
            elif p.kind == NAMES:
                named += ["extra=1"] if self.random.random() < 0.1 else []
            elif p.default is not None and self.random.random() < 0.5:
                by_position = False
            elif by_position and p.kind <= POSITIONAL + 1:
                positional.append(self.argument(p.name))
            elif not re.match(r"arg\d*$", p.name):
                named.append(f"{p.name}={self.argument(p.name)}")
        text = f"{name}({', '.join(positional + named)})"
        return text.replace("{}", self.random.choice(ARRAYS), 1) if "{}" in name else text

    def slot_call(self):
        text = self.random.choice(SLOTS)
        pools = [ARRAYS, EVERYTHING] if text.count("{}") == 2 else [ARRAYS]
        if self.random.random() < 0.3:
            pools.reverse()
        for pool in pools:
            text = text.replace("{}", f"({self.random.choice(pool)})", 1)
        return text

    def index_call(self):
        array, index = self.random.choice(ARRAYS), self.random.choice(INDICES)
        if self.random.random() < 0.3:
            index = f"({index}, {self.random.choice(INDICES)})"
        value = self.random.choice(EVERYTHING if self.random.random() < 0.3 else ARRAYS)
        method = self.random.choice(["add", "subtract", "multiply", "divide", "maximum", "minimum"])
        return self.random.choice(
            [
                f"({array})[{index}]",
                f"({array}).__setitem__({index}, {value})",
                f"({array}).at[{index}].{method}({value})",
            ]
        )

    def gradient_call(self):
        text = self.function_call()
        array = self.random.choice(ARRAYS)
        kind = self.random.choice(
            ["mx.grad(lambda t: total({}))({})", "mx.jvp(lambda t: {}, [{1}], [{1}])"]
        )
        if array in text:
            text = text.replace(array, "t", 1)
        return kind.replace("{}", text, 1).replace("{1}", array).replace("{}", array)

    def call(self):
        if not self.with_slots:
            return self.function_call()
        kinds = (self.function_call, self.slot_call, self.index_call, self.gradient_call)
        return self.random.choices(kinds, (6, 1, 2, 2))[0]()


def total(value):
    """The loss of what a call returned: the sum of its arrays."""
    if isinstance(value, (list, tuple)):
        return sum(map(total, value))
    if not hasattr(value, "nbytes"):
        raise TypeError("no array")
    if value.size > 1 << 24:
        raise ValueError("too large to wait for")
    return value.sum()


def consume(mx, np, value):
    """Evaluates what a call returned, and reads it."""
    if isinstance(value, mx.array):
        if value.nbytes < 1 << 26:
            np.array(value)
            repr(value)
        else:
            mx.eval(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            consume(mx, np, item)


def reset_switches(mx):
    """Undoes what a call may switch on or off for the whole process: the next one runs as it does
    when it is pasted."""
    mx.debug_nans(False)
    mx.debug(serial=False)
    mx.enable_compile()


def outcome(text, names):
    """What is wrong with how a call ended, or None."""
    mx, np = names["mx"], names["np"]
    try:
        consume(mx, np, eval(text, names))
    except ALLOWED as error:
        leaked = LEAKED.search(str(error)) and not isinstance(error, MemoryError)
        return f"says {error}" if leaked else None
    except RuntimeError as error:
        ours = str(error).startswith("[") or str(error) == "ill"
        return None if ours and not LEAKED.search(str(error)) else f"RuntimeError: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        reset_switches(mx)
    return None


def child(seed, calls, log_path, only):
    """Makes calls; the log holds the number and text of the one that runs."""
    import copy
    import pickle

    import numpy as np
    import rill.core as mx

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mx.set_memory_limit(1 << 30)
    names = {"mx": mx, "np": np, "nan": np.nan, "inf": np.inf, "copy": copy, "pickle": pickle}
    names |= {"Odd": Odd, "Liar": Liar, "Ill": Ill, "total": total}
    np.seterr(all="ignore")
    sys.setrecursionlimit(400)
    caller = Caller(mx, seed, only)
    with open(log_path, "r+b", buffering=0) as log:
        for number in range(calls):
            text = caller.call()
            log.seek(0)
            log.write(f"{number}\n{text}\n".encode())
            log.truncate()
            if wrong := outcome(text, names):
                print(f"{text}\n    {wrong}", flush=True)
    mx.synchronize()


def run_child(seed, calls, only):
    """The reports of the calls of one seed, and how many were made."""
    with tempfile.NamedTemporaryFile() as log:
        command = [sys.executable, __file__, "--child", "--seed", str(seed), "--calls", str(calls)]
        process = subprocess.Popen(
            [*command, "--log", log.name, "--only", only],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        last, since = "", time.monotonic()
        while True:
            try:
                output, errors = process.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                now = Path(log.name).read_text()
                if now != last:
                    last, since = now, time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    process.kill()
                    output, errors = process.communicate()
                    break
        number, _, text = Path(log.name).read_text().partition("\n")
        reports = output.splitlines()
        if process.returncode:
            how = "hangs" if process.returncode == -9 else f"ends with {process.returncode}"
            reports += [f"{text.strip()}\n    the process {how}: {errors.strip()[-300:]}"]
        return reports, int(number or 0) + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--calls", type=int, default=0, help="stop after as many calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only functions whose name matches")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.seed, options.calls, options.log, options.only)
    end = time.monotonic() + options.seconds
    seed, made, found = options.seed, 0, 0
    while time.monotonic() < end and not (options.calls and made >= options.calls):
        batch = min(2000, options.calls - made) if options.calls else 2000
        reports, count = run_child(seed, batch, options.only)
        made, seed, found = made + count, seed + 1, found + len(reports)
        if reports:
            print(f"seed {seed - 1}:", *reports, sep="\n", flush=True)
    print(f"{made} calls, {found} lines of reports", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
