// Tile kernels of float32 and float64 arithmetic in which operands are one value for the whole
// tile, and of a product with the sum or difference that follows it. Every operation rounds, as if
// each had run by itself.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_arithmetic.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include "rill/cpu/tile_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Reads an operand of a tile: the vector at i, or the one value.
template <class F, bool one_value>
struct Reader {
  using D = hn::ScalableTag<F>;
  explicit HWY_INLINE Reader(const void* data)
      : data_(static_cast<const F*>(data)), value_(hn::Set(D(), *data_)) {}
  HWY_INLINE hn::Vec<D> vector(int64_t i) const {
    if constexpr (one_value) return value_;
    else return hn::LoadU(D(), data_ + i);
  }
  HWY_INLINE F element(int64_t i) const { return data_[one_value ? 0 : i]; }

  const F* data_;
  const hn::Vec<D> value_;
};

/// Overloads for vectors and numbers.
struct Arithmetic {
  template <class V>
  static HWY_INLINE V add(V a, V b) {
    if constexpr (std::is_floating_point_v<V>) return a + b;
    else return hn::Add(a, b);
  }
  template <class V>
  static HWY_INLINE V subtract(V a, V b) {
    if constexpr (std::is_floating_point_v<V>) return a - b;
    else return hn::Sub(a, b);
  }
  template <class V>
  static HWY_INLINE V multiply(V a, V b) {
    if constexpr (std::is_floating_point_v<V>) return a * b;
    else return hn::Mul(a, b);
  }
  template <class V>
  static HWY_INLINE V divide(V a, V b) {
    if constexpr (std::is_floating_point_v<V>) return a / b;
    else return hn::Div(a, b);
  }
};

template <Row row>
struct Binary {
  template <class V>
  static HWY_INLINE V value(V a, V b, V) {
    if constexpr (row == Row::add) return Arithmetic::add(a, b);
    else if constexpr (row == Row::subtract) return Arithmetic::subtract(a, b);
    else if constexpr (row == Row::multiply) return Arithmetic::multiply(a, b);
    else return Arithmetic::divide(a, b);
  }
};

template <Product product>
struct WithProduct {
  template <class V>
  static HWY_INLINE V value(V a, V b, V c) {
    V made = Arithmetic::multiply(a, b);
    if constexpr (product == Product::plus) return Arithmetic::add(made, c);
    else if constexpr (product == Product::minus) return Arithmetic::subtract(made, c);
    else return Arithmetic::subtract(c, made);
  }
};

/// `ones`: bit k is set if operand k is one value.
template <class Op, class F, int operands, int ones>
HWY_ATTR void arithmetic_tile(void* dst, const void* a, const void* b, const void* c, int64_t n) {
  const hn::ScalableTag<F> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Reader<F, (ones & 1) != 0> x(a);
  const Reader<F, (ones & 2) != 0> y(b);
  const Reader<F, operands == 2 || (ones & 4) != 0> z(operands == 2 ? a : c);
  auto* out = static_cast<F*>(dst);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(Op::value(x.vector(i), y.vector(i), z.vector(i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = Op::value(x.element(i), y.element(i), z.element(i));
}

template <class F>
void add_arithmetic_of(TileKernels& kernels) {
  constexpr auto dtype = static_cast<int>(dtype_of<F>());
  auto put_row = [&]<Row row>() {
    TileKernel* by_ones = kernels.with_scalars[static_cast<int>(row)][dtype];
    by_ones[1] = arithmetic_tile<Binary<row>, F, 2, 1>;
    by_ones[2] = arithmetic_tile<Binary<row>, F, 2, 2>;
  };
  put_row.template operator()<Row::add>();
  put_row.template operator()<Row::subtract>();
  put_row.template operator()<Row::multiply>();
  put_row.template operator()<Row::divide>();
  auto put_product = [&]<Product product>() {
    TileKernel* by_ones = kernels.products[static_cast<int>(product)][dtype];
    by_ones[0] = arithmetic_tile<WithProduct<product>, F, 3, 0>;
    by_ones[1] = arithmetic_tile<WithProduct<product>, F, 3, 1>;
    by_ones[2] = arithmetic_tile<WithProduct<product>, F, 3, 2>;
    by_ones[4] = arithmetic_tile<WithProduct<product>, F, 3, 4>;
    by_ones[5] = arithmetic_tile<WithProduct<product>, F, 3, 5>;
    by_ones[6] = arithmetic_tile<WithProduct<product>, F, 3, 6>;
  };
  put_product.template operator()<Product::plus>();
  put_product.template operator()<Product::minus>();
  put_product.template operator()<Product::from>();
}

void AddArithmetic(TileKernels& kernels) {
  add_arithmetic_of<float>(kernels);
#if HWY_HAVE_FLOAT64
  add_arithmetic_of<double>(kernels);
#endif
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddArithmetic);
void add_arithmetic_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddArithmetic)(kernels); }
}  // namespace rill
#endif
