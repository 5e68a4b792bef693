// Vectors of numbers, real or complex, that have one meaning in each lane, and moving them from
// and to arrays of which each lane has one. Include it after foreach_target.h.
#if defined(RILL_CPU_LANE_NUMBERS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_LANE_NUMBERS_INL_H
#undef RILL_CPU_LANE_NUMBERS_INL_H
#else
#define RILL_CPU_LANE_NUMBERS_INL_H
#endif

#include "rill/cpu/targets.h"

#include <hwy/highway.h>

#include <limits>

#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

/// The inverse of a number, kept so that multiplying by it neither overflows nor loses digits
/// where dividing would not.
template <class Number, class V, class M>
struct Divisor {
  Number direction;  // of a complex number: the inverse of it divided by `size`
  V size;
  V reciprocal;
  M usable;
  bool all_usable;
};

/// What real and complex numbers share. `Part` is the type of a lane.
template <class P>
struct LaneParts {
  using Part = P;
  using D = hn::ScalableTag<Part>;
  using V = hn::Vec<D>;
  using M = hn::Mask<D>;
  static constexpr D d{};
  static constexpr int64_t lanes = hn::MaxLanes(D());

  /// The lanes in which the reciprocal of a size of at least 0 is a normal number.
  static HWY_INLINE M HasReciprocal(V size) {
    const auto least = hn::Set(d, std::numeric_limits<Part>::min());
    const auto most = hn::Set(d, 1 / std::numeric_limits<Part>::min());
    return hn::And(hn::Ge(size, least), hn::Le(size, most));
  }
  static HWY_INLINE V Scaled(V x, V size, V reciprocal, M usable, bool all_usable) {
    const auto product = hn::Mul(x, reciprocal);
    return all_usable ? product : hn::IfThenElse(usable, product, hn::Div(x, size));
  }
};

template <class P>
struct RealLanes : LaneParts<P> {
  using Base = LaneParts<P>;
  using Base::d;
  using typename Base::M;
  using typename Base::V;
  using Number = V;
  using DivisorOf = Divisor<V, V, M>;
  static constexpr int64_t size = Base::lanes;  // of a number in memory

  static HWY_INLINE Number Zero() { return hn::Zero(d); }
  static HWY_INLINE Number One() { return hn::Set(d, 1); }
  static HWY_INLINE Number Load(const P* p) { return hn::Load(d, p); }
  static HWY_INLINE void Store(Number x, P* p) { hn::Store(x, d, p); }
  static HWY_INLINE Number Select(M mask, Number yes, Number no) {
    return hn::IfThenElse(mask, yes, no);
  }
  static HWY_INLINE Number Conjugate(Number x) { return x; }
  static HWY_INLINE V Real(Number x) { return x; }
  static HWY_INLINE Number OfReal(V x) { return x; }
  /// By which pivots are compared.
  static HWY_INLINE V Magnitude(Number x) { return hn::Abs(x); }
  static HWY_INLINE Number Negated(Number x) { return hn::Neg(x); }
  static HWY_INLINE Number TimesReal(Number x, V y) { return hn::Mul(x, y); }
  /// x - a b
  static HWY_INLINE Number MinusProduct(Number x, Number a, Number b) {
    return hn::NegMulAdd(a, b, x);
  }
  static HWY_INLINE DivisorOf DivisorFor(Number x) {
    const M usable = Base::HasReciprocal(hn::Abs(x));
    return {x, x, hn::Div(One(), x), usable, hn::AllTrue(d, usable)};
  }
  static HWY_INLINE Number Divided(Number x, const DivisorOf& by) {
    return Base::Scaled(x, by.size, by.reciprocal, by.usable, by.all_usable);
  }
};

template <class V>
struct ComplexVector {
  V re, im;
};

template <class P>
struct ComplexLanes : LaneParts<P> {
  using Base = LaneParts<P>;
  using Base::d;
  using Base::lanes;
  using typename Base::M;
  using typename Base::V;
  using Number = ComplexVector<V>;
  using DivisorOf = Divisor<Number, V, M>;
  static constexpr int64_t size = 2 * lanes;

  static HWY_INLINE Number Zero() { return {hn::Zero(d), hn::Zero(d)}; }
  static HWY_INLINE Number One() { return {hn::Set(d, 1), hn::Zero(d)}; }
  static HWY_INLINE Number Load(const P* p) { return {hn::Load(d, p), hn::Load(d, p + lanes)}; }
  static HWY_INLINE void Store(Number x, P* p) {
    hn::Store(x.re, d, p);
    hn::Store(x.im, d, p + lanes);
  }
  static HWY_INLINE Number Select(M mask, Number yes, Number no) {
    return {hn::IfThenElse(mask, yes.re, no.re), hn::IfThenElse(mask, yes.im, no.im)};
  }
  static HWY_INLINE Number Conjugate(Number x) { return {x.re, hn::Neg(x.im)}; }
  static HWY_INLINE V Real(Number x) { return x.re; }
  static HWY_INLINE Number OfReal(V x) { return {x, hn::Zero(d)}; }
  static HWY_INLINE V Magnitude(Number x) { return hn::Add(hn::Abs(x.re), hn::Abs(x.im)); }
  static HWY_INLINE Number Negated(Number x) { return {hn::Neg(x.re), hn::Neg(x.im)}; }
  static HWY_INLINE Number TimesReal(Number x, V y) { return {hn::Mul(x.re, y), hn::Mul(x.im, y)}; }
  static HWY_INLINE Number MinusProduct(Number x, Number a, Number b) {
    return {hn::MulAdd(a.im, b.im, hn::NegMulAdd(a.re, b.re, x.re)),
            hn::NegMulAdd(a.im, b.re, hn::NegMulAdd(a.re, b.im, x.im))};
  }
  static HWY_INLINE DivisorOf DivisorFor(Number x) {
    const V size = hn::Max(hn::Abs(x.re), hn::Abs(x.im));
    const M usable = Base::HasReciprocal(size);
    const bool all_usable = hn::AllTrue(d, usable);
    const V reciprocal = hn::Div(hn::Set(d, 1), size);
    const V re = Base::Scaled(x.re, size, reciprocal, usable, all_usable);
    const V im = Base::Scaled(x.im, size, reciprocal, usable, all_usable);
    const V square = hn::Div(hn::Set(d, 1), hn::MulAdd(re, re, hn::Mul(im, im)));
    return {
        {hn::Mul(re, square), hn::Neg(hn::Mul(im, square))}, size, reciprocal, usable, all_usable};
  }
  static HWY_INLINE Number Divided(Number x, const DivisorOf& by) {
    const Number& w = by.direction;
    const V re = hn::NegMulAdd(x.im, w.im, hn::Mul(x.re, w.re));
    const V im = hn::MulAdd(x.im, w.re, hn::Mul(x.re, w.im));
    return {Base::Scaled(re, by.size, by.reciprocal, by.usable, by.all_usable),
            Base::Scaled(im, by.size, by.reciprocal, by.usable, by.all_usable)};
  }
};

/// What fits 16 bytes: the lanes that vectors interleave among themselves.
template <class P>
inline constexpr int64_t block_lanes = 16 / sizeof(P);

/// Block b of the vector is what lies `at` elements behind from[b * block_lanes].
template <class D, class P = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const P* const* from, int64_t at) {
  if constexpr (hn::MaxLanes(D()) == block_lanes<P>) {
    return hn::LoadU(d, from[0] + at);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadBlocks(half, from + hn::MaxLanes(half), at),
                       LoadBlocks(half, from, at));
  }
}

template <class D, class P = hn::TFromD<D>>
HWY_INLINE void StoreBlocks(D d, hn::Vec<D> x, P* const* to, int64_t at) {
  if constexpr (hn::MaxLanes(D()) == block_lanes<P>) {
    hn::StoreU(x, d, to[0] + at);
  } else {
    const hn::Half<D> half;
    StoreBlocks(half, hn::LowerHalf(half, x), to, at);
    StoreBlocks(half, hn::UpperHalf(half, x), to + hn::MaxLanes(half), at);
  }
}

/// Transposes each square of blocks: lane i of a block of vector j goes to lane j of vector i.
template <class D>
HWY_INLINE void TransposeBlocks(D d, hn::Vec<D> (&x)[4]) {
  const auto a = hn::InterleaveLower(d, x[0], x[2]);
  const auto b = hn::InterleaveLower(d, x[1], x[3]);
  const auto c = hn::InterleaveUpper(d, x[0], x[2]);
  const auto e = hn::InterleaveUpper(d, x[1], x[3]);
  x[0] = hn::InterleaveLower(d, a, b);
  x[1] = hn::InterleaveUpper(d, a, b);
  x[2] = hn::InterleaveLower(d, c, e);
  x[3] = hn::InterleaveUpper(d, c, e);
}
template <class D>
HWY_INLINE void TransposeBlocks(D d, hn::Vec<D> (&x)[2]) {
  const auto a = hn::InterleaveLower(d, x[0], x[1]);
  x[1] = hn::InterleaveUpper(d, x[0], x[1]);
  x[0] = a;
}

/// Lane l of vector i becomes from[l][i], for i below `count`.
template <class D, class P = hn::TFromD<D>>
void GatherLanes(D d, const P* const* from, int64_t count, P* to) {
  constexpr int64_t lanes = hn::MaxLanes(D());
  constexpr int64_t block = block_lanes<P>;
  int64_t i = 0;
  for (; i + block <= count; i += block) {
    hn::Vec<D> x[block];
    RILL_UNROLL(4)
    for (int64_t j = 0; j < block; ++j) x[j] = LoadBlocks(d, from + j, i);
    TransposeBlocks(d, x);
    RILL_UNROLL(4)
    for (int64_t j = 0; j < block; ++j) hn::Store(x[j], d, to + (i + j) * lanes);
  }
  for (; i < count; ++i) {
    for (int64_t lane = 0; lane < lanes; ++lane) to[i * lanes + lane] = from[lane][i];
  }
}

/// The way back: to[l][i] becomes lane l of vector i.
template <class D, class P = hn::TFromD<D>>
void ScatterLanes(D d, const P* from, int64_t count, P* const* to) {
  constexpr int64_t lanes = hn::MaxLanes(D());
  constexpr int64_t block = block_lanes<P>;
  int64_t i = 0;
  for (; i + block <= count; i += block) {
    hn::Vec<D> x[block];
    RILL_UNROLL(4)
    for (int64_t j = 0; j < block; ++j) x[j] = hn::Load(d, from + (i + j) * lanes);
    TransposeBlocks(d, x);
    RILL_UNROLL(4)
    for (int64_t j = 0; j < block; ++j) StoreBlocks(d, x[j], to + j, i);
  }
  for (; i < count; ++i) {
    for (int64_t lane = 0; lane < lanes; ++lane) to[lane][i] = from[i * lanes + lane];
  }
}

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif
