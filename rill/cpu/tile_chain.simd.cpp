// Chains of arithmetic, a block of registers at a time.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_chain.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include <cmath>

#include "rill/cpu/tile_chain.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Numbers as vectors of one element, for the end of a tile.
template <class F>
struct Single {
  using Value = F;
  static int64_t lanes() { return 1; }
  static HWY_INLINE F load(const F* from) { return *from; }
  static HWY_INLINE F set(F value) { return value; }
  static HWY_INLINE void store(F value, F* to) { *to = value; }
  static HWY_INLINE F add(F a, F b) { return a + b; }
  static HWY_INLINE F sub(F a, F b) { return a - b; }
  static HWY_INLINE F mul(F a, F b) { return a * b; }
  static HWY_INLINE F div(F a, F b) { return a / b; }
  static HWY_INLINE F neg(F a) { return -a; }
  static HWY_INLINE F sqrt(F a) { return std::sqrt(a); }
};

template <class F>
struct Wide {
  using D = hn::ScalableTag<F>;
  using Value = hn::Vec<D>;
  static HWY_INLINE int64_t lanes() { return static_cast<int64_t>(hn::Lanes(D())); }
  static HWY_INLINE Value load(const F* from) { return hn::LoadU(D(), from); }
  static HWY_INLINE Value set(F value) { return hn::Set(D(), value); }
  static HWY_INLINE void store(Value value, F* to) { hn::StoreU(value, D(), to); }
  static HWY_INLINE Value add(Value a, Value b) { return hn::Add(a, b); }
  static HWY_INLINE Value sub(Value a, Value b) { return hn::Sub(a, b); }
  static HWY_INLINE Value mul(Value a, Value b) { return hn::Mul(a, b); }
  static HWY_INLINE Value div(Value a, Value b) { return hn::Div(a, b); }
  static HWY_INLINE Value neg(Value a) { return hn::Neg(a); }
  static HWY_INLINE Value sqrt(Value a) { return hn::Sqrt(a); }
};

/// The elements from `at` on: as many as K vectors have.
template <class V, int K, class F>
HWY_INLINE void run_block(const ChainLink* links, int count, F* dst, const void* const* where,
                          int64_t at) {
  using T = typename V::Value;
  const int64_t lanes = V::lanes();
  T acc[K];
  for (int k = 0; k < K; ++k) acc[k] = V::set(F(0));
  for (const ChainLink* link = links; link != links + count; ++link) {
    const F* a = static_cast<const F*>(where[link->a]);
    const F* b = static_cast<const F*>(where[link->b]);
#define EACH(value)                                                     \
  {                                                                     \
    _Pragma("GCC unroll 8") for (int k = 0; k < K; ++k) acc[k] = value; \
    break;                                                              \
  }
#define A V::load(a + at + k * lanes)
#define B V::load(b + at + k * lanes)
#define CASE(name, value) \
  case ChainCode::name: EACH(value)
#define SCALAR_CASE(name, value) \
  case ChainCode::name: {        \
    const T s = V::set(*a);      \
    EACH(value)                  \
  }
    switch (link->code) {
      CASE(load, A)
      SCALAR_CASE(load_s, s)
      CASE(add, V::add(acc[k], A))
      SCALAR_CASE(add_s, V::add(acc[k], s))
      CASE(subtract, V::sub(acc[k], A))
      SCALAR_CASE(subtract_s, V::sub(acc[k], s))
      CASE(subtract_from, V::sub(A, acc[k]))
      SCALAR_CASE(subtract_from_s, V::sub(s, acc[k]))
      CASE(multiply, V::mul(acc[k], A))
      SCALAR_CASE(multiply_s, V::mul(acc[k], s))
      CASE(divide, V::div(acc[k], A))
      SCALAR_CASE(divide_s, V::div(acc[k], s))
      CASE(divide_into, V::div(A, acc[k]))
      SCALAR_CASE(divide_into_s, V::div(s, acc[k]))
      CASE(negate, V::neg(acc[k]))
      CASE(square, V::mul(acc[k], acc[k]))
      CASE(sqrt, V::sqrt(acc[k]))
      CASE(mul_add, V::add(V::mul(acc[k], A), B))
      SCALAR_CASE(scale_add, V::add(V::mul(acc[k], s), B))
      case ChainCode::mul_add_s: {
        const T s = V::set(*b);
        EACH(V::add(V::mul(acc[k], A), s))
      }
      case ChainCode::scale_add_s: {
        const T s = V::set(*a);
        const T r = V::set(*b);
        EACH(V::add(V::mul(acc[k], s), r))
      }
    }
#undef SCALAR_CASE
#undef CASE
#undef B
#undef A
#undef EACH
  }
  for (int k = 0; k < K; ++k) V::store(acc[k], dst + at + k * lanes);
}

template <class F>
void RunChain(const ChainLink* links, int count, void* dst, const void* const* where, int64_t n) {
  constexpr int vectors = 8;
  using V = Wide<F>;
  auto* out = static_cast<F*>(dst);
  int64_t at = 0;
  const int64_t lanes = V::lanes();
  for (; at + vectors * lanes <= n; at += vectors * lanes) {
    run_block<V, vectors>(links, count, out, where, at);
  }
  for (; at + lanes <= n; at += lanes) run_block<V, 1>(links, count, out, where, at);
  for (; at < n; ++at) run_block<Single<F>, 1>(links, count, out, where, at);
}

ChainKernel ChainOf(Dtype dtype) {
  if (dtype == Dtype::float32) return RunChain<float>;
#if HWY_HAVE_FLOAT64
  if (dtype == Dtype::float64) return RunChain<double>;
#endif
  return nullptr;
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(ChainOf);
ChainKernel chain_kernel(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(ChainOf)(dtype); }
}  // namespace rill
#endif
