"""Result dtypes, recorded from MLX 0.32.2: data, not code.

Columns follow CODES; `-` stands for an error.
"""

CODES = {
    "b": "bool",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
}

# Of a unary operation on each dtype.
UNARY = {
    "abs": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 f32",
    "arccos": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "arccosh": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "arcsin": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "arcsinh": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "arctan": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "arctanh": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "bitwise_invert": "b u8 u16 u32 u64 i8 i16 i32 i64 - - - - -",
    "ceil": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 -",
    "conjugate": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "cos": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "cosh": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "degrees": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "erf": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 -",
    "erfinv": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 -",
    "exp": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "expm1": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 -",
    "floor": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 -",
    "imag": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 f32",
    "isfinite": "b b b b b b b b b b b b b b",
    "isinf": "b b b b b b b b b b b b b b",
    "isnan": "b b b b b b b b b b b b b b",
    "isneginf": "b b b b b b b b b b b b b b",
    "isposinf": "b b b b b b b b b b b b b b",
    "log": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "log10": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "log1p": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "log2": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "logical_not": "b b b b b b b b b b b b b b",
    "negative": "- u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "positive": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "radians": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "real": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 f32",
    "reciprocal": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "round": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "rsqrt": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "sigmoid": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 -",
    "sign": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "sin": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "sinh": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "sqrt": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "square": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "tan": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "tanh": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "trunc": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 -",
}

# Of arithmetic on two arrays: the row is the first, the column the second.
PROMOTION = {
    "b": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "u8": "u8 u8 u16 u32 u64 i16 i16 i32 i64 f16 bf16 f32 f64 c64",
    "u16": "u16 u16 u16 u32 u64 i32 i32 i32 i64 f16 bf16 f32 f64 c64",
    "u32": "u32 u32 u32 u32 u64 i64 i64 i64 i64 f16 bf16 f32 f64 c64",
    "u64": "u64 u64 u64 u64 u64 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "i8": "i8 i16 i32 i64 f32 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "i16": "i16 i16 i32 i64 f32 i16 i16 i32 i64 f16 bf16 f32 f64 c64",
    "i32": "i32 i32 i32 i64 f32 i32 i32 i32 i64 f16 bf16 f32 f64 c64",
    "i64": "i64 i64 i64 i64 f32 i64 i64 i64 i64 f16 bf16 f32 f64 c64",
    "f16": "f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f32 f32 f64 c64",
    "bf16": "bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 f32 bf16 f32 f64 c64",
    "f32": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f64 c64",
    "f64": "f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 c64",
    "c64": "c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64",
}

# Of an array and a Python scalar, on either side.
SCALAR = {
    "bool": "b u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "int": "i32 u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64",
    "float": "f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64 c64",
    "complex": "c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64 c64",
}

# Which of the functions below gives a binary operation's dtype from the promoted one.
BINARY = {
    "add": "promoted",
    "arctan2": "real inexact",
    "bitwise_and": "integer or bool",
    "bitwise_or": "integer or bool",
    "bitwise_xor": "integer or bool",
    "divide": "inexact",
    "divmod": "real",
    "equal": "bool",
    "floor_divide": "real",
    "greater": "bool",
    "greater_equal": "bool",
    "isclose": "bool",
    "left_shift": "shift",
    "less": "bool",
    "less_equal": "bool",
    "logaddexp": "inexact",
    "logical_and": "bool",
    "logical_or": "bool",
    "logical_xor": "bool",
    "maximum": "promoted",
    "minimum": "promoted",
    "multiply": "promoted",
    "not_equal": "bool",
    "power": "promoted",
    "remainder": "real",
    "right_shift": "shift",
    "subtract": "promoted",
}

INEXACT = ("f16", "bf16", "f32", "f64", "c64")
RULES = {
    "promoted": lambda p: p,
    "inexact": lambda p: p if p in INEXACT else "f32",
    "bool": lambda p: "b",
    "real": lambda p: "-" if p == "c64" else p,
    "real inexact": lambda p: "-" if p == "c64" else p if p in INEXACT else "f32",
    "integer or bool": lambda p: "-" if p in INEXACT else p,
    "shift": lambda p: "-" if p in INEXACT else "u8" if p == "b" else p,
}


def _names(row):
    return dict(zip(CODES.values(), (CODES.get(code) for code in row.split())))


def unary(operation):
    """dtype name -> result dtype name, or None for an error."""
    return _names(UNARY[operation])


def promoted(a, b):
    """The dtype of a sum of arrays of dtypes `a` and `b`."""
    return _names(PROMOTION[_code(a)])[b]


def binary(operation, a, b):
    """The dtype of `operation` on arrays of dtypes `a` and `b`, or None for an error."""
    return CODES.get(RULES[BINARY[operation]](_code(promoted(a, b))))


def with_scalar(kind, name):
    """The dtype of an array of dtype `name` plus a Python scalar of type `kind`."""
    return _names(SCALAR[kind])[name]


def _code(name):
    return next(code for code, known in CODES.items() if known == name)
