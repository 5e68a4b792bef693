"""Every operation of calls.py as a function of its arrays, for the matrix of transformations."""

import functools

import numpy as np
from calls import CALLS, find
from support import HALVES, INTEGERS, mx, name_of, to_numpy

INEXACT = ("float16", "bfloat16", "float32", "float64", "complex64")
# Functions of a symmetric matrix, whose derivatives are defined among those only.
SYMMETRIC = {
    "linalg.cholesky",
    "linalg.eigh",
    "linalg.eigvalsh",
    "random.multivariate_normal",
}
SPECTRAL = {*SYMMETRIC, "linalg.eig", "linalg.eigvals", "linalg.svd", "linalg.svdvals"}
# Complex vectors of any phase: their derivatives are compared by the absolute squares.
ANY_PHASE = {"linalg.eigh", "linalg.svd"}
# Computed in single precision, whatever the dtype of the operands.
SINGLE = {"dequantize"}
# Undefined values.
UNDEFINED = {"empty", "empty_like"}
# The shapes of their results depend on values, which a traced function does not have.
EVALUATING = {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"}


def is_inexact(array):
    return name_of(array.dtype) in INEXACT


def replaced(tree, arrays):
    """The tree with its arrays replaced by the next ones of an iterator."""
    if isinstance(tree, mx.array):
        return next(arrays)
    if isinstance(tree, (list, tuple)):
        return type(tree)([replaced(item, arrays) for item in tree])
    if isinstance(tree, dict):
        return {key: replaced(item, arrays) for key, item in tree.items()}
    return tree


def arrays_in(tree):
    if isinstance(tree, mx.array):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [array for item in tree for array in arrays_in(item)]
    return []


def seeded(*words):
    return np.random.default_rng(
        [sum(map(ord, word)) if isinstance(word, str) else word for word in words]
    )


class Operation:
    """A call of an operation: `arrays` are its operands, by which it can be called again."""

    def __init__(self, name):
        self.name = name
        self.function = find(mx, name)
        self.tree = CALLS[name](mx)
        self.arrays = arrays_in(self.tree)
        self.variables = [i for i, array in enumerate(self.arrays) if is_inexact(array)]

    def __call__(self, *arrays):
        """All outputs, as a list."""
        if self.name in SYMMETRIC:
            arrays = [
                (a + mx.conjugate(mx.swapaxes(a, -1, -2))) * 0.5 if a.ndim == 2 else a
                for a in arrays
            ]
        args, kwargs = replaced(self.tree, iter(arrays))
        return arrays_in(self.function(*args, **kwargs))

    def smooth(self, arrays):
        """The inexact outputs as a function of the inexact operands, the others being fixed."""

        def function(*values):
            own = list(arrays)
            for i, value in zip(self.variables, values):
                own[i] = value
            outputs = [output for output in self(*own) if is_inexact(output)]
            if self.name in ANY_PHASE and "complex64" in (name_of(v.dtype) for v in values):
                return [mx.real(output * mx.conjugate(output)) for output in outputs]
            return outputs

        return function

    def point(self, seed, dtype=None):
        """Operands near those of the call; those that vary in `dtype` where it is given."""
        rng = seeded(self.name, seed)
        return [self.moved(array, rng, seed, dtype) for array in self.arrays]

    def moved(self, array, rng, seed, dtype):
        kind = name_of(array.dtype)
        if kind == "uint32" and array.shape == (2,) and self.name.startswith("random"):
            return mx.random.key(seed)
        if kind not in INEXACT:
            return array[::-1] if seed % 2 and array.ndim and kind != "bool" else array
        values = to_numpy(array).astype(np.complex128 if kind == "complex64" else np.float64)
        values = values * rng.uniform(0.9, 1, values.shape)
        if dtype is not None and name_of(dtype) in (*INTEGERS, "bool"):
            return mx.array(np.round(9 * values), mx.float64).astype(dtype)
        if self.name.startswith("linalg"):
            values = values + 0.1 * rng.uniform(0, 1, values.shape)
        if self.name in SPECTRAL and values.ndim == 2:  # eigenvalues that are far apart
            values = values + np.diag(np.arange(len(values)))
        if "complex64" in (kind, dtype and name_of(dtype)):
            return mx.array((values + 0.1j * rng.uniform(0, 1, values.shape)).astype(np.complex64))
        return mx.array(values, mx.float64).astype(dtype or array.dtype)

    def takes(self, dtype):
        try:
            mx.eval(self(*self.point(0, dtype)))
            return True
        except (ValueError, TypeError):
            return False

    @functools.cached_property
    def exact(self):
        """The widest dtype in which the operation takes its operands."""
        return mx.float64 if self.name not in SINGLE and self.takes(mx.float64) else None


@functools.cache
def operation(name):
    return Operation(name)


NAMES = [
    name for name in CALLS if find(mx, name) is not None and name not in UNDEFINED | EVALUATING
]
BATCHED = [name for name in NAMES if operation(name).arrays]
SMOOTH = [
    name
    for name in BATCHED
    if operation(name).variables
    and any(is_inexact(o) for o in operation(name)(*operation(name).arrays))
]


def inner(left, right):
    """The real inner product of two lists of arrays, in double precision."""
    total = 0.0
    for a, b in zip(left, right):
        total += np.sum(np.conj(wide(a)) * wide(b)).real
    return total


def wide(array):
    values = to_numpy(array) if isinstance(array, mx.array) else np.asarray(array)
    return values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)


def directions(arrays, *seed):
    """Random arrays like those given."""
    rng = seeded(*seed)
    result = []
    for array in arrays:
        values = rng.uniform(-1, 1, array.shape)
        if name_of(array.dtype) == "complex64":
            values = (values + 1j * rng.uniform(-1, 1, array.shape)).astype(np.complex64)
            result.append(mx.array(values))
        else:
            result.append(mx.array(values, mx.float64).astype(array.dtype))
    return result


def coarse(arrays):
    return any(name_of(array.dtype) != "float64" for array in arrays)


def check_directional(function, point, along, weights, analytic, single=False):
    """`analytic`, the change of <weights, function> along a direction, against differences.

    `single`: what is computed on the way has single precision.
    """
    outputs = function(*point)
    single = single or coarse([*point, *outputs])
    step, tolerance = (4e-3, 1e-2) if single else (1e-5, 1e-6)
    if any(name_of(array.dtype) in HALVES for array in outputs):
        step, tolerance = 0.1, 0.1
    ends = []
    for distance in (step, -step):
        moved = [x + (distance * d).astype(x.dtype) for x, d in zip(point, along)]
        ends.append(inner(weights, function(*moved)))
    numeric = (ends[0] - ends[1]) / (2 * step)
    scale = max(
        1.0, abs(numeric), sum(np.abs(wide(w) * wide(o)).sum() for w, o in zip(weights, outputs))
    )
    assert abs(analytic - numeric) <= tolerance * scale, (analytic, numeric)


def stacked(lists):
    """A list of stacks from lists of arrays."""
    return [mx.stack(arrays) for arrays in zip(*lists)]
