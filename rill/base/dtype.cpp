#include "rill/base/dtype.h"

#include <array>

namespace rill {

namespace {

/// Rank of a dtype within the chain bool < integers < floats < complex.
constexpr Dtype promote_integers(Dtype a, Dtype b) {
  bool a_signed = is_signed_integer(a);
  bool b_signed = is_signed_integer(b);
  if (a_signed == b_signed) return size_of(a) >= size_of(b) ? a : b;
  Dtype with_sign = a_signed ? a : b;
  Dtype without = a_signed ? b : a;
  if (size_of(with_sign) > size_of(without)) return with_sign;
  switch (size_of(without)) {
    case 1: return Dtype::int16;
    case 2: return Dtype::int32;
    case 4: return Dtype::int64;
    default: return Dtype::float32;  // no integer holds both int64 and uint64
  }
}

constexpr Dtype promote_pair(Dtype a, Dtype b) {
  if (a == b) return a;
  if (a == Dtype::bool_) return b;
  if (b == Dtype::bool_) return a;
  if (is_integer(a) && is_integer(b)) return promote_integers(a, b);
  if (is_complex(a) || is_complex(b)) return Dtype::complex64;
  if (is_integer(a)) return b;
  if (is_integer(b)) return a;
  if (is_half(a) && is_half(b)) return Dtype::float32;
  return size_of(a) > size_of(b) ? a : b;
}

using Table = std::array<std::array<Dtype, dtype_count>, dtype_count>;

constexpr Table promotion_table() {
  Table table{};
  for (int a = 0; a < dtype_count; ++a) {
    for (int b = 0; b < dtype_count; ++b) {
      table[a][b] = promote_pair(static_cast<Dtype>(a), static_cast<Dtype>(b));
    }
  }
  return table;
}

constexpr Table promotions = promotion_table();

}  // namespace

Dtype promote(Dtype a, Dtype b) { return promotions[static_cast<int>(a)][static_cast<int>(b)]; }

bool is_subcategory(Category category, Category parent) {
  if (category == parent || parent == Category::generic) return true;
  switch (parent) {
    case Category::inexact:
      return category == Category::floating || category == Category::complexfloating;
    case Category::integer:
      return category == Category::signedinteger || category == Category::unsignedinteger;
    case Category::number: return category != Category::generic;
    default: return false;
  }
}

}  // namespace rill
