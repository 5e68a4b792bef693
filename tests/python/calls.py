"""Suitable arguments for every function of the API that takes a stream.

CALLS maps the name within the module to a function of the module that gives (args, kwargs).
"""


def f(mx, *shape):
    """Floats in (0, 1) of a shape."""
    size = 1
    for n in shape:
        size *= n
    return ((mx.arange(size) + 1) / (size + 1)).reshape(shape)


def one(**kwargs):
    return lambda mx: ((f(mx, 2, 3),), kwargs)


def two(**kwargs):
    return lambda mx: ((f(mx, 2, 3), f(mx, 2, 3)), kwargs)


def ints(**kwargs):
    return lambda mx: ((mx.array([5, 6]), mx.array([1, 2])), kwargs)


def square(**kwargs):
    return lambda mx: ((f(mx, 3, 3) + 3 * mx.eye(3),), kwargs)


def complex_line(**kwargs):
    return lambda mx: ((f(mx, 4, 8).astype(mx.complex64),), kwargs)


def line(**kwargs):
    return lambda mx: ((f(mx, 4, 8),), kwargs)


def given(*args, **kwargs):
    return lambda mx: (args, kwargs)


def drawn(*args, **kwargs):
    return lambda mx: (args, {**kwargs, "key": mx.random.key(1)})


UNARY = """
abs acos arccos arcsin arcsinh arctan arctanh asin asinh atan atanh ceil conj conjugate cos cosh
degrees erf erfinv exp expm1 floor imag isfinite isinf isnan isneginf isposinf log log10 log1p
log2 logical_not negative positive radians real reciprocal round rsqrt sigmoid sign sin sinh sqrt
square stop_gradient tan tanh trunc nan_to_num all any argmax argmin argsort count_nonzero cummax
cummin cumprod cumsum cumulative_prod cumulative_sum logcumsumexp logsumexp max mean median min
prod softmax sort std sum var atleast_1d atleast_2d atleast_3d contiguous diff flatten flip
squeeze trace transpose permute_dims matrix_transpose unstack zeros_like ones_like empty_like diag
diagonal tril triu matrix_norm signbit unique_all unique_counts unique_inverse unique_values nonzero
"""
BINARY = """
add allclose arctan2 array_equal atan2 divide divmod equal floor_divide greater greater_equal
inner isclose kron less less_equal logaddexp logical_and logical_or logical_xor maximum minimum
multiply not_equal outer pow power remainder subtract tensordot vecdot broadcast_arrays meshgrid
copysign hypot nextafter
"""

CALLS = {
    **{name: one() for name in UNARY.split()},
    **{name: two() for name in BINARY.split()},
    **{
        name: ints()
        for name in (
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "bitwise_left_shift",
            "bitwise_right_shift",
            "left_shift",
            "right_shift",
        )
    },
    **{
        name: given(5) for name in ("bartlett", "blackman", "hamming", "hanning", "identity", "eye")
    },
    **{name: given((2, 3)) for name in ("zeros", "ones", "empty")},
    "acosh": lambda mx: ((1 + f(mx, 3),), {}),
    "arccosh": lambda mx: ((1 + f(mx, 3),), {}),
    "bitwise_invert": lambda mx: ((mx.array([1, 2]),), {}),
    "addmm": lambda mx: ((f(mx, 2, 2), f(mx, 2, 3), f(mx, 3, 2)), {}),
    "arange": given(1, 5, 2),
    "argpartition": one(kth=1),
    "partition": one(kth=1),
    "topk": one(k=1),
    "as_strided": one(shape=(2, 2), strides=(1, 1), offset=1),
    "astype": lambda mx: ((f(mx, 2), mx.float16), {}),
    "view": lambda mx: ((f(mx, 2), mx.int32), {}),
    "block_masked_mm": lambda mx: ((f(mx, 64, 64), f(mx, 64, 64)), {"block_size": 32}),
    "broadcast_to": lambda mx: ((f(mx, 3), (2, 3)), {}),
    "clip": one(a_min=0.2, a_max=0.5),
    "concat": lambda mx: (([f(mx, 2), f(mx, 3)],), {}),
    "concatenate": lambda mx: (([f(mx, 2), f(mx, 3)],), {}),
    "stack": lambda mx: (([f(mx, 2), f(mx, 2)],), {}),
    "conv1d": lambda mx: ((f(mx, 1, 8, 2), f(mx, 3, 3, 2)), {}),
    "conv2d": lambda mx: ((f(mx, 1, 5, 5, 2), f(mx, 3, 3, 3, 2)), {}),
    "conv3d": lambda mx: ((f(mx, 1, 4, 4, 4, 2), f(mx, 3, 2, 2, 2, 2)), {}),
    "conv_general": lambda mx: ((f(mx, 1, 8, 2), f(mx, 3, 3, 2)), {}),
    "conv_transpose1d": lambda mx: ((f(mx, 1, 8, 2), f(mx, 3, 3, 2)), {}),
    "conv_transpose2d": lambda mx: ((f(mx, 1, 5, 5, 2), f(mx, 3, 3, 3, 2)), {}),
    "conv_transpose3d": lambda mx: ((f(mx, 1, 4, 4, 4, 2), f(mx, 3, 2, 2, 2, 2)), {}),
    "convolve": lambda mx: ((f(mx, 5), f(mx, 3)), {}),
    "einsum": lambda mx: (("ij,kj->ik", f(mx, 2, 3), f(mx, 2, 3)), {}),
    "expand_dims": one(axis=1),
    "from_fp8": lambda mx: ((mx.array([1, 2], mx.uint8),), {}),
    "to_fp8": one(),
    "full": given((2, 3), 7),
    "full_like": lambda mx: ((f(mx, 2), 7), {}),
    "gather_mm": lambda mx: ((f(mx, 2, 2, 3), f(mx, 2, 3, 2)), {"rhs_indices": mx.array([1, 0])}),
    "hadamard_transform": lambda mx: ((f(mx, 2, 8),), {}),
    "linspace": given(0, 1, 5),
    "matmul": lambda mx: ((f(mx, 2, 3), f(mx, 3, 2)), {}),
    "moveaxis": one(source=0, destination=1),
    "swapaxes": one(axis1=0, axis2=1),
    "pad": one(pad_width=1),
    "put_along_axis": lambda mx: ((f(mx, 2, 3), mx.array([[0], [1]]), mx.array(1.0)), {"axis": 1}),
    "take_along_axis": lambda mx: ((f(mx, 2, 3), mx.array([[0], [1]])), {"axis": 1}),
    "take": lambda mx: ((f(mx, 2, 3), mx.array([0, 1])), {"axis": 1}),
    "repeat": one(repeats=2),
    "reshape": one(shape=(3, 2)),
    "roll": lambda mx: ((f(mx, 2, 3), 1), {}),
    "searchsorted": lambda mx: ((mx.array([1, 3, 5]), mx.array([2])), {}),
    "segmented_mm": lambda mx: (
        (f(mx, 2, 4), f(mx, 4, 2)),
        {"segments": mx.array([[0, 2], [2, 4]], mx.uint32)},
    ),
    "slice": lambda mx: ((f(mx, 2, 3), mx.array([1]), (0,), (1, 3)), {}),
    "slice_update": lambda mx: ((f(mx, 2, 3), f(mx, 1, 3), mx.array([1]), (0,)), {}),
    "split": one(indices_or_sections=3, axis=1),
    "tile": lambda mx: ((f(mx, 2, 3), 2), {}),
    "tri": given(3, 3, 0),
    "unflatten": one(axis=1, shape=(3, 1)),
    "where": lambda mx: ((mx.array([True, False]), f(mx, 2), 0), {}),
    "quantize": lambda mx: ((f(mx, 2, 64),), {}),
    "dequantize": lambda mx: (mx.quantize(f(mx, 2, 64)), {}),
    "quantized_matmul": lambda mx: ((f(mx, 3, 64), *mx.quantize(f(mx, 2, 64))), {}),
    "gather_qmm": lambda mx: (
        (f(mx, 1, 3, 64), *mx.quantize(f(mx, 2, 8, 64))),
        {"rhs_indices": mx.array([1])},
    ),
    "qqmm": lambda mx: ((f(mx, 3, 64), f(mx, 2, 64)), {}),
    "gather_qqmm": lambda mx: (
        (f(mx, 1, 3, 64), f(mx, 2, 8, 64)),
        {"rhs_indices": mx.array([1])},
    ),
    # random
    "random.bernoulli": drawn(0.5, (3,)),
    "random.categorical": lambda mx: ((f(mx, 2, 3),), {"key": mx.random.key(1)}),
    "random.gumbel": drawn((3,)),
    "random.bits": drawn((2, 3)),
    "random.laplace": drawn((3,)),
    "random.multivariate_normal": lambda mx: (
        (mx.zeros(2), mx.eye(2), (3,)),
        {"key": mx.random.key(1)},
    ),
    "random.normal": drawn((3,)),
    "random.permutation": drawn(5),
    "random.randint": drawn(0, 9, (3,)),
    "random.split": lambda mx: ((mx.random.key(1),), {}),
    "random.truncated_normal": drawn(-1, 1, (3,)),
    "random.uniform": drawn(0, 1, (3,)),
    # linear algebra
    **{
        "linalg." + name: square()
        for name in (
            "det",
            "eig",
            "eigvals",
            "inv",
            "lu",
            "lu_factor",
            "norm",
            "pinv",
            "qr",
            "slogdet",
            "svd",
            "svdvals",
            "diagonal",
            "matrix_norm",
            "matrix_rank",
            "matrix_transpose",
            "trace",
            "vector_norm",
        )
    },
    "linalg.matmul": lambda mx: ((f(mx, 2, 3), f(mx, 3, 2)), {}),
    "linalg.matrix_power": lambda mx: ((f(mx, 3, 3) + 3 * mx.eye(3), 3), {}),
    "linalg.outer": two(),
    "linalg.tensordot": two(),
    "linalg.vecdot": two(),
    "linalg.cholesky": lambda mx: ((mx.eye(3) * 4,), {}),
    "linalg.cholesky_inv": lambda mx: ((mx.eye(3) * 2,), {}),
    "linalg.eigh": lambda mx: ((mx.eye(3) * 2,), {}),
    "linalg.eigvalsh": lambda mx: ((mx.eye(3) * 2,), {}),
    "linalg.cross": lambda mx: ((f(mx, 3), f(mx, 3) * 2), {}),
    "linalg.solve": lambda mx: ((mx.eye(3) * 2, f(mx, 3)), {}),
    "linalg.solve_triangular": lambda mx: ((mx.eye(3) * 2, f(mx, 3, 1)), {}),
    "linalg.tri_inv": lambda mx: ((mx.eye(3) * 2,), {}),
    # transforms
    **{
        "fft." + name: complex_line()
        for name in (
            "fft",
            "fft2",
            "fftn",
            "ifft",
            "ifft2",
            "ifftn",
            "irfft",
            "irfft2",
            "irfftn",
            "hfft",
            "fftshift",
            "ifftshift",
        )
    },
    **{"fft." + name: line() for name in ("rfft", "rfft2", "rfftn", "ihfft")},
    "fft.fftfreq": given(8),
    "fft.rfftfreq": given(8),
    # control flow
    "cond": lambda mx: ((mx.array(True), mx.sin, mx.cos, f(mx, 2, 3)), {}),
    "while_loop": lambda mx: ((lambda x: x.sum() < 9, lambda x: x + 1, f(mx, 2, 3)), {}),
    "scan": lambda mx: ((lambda c, x: (c + x, c * x), f(mx, 3), f(mx, 2, 3)), {}),
    # fast
    "fast.cross_entropy": lambda mx: ((f(mx, 2, 5), mx.array([1, 3])), {}),
    "fast.layer_norm": lambda mx: ((f(mx, 2, 8), mx.ones(8), mx.zeros(8), 1e-5), {}),
    "fast.rms_norm": lambda mx: ((f(mx, 2, 8), mx.ones(8), 1e-5), {}),
    "fast.rope": lambda mx: (
        (f(mx, 1, 2, 4, 8), 8),
        {"traditional": False, "base": 1e4, "scale": 1.0, "offset": 0},
    ),
    # distributed
    **{
        "distributed." + name: one()
        for name in ("all_gather", "all_max", "all_min", "all_sum", "sum_scatter")
    },
    "fast.scaled_dot_product_attention": lambda mx: (
        (f(mx, 1, 2, 4, 8), f(mx, 1, 2, 4, 8), f(mx, 1, 2, 4, 8)),
        {"scale": 0.3},
    ),
}

# Methods of array that take a stream, and the further arguments of those that need some.
PLAIN_METHODS = """
abs all any argmax argmin conj cos cummax cummin cumprod cumsum diag diagonal exp flatten log
log10 log1p log2 logcumsumexp logsumexp max mean min prod reciprocal round rsqrt sin sqrt square
squeeze std sum transpose var
"""
METHODS = {
    **dict.fromkeys(PLAIN_METHODS.split(), ()),
    "astype": ("float16",),
    "view": ("int32",),
    "moveaxis": (0, 1),
    "swapaxes": (0, 1),
    "split": (3, 1),
    "reshape": (3, 2),
}

# Listed with a stream, but without a call here: they read files, need another process, a device
# that this suite does not assume, or formats tested elsewhere.
ELSEWHERE = {
    "record_event",
    "set_stream_name",
    "load",
    "stream",
    "synchronize",
    "set_default_stream",
    "distributed.recv",
    "distributed.recv_like",
    "distributed.send",
    "fast.precompiled_cuda_kernel",
    "fast.cuda_kernel",
    "fast.metal_kernel",
}


def find(mx, name):
    """The function called `name`, or None where the module does not have it."""
    for part in name.split("."):
        mx = getattr(mx, part, None)
    return mx
