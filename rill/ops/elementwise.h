// The elementwise operations as C++ functions and as data, both from ops/elementwise.def.
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// Which dtypes an operation has kernels for.
enum class Domain : uint8_t { all, numeric, real, integral, integers, floats, inexact };

constexpr bool contains(Domain domain, Dtype dtype) {
  switch (domain) {
    case Domain::all: return true;
    case Domain::numeric: return dtype != Dtype::bool_;
    case Domain::real: return !is_complex(dtype);
    case Domain::integral: return is_integer(dtype) || dtype == Dtype::bool_;
    case Domain::integers: return is_integer(dtype);
    case Domain::floats: return is_floating(dtype);
    case Domain::inexact: return is_inexact(dtype);
  }
  return false;
}

/// What the result dtype follows from.
enum class RowKind : uint8_t { unary, measure, test, binary, compare, cast, select };

/// The rows, in the order of the table; then two that need no table: `cast` (from the operand's
/// dtype to the result's) and `select` (condition ? a : b).
enum class Row : uint16_t {
#define UNARY(name, ...) name,
#define MEASURE(name, ...) name,
#define PREDICATE(name, ...) name,
#define BINARY(name, ...) name,
#define COMPARE(name, ...) name,
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
  cast,
  select,
  count,
};
inline constexpr int row_count = static_cast<int>(Row::count);

/// A row as data.
struct RowInfo {
  std::string_view name;
  RowKind kind;
  Domain domain;
  std::string_view value;  // the expression, as text
  std::string_view doc;
  bool differentiable;
};
const RowInfo& info(Row row);
std::span<const RowInfo> elementwise_rows();
const OpInfo& op_of(Row row);
/// Roughly the nanoseconds that one core takes for an element that is in a near cache.
double element_cost(Row row);

/// The dtype in which a row computes operands of this (promoted) dtype. Throws
/// std::invalid_argument, naming the operation, when there is no such kernel.
Dtype compute_dtype(Row row, Dtype dtype);
/// The dtype of the result, given that in which it computes.
constexpr Dtype result_dtype(RowKind kind, Dtype compute) {
  if (kind == RowKind::test || kind == RowKind::compare) return Dtype::bool_;
  if (kind == RowKind::measure && is_complex(compute)) return Dtype::float32;
  return compute;
}

/// Applies a row by number: what the bindings loop over.
Array elementwise(Row row, const Array& x, StreamOrDevice s = {});
Array elementwise(Row row, const Array& a, const Array& b, StreamOrDevice s = {});

// The functions. Operands broadcast; dtypes promote.
#define DECLARE_UNARY(name, domain, value, tangent, doc) \
  Array name(const Array& x, StreamOrDevice s = {});
#define DECLARE_PREDICATE(name, domain, value, doc) \
  Array name(const Array& x, StreamOrDevice s = {});
#define DECLARE_BINARY(name, domain, value, ta, tb, doc) \
  Array name(const Array& a, const Array& b, StreamOrDevice s = {});
#define DECLARE_COMPARE(name, domain, value, doc) \
  Array name(const Array& a, const Array& b, StreamOrDevice s = {});
#define UNARY DECLARE_UNARY
#define MEASURE DECLARE_UNARY
#define PREDICATE DECLARE_PREDICATE
#define BINARY DECLARE_BINARY
#define COMPARE DECLARE_COMPARE
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
#undef DECLARE_UNARY
#undef DECLARE_PREDICATE
#undef DECLARE_BINARY
#undef DECLARE_COMPARE

/// floor(a / b), of integers too, and the remainder r: a = q * b + r. Both are zero where an
/// integer is divided by zero. Integers are divided once.
std::pair<Array, Array> divmod(const Array& a, const Array& b, StreamOrDevice s = {});
/// The first of divmod().
Array floored_quotient(const Array& a, const Array& b, StreamOrDevice s = {});

/// `condition ? a : b`, elementwise.
Array where(const Array& condition, const Array& a, const Array& b, StreamOrDevice s = {});

/// The same values in another dtype: floats to integers truncate, to bool test for non-zero.
Array astype(const Array& x, Dtype dtype, StreamOrDevice s = {});

inline Array operator-(const Array& x) { return negative(x); }
inline Array operator+(const Array& a, const Array& b) { return add(a, b); }
inline Array operator-(const Array& a, const Array& b) { return subtract(a, b); }
inline Array operator*(const Array& a, const Array& b) { return multiply(a, b); }
inline Array operator/(const Array& a, const Array& b) { return divide(a, b); }
inline Array operator>(const Array& a, const Array& b) { return greater(a, b); }
inline Array operator<(const Array& a, const Array& b) { return less(a, b); }
inline Array operator>=(const Array& a, const Array& b) { return greater_equal(a, b); }
inline Array operator<=(const Array& a, const Array& b) { return less_equal(a, b); }

/// A C++ number beside an array takes the array's dtype, as a Python scalar does.
Array weak(double value, const Array& beside);
inline Array operator+(const Array& a, double b) { return add(a, weak(b, a)); }
inline Array operator-(const Array& a, double b) { return subtract(a, weak(b, a)); }
inline Array operator*(const Array& a, double b) { return multiply(a, weak(b, a)); }
inline Array operator/(const Array& a, double b) { return divide(a, weak(b, a)); }
inline Array operator+(double a, const Array& b) { return add(weak(a, b), b); }
inline Array operator-(double a, const Array& b) { return subtract(weak(a, b), b); }
inline Array operator*(double a, const Array& b) { return multiply(weak(a, b), b); }
inline Array operator/(double a, const Array& b) { return divide(weak(a, b), b); }

}  // namespace rill
