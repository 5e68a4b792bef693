// Chains of arithmetic, a block of registers at a time.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_chain.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include <cmath>
#include <type_traits>

#include "rill/cpu/half-inl.h"
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
  template <class Half>
  static HWY_INLINE F round(F a) {
    return static_cast<F>(Half(static_cast<float>(a)));
  }
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
  template <class Half>
  static HWY_INLINE Value round(Value a) {
    if constexpr (std::is_same_v<F, float>) return RoundTo<Half>(D(), a);
    else return a;  // chains of float64 have no such link
  }
};

/// Blocks of as many elements as K vectors have, from `at` on; returns where the rest begins. Each
/// link jumps to the next by itself: the processor foresees that far better than the jumps of a
/// loop.
template <class V, int K, class F>
HWY_NOINLINE int64_t run_blocks(const ChainLink* links, void* const* where, int64_t at, int64_t n) {
  using T = typename V::Value;
  static const void* const places[] = {
#define CODE(name) &&name, &&name##_number, &&name##_kept, &&name##_held,
      RILL_CHAIN_CODES(CODE)
#undef CODE
          && negate,
      &&square,
      &&sqrt,
      &&round_float16,
      &&round_bfloat16,
      &&keep,
      &&hold,
      &&store,
      &&store_held,
      &&end};
  const int64_t lanes = V::lanes();
  const ChainLink* link = links;
  T acc[K], kept[K], held[K];
#define NEXT goto* places[static_cast<int>(link->code)]
// Constants as indices, so that the arrays are registers.
#define ONE(number, statement) \
  {                            \
    constexpr int k = number;  \
    statement;                 \
  }
#define ALL(statement)   \
  ONE(0, statement)      \
  if constexpr (K > 1) { \
    ONE(1, statement)    \
    ONE(2, statement)    \
    ONE(3, statement)    \
  }                      \
  if constexpr (K > 4) { \
    ONE(4, statement)    \
    ONE(5, statement)    \
    ONE(6, statement)    \
    ONE(7, statement)    \
  }
#define EACH(statement) \
  ALL(statement)        \
  ++link;               \
  NEXT
  ALL(acc[k] = kept[k] = held[k] = V::set(F(0)));
#define PLACE(operand) (static_cast<F*>(where[link->operand]) + at + k * lanes)
#define NUMBER(operand) V::set(*static_cast<const F*>(where[link->operand]))
#define CASE(name, operand, VALUE)               \
  name:                                          \
  EACH(acc[k] = VALUE(V::load(PLACE(operand)))); \
  name##_number : {                              \
    const T s = NUMBER(operand);                 \
    EACH(acc[k] = VALUE(s));                     \
  }                                              \
  name##_kept : EACH(acc[k] = VALUE(kept[k]));   \
  name##_held : EACH(acc[k] = VALUE(held[k]))
#define LOAD(x) x
#define ADD(x) V::add(acc[k], x)
#define SUBTRACT(x) V::sub(acc[k], x)
#define SUBTRACT_FROM(x) V::sub(x, acc[k])
#define MULTIPLY(x) V::mul(acc[k], x)
#define DIVIDE(x) V::div(acc[k], x)
#define DIVIDE_INTO(x) V::div(x, acc[k])
#define MUL_ADD_TILE(x) V::add(V::mul(acc[k], V::load(PLACE(a))), x)
#define MUL_ADD_NUMBER(x) V::add(V::mul(acc[k], NUMBER(a)), x)
#define MUL_ADD_KEPT(x) V::add(V::mul(acc[k], kept[k]), x)
begin:
  if (at + K * lanes > n) return at;
  NEXT;
  CASE(load, a, LOAD);
  CASE(add, a, ADD);
  CASE(subtract, a, SUBTRACT);
  CASE(subtract_from, a, SUBTRACT_FROM);
  CASE(multiply, a, MULTIPLY);
  CASE(divide, a, DIVIDE);
  CASE(divide_into, a, DIVIDE_INTO);
  CASE(mul_add_tile, b, MUL_ADD_TILE);
  CASE(mul_add_number, b, MUL_ADD_NUMBER);
  CASE(mul_add_kept, b, MUL_ADD_KEPT);
negate:
  EACH(acc[k] = V::neg(acc[k]));
square:
  EACH(acc[k] = V::mul(acc[k], acc[k]));
sqrt:
  EACH(acc[k] = V::sqrt(acc[k]));
round_float16:
  EACH(acc[k] = V::template round<float16>(acc[k]));
round_bfloat16:
  EACH(acc[k] = V::template round<bfloat16>(acc[k]));
keep:
  EACH(kept[k] = V::load(PLACE(a)));
hold:
  EACH(held[k] = acc[k]);
store:
  EACH(V::store(acc[k], PLACE(a)));
store_held:
  EACH(V::store(held[k], PLACE(a)));
end:
  at += K * lanes;
  link = links;
  goto begin;
#undef MUL_ADD_KEPT
#undef MUL_ADD_NUMBER
#undef MUL_ADD_TILE
#undef DIVIDE_INTO
#undef DIVIDE
#undef MULTIPLY
#undef SUBTRACT_FROM
#undef SUBTRACT
#undef ADD
#undef LOAD
#undef CASE
#undef NUMBER
#undef PLACE
#undef EACH
#undef ALL
#undef ONE
#undef NEXT
}

template <class F>
void RunChain(const ChainLink* links, void* const* where, int64_t from, int64_t n) {
  constexpr bool many_registers = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;
  constexpr int vectors = many_registers ? 8 : 4;  // three banks of them, and some more
  int64_t at = run_blocks<Wide<F>, vectors, F>(links, where, from, n);
  at = run_blocks<Wide<F>, 1, F>(links, where, at, n);
  run_blocks<Single<F>, 1, F>(links, where, at, n);
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
