// Tile kernels of bool and the integers; comparisons and tests of every real type.
#include "rill/cpu/targets.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_integer.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include "rill/cpu/half-inl.h"
#include "rill/cpu/tile_loops-inl.h"
#include "rill/cpu/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

template <class T>
struct IntegerKernels {
  template <class Op>
  static void unary(void* dst, const void* a, const void* b, const void* c, int64_t n) {
    unary_loop<Op, T, T>(dst, a, b, c, n);
  }
  template <class Op>
  static void binary(void* dst, const void* a, const void* b, const void* c, int64_t n) {
    binary_loop<Op, T, T>(dst, a, b, c, n);
  }
};

template <class T>
void add_tests(TileKernels& kernels) {
  constexpr Dtype dtype = dtype_of<T>();
#define UNARY(...)
#define MEASURE(...)
#define PREDICATE(name, domain, expression, doc) \
  if constexpr (contains(Domain::domain, dtype)) \
    add_loop<name##_row, T, bool, false>(kernels, Row::name, dtype);
#define BINARY(...)
#define COMPARE(name, domain, expression, doc)   \
  if constexpr (contains(Domain::domain, dtype)) \
    add_loop<name##_row, T, bool, true>(kernels, Row::name, dtype);
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
}

/// Whether a tile holds one number, as where a program spreads a scalar over it.
template <class T>
bool all_alike(const T* numbers, int64_t n) {
  T differences = 0;
  for (int64_t i = 0; i < n; ++i) differences |= static_cast<T>(numbers[i] ^ numbers[0]);
  return differences == 0;
}

/// Quotients by one number that is not zero: products with a factor, and shifts. (T. Granlund and
/// P. Montgomery, Division by invariant integers using multiplication, 1994, figure 4.1.)
template <class T>
class DivisionByOne {
 public:
  explicit DivisionByOne(T divisor) : divisor_(divisor) {
    const U magnitude = Magnitude(divisor);
    const int bits = std::bit_width(static_cast<U>(magnitude - 1));
    const auto above = static_cast<U>((bits == width ? Wide{0} : Wide{1} << bits) - magnitude);
    factor_ = static_cast<U>((static_cast<Wide>(above) << width) / magnitude + 1);
    first_shift_ = std::min(bits, 1);
    second_shift_ = std::max(bits - 1, 0);
  }

  void Loop(T* out, const T* x, int64_t n) const {
    int64_t i = 0;
    if constexpr (width <= 32 && HWY_TARGET != HWY_SCALAR) i = LoopOfVectors(out, x, n);
    const DivisionByOne by = *this;  // what `out` cannot be part of
    for (; i < n; ++i) {
      const U minus = (x[i] ^ by.divisor_) < 0 ? ~U{0} : U{0};
      out[i] = static_cast<T>((by.Quotient(Magnitude(x[i])) ^ minus) - minus);
    }
  }

 private:
  // Computed in 16, 32 or 64 bits.
  static constexpr int width = sizeof(T) <= 2 ? 16 : 8 * sizeof(T);
  using U = std::conditional_t<width == 16, uint16_t,
                               std::conditional_t<width == 32, uint32_t, uint64_t>>;
  using Wide = std::conditional_t<width == 64, unsigned __int128, uint64_t>;

  static HWY_INLINE U Magnitude(T x) {
    return x < 0 ? static_cast<U>(-static_cast<U>(x)) : static_cast<U>(x);
  }
  HWY_INLINE U Quotient(U x) const {
    const auto high = static_cast<U>((static_cast<Wide>(factor_) * x) >> width);
    return static_cast<U>(high + (static_cast<U>(x - high) >> first_shift_)) >> second_shift_;
  }

  template <class D, class V = hn::Vec<D>>
  static HWY_INLINE V High(D d, V a, V b) {
    if constexpr (width == 16) {
      return hn::MulHigh(a, b);
    } else {
      const hn::RepartitionToWide<D> wide;
      const auto odd = [&](V v) HWY_ATTR {
        return hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, v)));
      };
      const auto even_products = hn::BitCast(d, hn::MulEven(a, b));
      const auto odd_products = hn::BitCast(d, hn::MulEven(odd(a), odd(b)));
      return hn::OddEven(odd_products, odd(even_products));
    }
  }

  int64_t LoopOfVectors(T* out, const T* x, int64_t n) const {
    const hn::ScalableTag<U> d;
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<T, decltype(d)> dt;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const auto factor = hn::Set(d, factor_);
    const auto divisor = hn::Set(di, static_cast<hn::TFromD<decltype(di)>>(divisor_));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      auto v = hn::Zero(di);
      if constexpr (sizeof(T) > 1) v = hn::BitCast(di, hn::LoadU(dt, x + i));
      else v = hn::PromoteTo(di, hn::LoadU(dt, x + i));
      const auto magnitude = hn::BitCast(d, std::is_signed_v<T> ? hn::Abs(v) : v);
      const auto high = High(d, magnitude, factor);
      const auto rest = hn::ShiftRightSame(hn::Sub(magnitude, high), first_shift_);
      auto quotient = hn::ShiftRightSame(hn::Add(high, rest), second_shift_);
      if constexpr (std::is_signed_v<T>) {
        const auto minus = hn::BitCast(d, hn::BroadcastSignBit(hn::Xor(v, divisor)));
        quotient = hn::Sub(hn::Xor(quotient, minus), minus);
      }
      if constexpr (sizeof(T) > 1) {
        hn::StoreU(hn::BitCast(dt, quotient), dt, out + i);
      } else {
        const hn::Rebind<uint8_t, decltype(d)> bytes;
        hn::StoreU(hn::BitCast(dt, hn::TruncateTo(bytes, quotient)), dt, out + i);
      }
    }
    return i;
  }

  T divisor_;
  U factor_;
  int first_shift_, second_shift_;
};

/// Quotients of integers, computed in floats, which have vectors and hold all integers of up to 32
/// bits, and those of 64 bits that are usual: vectors with others are divided one by one.
/// Truncation is exact: a rounded quotient is off by less than 1 / b, the least distance from below
/// to the next integer.
template <class T>
struct Division {
  using F = std::conditional_t<sizeof(T) >= 4, double, float>;
  using D = hn::ScalableTag<F>;
  using V = hn::Vec<D>;
  using Signed = std::make_signed_t<T>;
  static constexpr F span =
      sizeof(T) == 8 ? 0 : static_cast<F>(uint64_t{1} << (8 * sizeof(T) % 64));

  static constexpr int64_t lanes = hn::MaxLanes(D());
  static constexpr int64_t worth_a_factor = 32;  // numbers

  static HWY_INLINE V Load(const T* p) {
    if constexpr (sizeof(T) == 8) {
      const hn::RebindToSigned<D> bits;
      return hn::ConvertTo(D(), hn::LoadU(bits, reinterpret_cast<const int64_t*>(p)));
    } else if constexpr (sizeof(T) == 4) {
      const hn::Rebind<int32_t, D> bits;
      const V v = hn::PromoteTo(D(), hn::LoadU(bits, reinterpret_cast<const int32_t*>(p)));
      if constexpr (std::is_signed_v<T>) return v;
      else return hn::IfThenElse(hn::Lt(v, hn::Zero(D())), hn::Add(v, hn::Set(D(), span)), v);
    } else {
      return hn::ConvertTo(D(), LoadAs(hn::RebindToSigned<D>(), p));
    }
  }

  /// Whether a number of 64 bits was converted without loss; unsigned ones were taken for signed.
  static HWY_INLINE auto IsExact(V v) {
    const auto inside = hn::Lt(hn::Abs(v), hn::Set(D(), F(int64_t{1} << 53)));
    if constexpr (std::is_signed_v<T>) return inside;
    else return hn::And(inside, hn::Ge(v, hn::Zero(D())));
  }

  /// Wraps around.
  static HWY_INLINE void Store(V v, T* p) {
    const hn::RebindToSigned<D> wide;
    const hn::Rebind<Signed, D> bits;
    auto* to = reinterpret_cast<Signed*>(p);
    if constexpr (sizeof(T) == 8) {
      hn::StoreU(hn::ConvertTo(wide, v), wide, to);
    } else {
      const auto outside = hn::Ge(v, hn::Set(D(), span / 2));
      const V wrapped = hn::IfThenElse(outside, hn::Sub(v, hn::Set(D(), span)), v);
      if constexpr (sizeof(T) == 4) hn::StoreU(hn::DemoteTo(bits, wrapped), bits, to);
      else hn::StoreU(hn::DemoteTo(bits, hn::ConvertTo(wide, wrapped)), bits, to);
    }
  }

  static HWY_INLINE V Quotient(V a, V b) {
    return hn::IfThenZeroElse(hn::Eq(b, hn::Zero(D())), hn::Trunc(hn::Div(a, b)));
  }
  static HWY_INLINE V Remainder(V a, V b) {
    const V zero = hn::Zero(D());
    const V rest = hn::Sub(a, hn::Mul(hn::Trunc(hn::Div(a, b)), b));
    const V turned = hn::IfThenElse(hn::Lt(hn::Mul(rest, b), zero), hn::Add(rest, b), rest);
    return hn::IfThenZeroElse(hn::Eq(b, zero), turned);
  }

  /// As many as a vector has lanes.
  template <bool remainder>
  static HWY_INLINE void Some(const T* a, const T* b, T* to) {
    const V left = Load(a);
    const V right = Load(b);
    if constexpr (sizeof(T) == 8) {
      if (HWY_UNLIKELY(!hn::AllTrue(D(), hn::And(IsExact(left), IsExact(right))))) {
        for (int64_t k = 0; k < lanes; ++k) {
          if constexpr (remainder) to[k] = scalar::remainder(a[k], b[k]);
          else to[k] = scalar::truncated_divide(a[k], b[k]);
        }
        return;
      }
    }
    if constexpr (remainder) Store(Remainder(left, right), to);
    else Store(Quotient(left, right), to);
  }

  template <bool remainder>
  static void Loop(void* dst, const void* a, const void* b, const void*, int64_t n) {
    auto* out = static_cast<T*>(dst);
    const auto* x = static_cast<const T*>(a);
    const auto* y = static_cast<const T*>(b);
    if (!remainder && n >= worth_a_factor && y[0] != 0 && all_alike(y, n)) {
      return DivisionByOne<T>(y[0]).Loop(out, x, n);
    }
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) Some<remainder>(x + i, y + i, out + i);
    if (i == n) return;
    T left[lanes] = {};
    T right[lanes] = {};
    for (int64_t k = 0; k < lanes && i + k < n; ++k) left[k] = x[i + k];
    for (int64_t k = 0; k < lanes && i + k < n; ++k) right[k] = y[i + k];
    Some<remainder>(left, right, left);
    for (int64_t k = 0; k < lanes && i + k < n; ++k) out[i + k] = left[k];
  }
};

template <class T>
void add_division(TileKernels& kernels) {
  if constexpr (!std::is_same_v<T, bool>) {
    constexpr int dtype = static_cast<int>(dtype_of<T>());
    kernels.rows[static_cast<int>(Row::floor_divide)][dtype] = Division<T>::template Loop<false>;
    kernels.rows[static_cast<int>(Row::remainder)][dtype] = Division<T>::template Loop<true>;
  }
}

/// Powers of one exponent, which a program spreads over a tile: of all numbers at once, a product
/// for each bit.
template <class T>
void power_loop(void* dst, const void* a, const void* b, const void* c, int64_t n) {
  using U = std::make_unsigned_t<T>;
  constexpr int64_t piece = 512;
  const auto* exponents = static_cast<const T*>(b);
  const T exponent = n > 0 ? exponents[0] : T{0};
  if (exponent < 0 || !all_alike(exponents, n)) {
    return IntegerKernels<T>::template binary<power_row>(dst, a, b, c, n);
  }
  if (exponent == 2) return IntegerKernels<T>::template binary<multiply_row>(dst, a, a, c, n);
  for (int64_t begin = 0; begin < n; begin += piece) {
    const int64_t count = std::min(piece, n - begin);
    U square[piece];
    U result[piece];
    std::copy_n(static_cast<const T*>(a) + begin, count, square);
    std::fill_n(result, count, U{1});
    for (auto left = static_cast<U>(exponent); left != 0; left >>= 1) {
      if (left & 1) {
        for (int64_t i = 0; i < count; ++i) result[i] = static_cast<U>(result[i] * square[i]);
      }
      if (left == 1) break;
      for (int64_t i = 0; i < count; ++i) square[i] = static_cast<U>(square[i] * square[i]);
    }
    std::copy_n(result, count, static_cast<T*>(dst) + begin);
  }
}

template <class T>
void add_power(TileKernels& kernels) {
  if constexpr (!std::is_same_v<T, bool>) {
    kernels.rows[static_cast<int>(Row::power)][static_cast<int>(dtype_of<T>())] = power_loop<T>;
  }
}

template <class... T>
void add_types(TileKernels& kernels) {
  (add_value_rows<dtype_of<T>(), IntegerKernels<T>>(kernels), ...);
  (add_tests<T>(kernels), ...);
  (add_division<T>(kernels), ...);
  (add_power<T>(kernels), ...);
}

void AddInteger(TileKernels& kernels) {
  add_types<bool, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t>(
      kernels);
  add_tests<float>(kernels);
  add_tests<double>(kernels);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddInteger);
void add_integer_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddInteger)(kernels); }
}  // namespace rill
#endif
