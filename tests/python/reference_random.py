"""Random numbers in pure NumPy, as docs/random.md defines them.

Keys are uint32 arrays of shape (2,). Every function returns a new array. Types are given by name;
float16 and bfloat16 numbers come back as float32 arrays that hold values of the type, since NumPy
has no bfloat16.
"""

import math

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
BELOW_ONE = {
    "float32": np.float32(1 - 2**-24),
    "float16": np.float32(1 - 2**-11),
    "bfloat16": np.float32(1 - 2**-8),
}
ABOVE_MINUS_ONE = np.float32(-(1 - 2**-24))


def threefry(key, counter0, counter1):
    """Threefry-2x32 with 20 rounds (Salmon et al., 2011): the two words of each block."""
    key = np.asarray(key, np.uint32)
    x0, x1 = np.asarray(counter0, np.uint32), np.asarray(counter1, np.uint32)
    schedule = [key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)]
    with np.errstate(over="ignore"):
        x0, x1 = x0 + schedule[0], x1 + schedule[1]
        for i in range(5):
            for left in ROTATIONS[i % 2]:
                x0 = x0 + x1
                x1 = ((x1 << np.uint32(left)) | (x1 >> np.uint32(32 - left))) ^ x0
            x0 = x0 + schedule[(i + 1) % 3]
            x1 = x1 + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1


def make_key(seed):
    """The key of a seed of up to 64 bits."""
    return np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)


def bits(key, shape):
    """Random words of the given shape."""
    total = math.prod(shape)
    half = (total + 1) // 2
    counter0 = np.arange(half, dtype=np.uint32)
    counter1 = counter0 + np.uint32(half)
    if total % 2:
        counter1[-1] = 0
    return np.concatenate(threefry(key, counter0, counter1))[:total].reshape(shape)


def split(key, num=2):
    """`num` new keys, of shape (num, 2)."""
    return bits(key, (num, 2))


def rounded(x, dtype):
    """float32 numbers rounded to `dtype`, to nearest even, as float32."""
    x = np.asarray(x, np.float32)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        word = x.view(np.uint32)
        with np.errstate(over="ignore"):
            word = word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))
        high = (word & np.uint32(0xFFFF0000)).view(np.float32)
        return np.where(np.isnan(x), x, high)
    return x


def uniform(key, low=0.0, high=1.0, shape=(), dtype="float32"):
    """Uniform numbers in [low, high), which are numbers or arrays that broadcast to `shape`."""
    low, high = rounded(low, dtype), rounded(high, dtype)
    u = rounded(bits(key, shape).astype(np.float32) * np.float32(2**-32), dtype)
    u = np.minimum(u, BELOW_ONE[dtype])
    with np.errstate(over="ignore", invalid="ignore"):
        width = rounded(high - low, dtype)
        return rounded(rounded(u * width, dtype) + low, dtype)


def inverse_erf_of(u):
    """The inverse error function of one number in (-1, 1), to the precision of a double."""
    target, u = 1 - abs(u), abs(u)
    if u < 1e-4:
        return math.sqrt(math.pi) / 2 * u * (1 + math.pi / 12 * u * u)
    log = math.log(target * (1 + u))  # Winitzki's estimate, then Halley's steps
    a = 2 / (math.pi * 0.147) + log / 2
    x = math.sqrt(math.sqrt(a * a - log / 0.147) - a)
    for _ in range(4):
        short = u - math.erf(x) if u < 0.5 else math.erfc(x) - target  # whichever is exact
        step = short * math.sqrt(math.pi) / 2 * math.exp(x * x)
        x += step / (1 - x * step)
    return x


def inverse_erf(u):
    """The inverse error function of a float32 array, correctly rounded but for rare ties."""
    flat = [math.copysign(inverse_erf_of(float(x)), x) for x in np.ravel(u)]
    return np.array(flat, np.float64).astype(np.float32).reshape(np.shape(u))


def normal(key, shape=(), dtype="float32", loc=None, scale=None):
    """Normal numbers of mean `loc` and standard deviation `scale`."""
    root = math.sqrt(2)
    if dtype == "complex64":
        parts = inverse_erf(uniform(key, ABOVE_MINUS_ONE, 1, (*shape, 2)))
        x = (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)
        if scale is not None:
            x = np.complex64(scale) * x
        return x if loc is None else x + np.complex64(loc)
    x = rounded(inverse_erf(uniform(key, ABOVE_MINUS_ONE, 1, shape)), dtype)
    factor = rounded(root, dtype)
    if scale is not None:
        factor = rounded(factor * rounded(scale, dtype), dtype)
    x = rounded(factor * x, dtype)
    return x if loc is None else rounded(x + rounded(loc, dtype), dtype)


def randint(key, low, high, shape=(), dtype="int32"):
    """Integers in [low, high), which are integers or integer arrays."""
    low, high = np.asarray(low), np.asarray(high)
    drawn = np.floor(uniform(key, low.astype(np.float32), high.astype(np.float32), shape))
    if dtype == "bool":
        drawn, last, first = drawn != 0, high - 1 != 0, low != 0
        return np.maximum(np.minimum(drawn, last), first)
    # Through int64, whose conversion to the narrower types wraps around.
    drawn = drawn.astype(np.int64).astype(dtype)
    last, first = (high - 1).astype(np.int64).astype(dtype), low.astype(np.int64).astype(dtype)
    return np.maximum(np.minimum(drawn, last), first)


def bernoulli(key, p=0.5, shape=None):
    """True with probability `p`, a number or a float32 array that broadcasts to `shape`."""
    p = np.asarray(p, np.float32)
    words = bits(key, p.shape if shape is None else shape)
    return words.astype(np.float32) < p * np.float32(2**32 + 512)


def gumbel(key, shape=()):
    """Numbers of the standard Gumbel distribution."""
    with np.errstate(divide="ignore"):
        return -np.log(-np.log(uniform(key, shape=shape)))


def laplace(key, shape=(), loc=0.0, scale=1.0):
    """Numbers of the Laplace distribution."""
    u = uniform(key, ABOVE_MINUS_ONE, 1, shape)
    return np.sign(u) * np.log1p(-np.abs(u)) * np.float32(scale) + np.float32(loc)


def truncated_normal(key, lower, upper, shape=()):
    """Normal numbers in (lower, upper), which are numbers."""
    root = np.float32(math.sqrt(2))
    lower, upper = np.float32(lower), np.float32(upper)
    a, b = (np.float32(math.erf(np.float32(x / root))) for x in (lower, upper))
    x = root * inverse_erf(uniform(key, a, b, shape))
    return np.maximum(np.minimum(x, upper), lower)


def permutation(key, n):
    """A permutation of 0 .. n - 1."""
    return np.argsort(bits(key, (n,)), kind="stable").astype(np.uint32)


class State:
    """The global generator: a key that every draw without a key splits."""

    def __init__(self, seed):
        self.key = make_key(seed)

    def next(self):
        """The key of the next draw."""
        self.key, drawn = split(self.key)
        return drawn


def categorical_of_one(key, logits, shape):
    """By the inverse of the distribution function, in float32."""
    weights = np.exp(logits.ravel().astype(np.float32) - np.float32(logits.max()))
    sums = np.cumsum(weights)
    return np.searchsorted(sums, uniform(key, shape=shape) * sums[-1], "right")


_LOGITS = np.random.default_rng(1).normal(size=50).astype(np.float32)
# How one distribution may be given to categorical, and the shape of what is drawn.
ONE_DISTRIBUTION = [
    (_LOGITS, {"num_samples": 40}, (40,)),
    (_LOGITS, {"num_samples": 1}, (1,)),
    (_LOGITS, {"shape": (3, 5)}, (3, 5)),
    (_LOGITS, {"num_samples": 6000}, (6000,)),
    (_LOGITS[None], {}, (1,)),
    (_LOGITS[None], {"num_samples": 3}, (1, 3)),
    (_LOGITS[:, None], {"axis": 0, "shape": (7, 1)}, (7, 1)),
    (_LOGITS.astype(np.float16), {"num_samples": 9}, (9,)),
    (np.array([0, 3, 1]), {"num_samples": 20}, (20,)),
]
