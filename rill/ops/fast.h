// Compositions with kernels of their own: normalisation, rotary positions, attention, cross
// entropy. Half types are computed in float32 and rounded once.
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

struct NormAttrs {
  double eps;
  bool centred;         // layer norm, else RMS norm
  bool weight = false;  // the operands that follow x
  bool bias = false;
  bool batched = false;  // going back: weight and bias have a gradient for each place of axis 0
  bool operator==(const NormAttrs&) const = default;
};

struct RopeAttrs {
  int64_t dims;
  bool traditional;
  bool inverse;  // rotate the other way
  bool freqs;    // given as an operand; else base^(-2 i / dims)
  double base;
  double scale;
  bool operator==(const RopeAttrs&) const = default;
};

enum class AttentionMask : uint8_t { none, causal, boolean, additive };
struct AttentionAttrs {
  double scale;
  AttentionMask mask;
  bool sinks;
  bool operator==(const AttentionAttrs&) const = default;
};

// A gradient operation has the operands of its forward operation, then the cotangent of the first
// output. Their rows stand in transforms/fast_rules.cpp, since some rules need transformations.
extern const OpInfo norm_op;                    // x, weight?, bias? -> y
extern const OpInfo norm_gradient_op;           // ..., g -> a gradient an operand
extern const OpInfo rope_op;                    // x, int64 offsets (1 or B), float32 freqs? -> y
extern const OpInfo attention_op;               // q, k, v, mask?, sinks? -> y, float32 max and sum
extern const OpInfo attention_gradient_op;      // ..., g, y, max and sum -> dq, dk, dv, dsinks?
extern const OpInfo cross_entropy_op;           // logits, int64 targets -> float32 loss
extern const OpInfo cross_entropy_gradient_op;  // ..., g -> dlogits

namespace fast {

/// x / sqrt(mean(x^2) + eps) * weight over the last axis.
Array rms_norm(const Array& x, const std::optional<Array>& weight, double eps,
               StreamOrDevice s = {});
/// (x - mean) / sqrt(variance + eps) * weight + bias over the last axis.
Array layer_norm(const Array& x, const std::optional<Array>& weight,
                 const std::optional<Array>& bias, double eps, StreamOrDevice s = {});

/// Rotates pairs of the first `dims` features of x [B, ..., T, D] by (offset + t) * scale * f,
/// f = base^(-2 i / dims) or 1 / freqs[i]. `offset`: an integer, 0-d, or one for each of B.
Array rope(const Array& x, int64_t dims, bool traditional, std::optional<double> base, double scale,
           const Array& offset, const std::optional<Array>& freqs = {}, StreamOrDevice s = {});

/// softmax(scale * q k^T + mask) v for q [B, H, Tq, D], k [B, Hk, Tk, D], v [B, Hk, Tk, Dv], Hk a
/// divisor of H. `mask` is broadcast to [B, H, Tq, Tk]: booleans (true: seen) or numbers to add.
/// `causal`: query i sees keys up to i + Tk - Tq. A query that sees no key weighs all alike.
/// `sinks` [H]: a further score of each head, which takes weight but has no value.
Array scaled_dot_product_attention(const Array& q, const Array& k, const Array& v, double scale,
                                   bool causal = false, const std::optional<Array>& mask = {},
                                   const std::optional<Array>& sinks = {}, StreamOrDevice s = {});

/// logsumexp(logits) - logits[target] over the last axis, float32. A negative target counts from
/// the end; one out of range raises std::out_of_range when it is evaluated.
Array cross_entropy(const Array& logits, const Array& targets, StreamOrDevice s = {});

// The same of ordinary operations, given the operands of a node: what the rules follow.
Array composed_norm(const Arrays& operands, const Attrs& attrs);
Array composed_rope(const Arrays& operands, const Attrs& attrs);
Array composed_attention(const Arrays& operands, const Attrs& attrs);
Array composed_cross_entropy(const Arrays& operands, const Attrs& attrs);

}  // namespace fast
}  // namespace rill
