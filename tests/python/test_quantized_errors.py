"""Quantised matrices and products: what is refused, and what is not."""

import numpy as np
import pytest
from support import check_row, mx, rill_only, rows, values

ERRORS = [
    ("mx.quantize(W, 16)", ValueError),
    ("mx.quantize(W, 64, 7)", ValueError),
    ("mx.quantize(W, 64, 1)", ValueError),
    ("mx.quantize(W, mode='none')", ValueError),
    ("mx.quantize(W, 64, mode='mxfp4')", ValueError),
    ("mx.quantize(W, 32, 8, 'mxfp4')", ValueError),
    ("mx.quantize(W, 32, mode='nvfp4')", ValueError),
    ("mx.quantize(W.astype(mx.int32))", ValueError),
    ("mx.quantize(W.astype(mx.complex64))", ValueError),
    ("mx.quantize(W[0])", ValueError),
    ("mx.quantize(mx.array(1.0))", ValueError),
    ("mx.quantize(W[:, :65])", ValueError),
    ("mx.quantize(W, global_scale=mx.array(1.0))", ValueError),
    ("mx.quantize(W, mode='nvfp4', global_scale=mx.array([1.0, 2.0]))", ValueError),
    ("mx.quantize(W, mode='nvfp4', global_scale=mx.array(1))", ValueError),
    ("mx.dequantize(Q, S)", ValueError),
    ("mx.dequantize(Q.astype(mx.int32), S, B)", ValueError),
    ("mx.dequantize(Q, S, B, dtype=mx.int32)", ValueError),
    ("mx.dequantize(Q, S[:, :1], B[:, :1])", ValueError),
    ("mx.dequantize(Q, S[:2], B[:2])", ValueError),
    ("mx.dequantize(Q[0], S[0], B[0])", ValueError),
    ("mx.dequantize(Q, S, B, 64, 8)", ValueError),
    ("mx.dequantize(Q, S, mode='mxfp4')", ValueError),
    ("mx.dequantize(Q, S, B, mode='mxfp4')", ValueError),
    ("mx.dequantize(Q, S, B, global_scale=mx.array(1.0))", ValueError),
    ("mx.to_fp8(mx.array([1]))", ValueError),
    ("mx.from_fp8(mx.array([1.0]))", ValueError),
    ("mx.from_fp8(mx.array([1], mx.uint8), mx.int32)", ValueError),
    ("mx.quantized_matmul(W, Q, S)", ValueError),
    ("mx.quantized_matmul(W[:, :64], Q, S, B)", ValueError),
    ("mx.quantized_matmul(W, Q, S, B, transpose=False)", ValueError),
    ("mx.quantized_matmul(W, Q, S, B, bits=8)", ValueError),
    ("mx.quantized_matmul(W, Q, S, B, bits=7)", ValueError),
    ("mx.quantized_matmul(W, Q, S, B, group_size=128)", ValueError),
    ("mx.quantized_matmul(W, Q, S, B, mode='bar')", ValueError),
    ("mx.quantized_matmul(W, Q, S, mode='mxfp4')", ValueError),
    ("mx.quantized_matmul(W, Q.astype(mx.int32), S, B)", ValueError),
    ("mx.quantized_matmul(W, Q[0], S[0], B[0])", ValueError),
    ("mx.quantized_matmul(W, mx.broadcast_to(Q, (3, 4, 16)), S, B)", ValueError),
    ("mx.quantized_matmul(W.astype(mx.complex64), Q, S, B)", (ValueError, RuntimeError)),
    ("mx.gather_qmm(W, Q, S, B, mx.array([0.0]))", ValueError),
    ("mx.gather_qmm(mx.ones((3, 4, 128)), Q[None], S[None], B[None], mx.array([0, 1]), "
     "mx.array([0, 0, 0]))", ValueError),
    ("mx.qqmm(W, Q)", ValueError),
    ("mx.qqmm(W[:, :64], W)", ValueError),
    ("mx.qqmm(W, W[None])", ValueError),
    ("mx.qqmm(W.astype(mx.int32), W)", ValueError),
    ("mx.qqmm(W, W, mode='zz')", ValueError),
    ("mx.qqmm(W, W, global_scale_x=mx.array(1.0))", ValueError),
    ("mx.qqmm(W, W, mode='mxfp8', global_scale_x=mx.array(1.0), global_scale_w=mx.array(1.0))",
     ValueError),
]  # fmt: skip

# The peer fails only when it evaluates, reads wild memory or dies.
STRICTER = [
    ("mx.gather_qmm(W[0], Q, S, B)", ValueError),
    ("mx.dequantize(Q, S, B[:, :1])", ValueError),
    ("mx.quantize(W, 0)", ValueError),
    ("mx.quantize(W, -64)", ValueError),
    ("mx.quantize(W.astype(mx.float64))", ValueError),
    ("mx.quantized_matmul(mx.array(1.0), Q, S, B)", ValueError),
    ("mx.quantized_matmul(W.astype(mx.float64), Q, S, B)", ValueError),
    ("mx.quantized_matmul(W, Q, S, B, group_size=0)", ValueError),
    ("mx.gather_qmm(W, Q, S, B, rhs_indices=mx.array([1]))", IndexError),
    ("mx.gather_qmm(W, Q, S, B, lhs_indices=mx.array([-2]))", IndexError),
    ("mx.qqmm(W, Q, S, mode='affine')", ValueError),
    ("mx.qqmm(W, W, group_size=32)", ValueError),
    ("mx.qqmm(W, W[0])", ValueError),
    ("mx.quantize(W[:0])[0].shape == (0, 16)", True),
    ("mx.quantize(W[:, :0])[1].shape == (4, 0)", True),
    ("mx.dequantize(*mx.quantize(W[:0])).shape == (0, 128)", True),
    ("mx.quantized_matmul(W[:0], Q, S, B).shape == (0, 4)", True),
    ("mx.quantized_matmul(W, Q[:0], S[:0], B[:0]).shape == (4, 0)", True),
    ("mx.quantized_matmul(W[:, :0], Q[:0], S[:0], B[:0], transpose=False)", np.zeros((4, 128))),
    ("mx.quantized_matmul(mx.array([[1] * 128]), Q, S, B).dtype == mx.float32", True),
]


def check(row):
    w = mx.array(values("float32", (4, 128)))
    q, s, b = mx.quantize(w)
    check_row(row, W=w, Q=q, S=s, B=b) if not isinstance(row[1], tuple) else check_any(
        row, w, q, s, b
    )


def check_any(row, w, q, s, b):
    with pytest.raises(row[1]):
        mx.eval(eval(row[0], {"mx": mx, "W": w, "Q": q, "S": s, "B": b}))


@rows(ERRORS)
def test_errors(row):
    check(row)


@rill_only
@rows(STRICTER)
def test_what_the_peer_lacks(row):
    check(row)
