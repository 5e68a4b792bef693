"""Printed forms, recorded from MLX 0.32.2: data, not code."""

# (expression, its repr and its str)
PRINTED = [
    ("mx.array(1)", "array(1, dtype=int32)"),
    ("mx.array(True)", "array(True, dtype=bool)"),
    ("mx.array(1.5)", "array(1.5, dtype=float32)"),
    ("mx.array(1.0)", "array(1, dtype=float32)"),
    ("mx.array(-0.0)", "array(-0, dtype=float32)"),
    ("mx.array(1 + 2j)", "array(1+2j, dtype=complex64)"),
    ("mx.array([])", "array([], dtype=float32)"),
    ("mx.array([[]])", "array([[]], dtype=float32)"),
    ("mx.zeros((0, 3))", "array([], dtype=float32)"),
    ("mx.zeros((2, 0, 3))", "array([[],\n       []], dtype=float32)"),
    ("mx.array([1, 2, 3])", "array([1, 2, 3], dtype=int32)"),
    ("mx.array([1, -20, 300])", "array([1, -20, 300], dtype=int32)"),
    ("mx.array([True, False])", "array([True, False], dtype=bool)"),
    ("mx.array([1.0, 2.5, -3.25])", "array([1, 2.5, -3.25], dtype=float32)"),
    ("mx.array([0.1, 1 / 3, 1e-5, 1e5])", "array([0.1, 0.333333, 1e-05, 100000], dtype=float32)"),
    (
        "mx.array([1e10, 1e-10, 123456789.0, 1e20])",
        "array([1e+10, 1e-10, 1.23457e+08, 1e+20], dtype=float32)",
    ),
    ("mx.array([nan, inf, -inf])", "array([nan, inf, -inf], dtype=float32)"),
    ("mx.array([1 + 2j, -1.5 - 0.25j])", "array([1+2j, -1.5-0.25j], dtype=complex64)"),
    ("mx.array([complex(nan, inf), 0j])", "array([nan+infj, 0+0j], dtype=complex64)"),
    (
        "mx.array([1.5, 1 / 3, 1e30], mx.bfloat16)",
        "array([1.5, 0.333984, 1.00026e+30], dtype=bfloat16)",
    ),
    ("mx.array([1.5, 1 / 3, 6e4], mx.float16)", "array([1.5, 0.333252, 60000], dtype=float16)"),
    ("mx.array([1.5, 1 / 3, 1e300], mx.float64)", "array([1.5, 0.333333, 1e+300], dtype=float64)"),
    ("mx.array([255, 0], mx.uint8)", "array([255, 0], dtype=uint8)"),
    ("mx.array([-128, 127], mx.int8)", "array([-128, 127], dtype=int8)"),
    (
        "mx.array([2**63 - 1, -(2**63)], mx.int64)",
        "array([9223372036854775807, -9223372036854775808], dtype=int64)",
    ),
    ("mx.array(2**64 - 1 - 2**63, mx.uint64)", "array(9223372036854775807, dtype=uint64)"),
    ("mx.array([[1, 2], [3, 4]])", "array([[1, 2],\n       [3, 4]], dtype=int32)"),
    ("mx.array([[1.5, 2], [3, 4]])", "array([[1.5, 2],\n       [3, 4]], dtype=float32)"),
    (
        "mx.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])",
        "array([[[1, 2],\n        [3, 4]],\n       [[5, 6],\n        [7, 8]]], dtype=int32)",
    ),
    (
        "mx.zeros((2, 1, 2, 1))",
        "array([[[[0],\n         [0]]],\n       [[[0],\n         [0]]]], dtype=float32)",
    ),
    ("mx.arange(6)", "array([0, 1, 2, 3, 4, 5], dtype=int32)"),
    ("mx.arange(7)", "array([0, 1, 2, ..., 4, 5, 6], dtype=int32)"),
    ("mx.arange(8)", "array([0, 1, 2, ..., 5, 6, 7], dtype=int32)"),
    ("mx.arange(1000)", "array([0, 1, 2, ..., 997, 998, 999], dtype=int32)"),
    ("mx.arange(1000.0)", "array([0, 1, 2, ..., 997, 998, 999], dtype=float32)"),
    (
        "mx.zeros((10, 10))",
        (
            "array([[0, 0, 0, ..., 0, 0, 0],\n"
            "       [0, 0, 0, ..., 0, 0, 0],\n"
            "       [0, 0, 0, ..., 0, 0, 0],\n"
            "       ...,\n"
            "       [0, 0, 0, ..., 0, 0, 0],\n"
            "       [0, 0, 0, ..., 0, 0, 0],\n"
            "       [0, 0, 0, ..., 0, 0, 0]], dtype=float32)"
        ),
    ),
    (
        "mx.arange(100).reshape(10, 10)",
        (
            "array([[0, 1, 2, ..., 7, 8, 9],\n"
            "       [10, 11, 12, ..., 17, 18, 19],\n"
            "       [20, 21, 22, ..., 27, 28, 29],\n"
            "       ...,\n"
            "       [70, 71, 72, ..., 77, 78, 79],\n"
            "       [80, 81, 82, ..., 87, 88, 89],\n"
            "       [90, 91, 92, ..., 97, 98, 99]], dtype=int32)"
        ),
    ),
    (
        "mx.zeros((2, 7))",
        "array([[0, 0, 0, ..., 0, 0, 0],\n       [0, 0, 0, ..., 0, 0, 0]], dtype=float32)",
    ),
    (
        "mx.zeros((7, 2))",
        (
            "array([[0, 0],\n"
            "       [0, 0],\n"
            "       [0, 0],\n"
            "       ...,\n"
            "       [0, 0],\n"
            "       [0, 0],\n"
            "       [0, 0]], dtype=float32)"
        ),
    ),
    (
        "mx.zeros((7, 1, 7))",
        (
            "array([[[0, 0, 0, ..., 0, 0, 0]],\n"
            "       [[0, 0, 0, ..., 0, 0, 0]],\n"
            "       [[0, 0, 0, ..., 0, 0, 0]],\n"
            "       ...,\n"
            "       [[0, 0, 0, ..., 0, 0, 0]],\n"
            "       [[0, 0, 0, ..., 0, 0, 0]],\n"
            "       [[0, 0, 0, ..., 0, 0, 0]]], dtype=float32)"
        ),
    ),
    (
        "mx.zeros((1, 2, 8, 3), mx.int8)",
        (
            "array([[[[0, 0, 0],\n"
            "         [0, 0, 0],\n"
            "         [0, 0, 0],\n"
            "         ...,\n"
            "         [0, 0, 0],\n"
            "         [0, 0, 0],\n"
            "         [0, 0, 0]],\n"
            "        [[0, 0, 0],\n"
            "         [0, 0, 0],\n"
            "         [0, 0, 0],\n"
            "         ...,\n"
            "         [0, 0, 0],\n"
            "         [0, 0, 0],\n"
            "         [0, 0, 0]]]], dtype=int8)"
        ),
    ),
    ("mx.arange(20) > 9", "array([False, False, False, ..., True, True, True], dtype=bool)"),
    ("mx.array([1.0, 2.0]) * mx.array(2)", "array([2, 4], dtype=float32)"),
    (
        "mx.arange(12).reshape(3, 4).T",
        (
            "array([[0, 4, 8],\n"
            "       [1, 5, 9],\n"
            "       [2, 6, 10],\n"
            "       [3, 7, 11]], dtype=int32)"
        ),
    ),
    ("mx.arange(10)[::-2]", "array([9, 7, 5, 3, 1], dtype=int32)"),
    (
        "mx.broadcast_to(mx.array([1, 2]), (3, 2))",
        "array([[1, 2],\n       [1, 2],\n       [1, 2]], dtype=int32)",
    ),
    ("mx.float32", "mlx.core.float32"),
    ("mx.bool_", "mlx.core.bool"),
    ("mx.bfloat16", "mlx.core.bfloat16"),
    ("mx.iinfo(mx.int8)", "iinfo(min=-128, max=127, dtype=int8)"),
    ("mx.iinfo(mx.uint64)", "iinfo(min=0, max=18446744073709551615, dtype=uint64)"),
    ("mx.finfo(mx.float16)", "finfo(min=-65504, max=65504, dtype=float16)"),
    ("mx.finfo(mx.bfloat16)", "finfo(min=-3.38953e+38, max=3.38953e+38, dtype=bfloat16)"),
    ("mx.finfo(mx.float32)", "finfo(min=-3.40282e+38, max=3.40282e+38, dtype=float32)"),
    ("mx.finfo(mx.float64)", "finfo(min=-1.79769e+308, max=1.79769e+308, dtype=float64)"),
    ("mx.Device(mx.cpu)", "Device(cpu, 0)"),
    ("mx.Device(mx.gpu, 1)", "Device(gpu, 1)"),
    ("mx.cpu", "DeviceType.cpu"),
    ("mx.gpu", "DeviceType.gpu"),
    ("mx.floating", "DtypeCategory.floating"),
    ("mx.default_device()", "Device(cpu, 0)"),
]

# (precision, expression, its repr under mx.printoptions(precision=...))
PRECISION = [
    (0, "mx.array([1.5, 2.25])", "array([2, 2], dtype=float32)"),
    (2, "mx.array([1.23456, 100.0, 1e-7])", "array([1.23, 100.00, 0.00], dtype=float32)"),
    (2, "mx.array(3.14159)", "array(3.14, dtype=float32)"),
    (8, "mx.array([0.1, 1 / 3])", "array([0.10000000, 0.33333334], dtype=float32)"),
    (3, "mx.array([1.23456 + 2.5j])", "array([1.235+2.500j], dtype=complex64)"),
    (3, "mx.array([1.23456], mx.float16)", "array([1.234], dtype=float16)"),
    (3, "mx.array([12345, 6])", "array([12345, 6], dtype=int32)"),
    (3, "mx.array([1e10, 12.5])", "array([10000000000.000, 12.500], dtype=float32)"),
    (3, "mx.array([math.nan, math.inf])", "array([nan, inf], dtype=float32)"),
]
