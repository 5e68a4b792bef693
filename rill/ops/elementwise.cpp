#include "rill/ops/elementwise.h"

#include <array>
#include <cmath>
#include <optional>

#include "rill/ops/batching.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

/// The derivative of a row by one operand: linear in the tangent `g`. `b` and `x` are empty where
/// the row has none.
using Tangent = Array (*)(const Array& g, const Array& a, const Array& b, const Array& out);

const Array none;

/// d/db of a^b, taken as zero where a <= 0 (there a^b has no derivative by b).
Array power_tangent(const Array& g, const Array& a, const Array& out) {
  Array positive = a > Array(0.0, a.dtype());
  Array safe = where(positive, a, Array(1.0, a.dtype()));
  return where(positive, g * out * log(safe), Array(0.0, g.dtype()));
}

/// -g; of a bool, whose difference is an exclusive or, the bool.
Array opposite(const Array& g) { return g.dtype() == Dtype::bool_ ? g : -g; }

/// Of a complex number: what turns it, over its size. Zero for real ones.
Array sign_tangent(const Array& g, const Array& x, const Array& out) {
  if (!is_complex(x.dtype())) return none;
  return (g - out * real(conjugate(out) * g)) / abs(x);
}

struct Derivatives {
  Tangent a = nullptr;
  Tangent b = nullptr;
};

#define TANGENT(names, expression)                                                     \
  [](const Array& g, [[maybe_unused]] const Array& a, [[maybe_unused]] const Array& b, \
     [[maybe_unused]] const Array& out) -> Array { names return expression; }
#define X_IS_A                         \
  [[maybe_unused]] const Array& x = a; \
  static_cast<void>(g);
#define ONLY_G static_cast<void>(g);

constexpr Derivatives derivatives[] = {
#define UNARY(name, domain, value, tangent, doc) {TANGENT(X_IS_A, tangent), nullptr},
#define MEASURE UNARY
#define PREDICATE(name, domain, value, doc) {},
#define BINARY(name, domain, value, tangent_a, tangent_b, doc) \
  {TANGENT(ONLY_G, tangent_a), TANGENT(ONLY_G, tangent_b)},
#define COMPARE(name, domain, value, doc) {},
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
};

constexpr bool differs_from_none(std::string_view text) { return text != "none"; }

constexpr RowInfo rows[] = {
#define UNARY(name, domain, value, tangent, doc) \
  {#name, RowKind::unary, Domain::domain, #value, doc, differs_from_none(#tangent)},
#define MEASURE(name, domain, value, tangent, doc) \
  {#name, RowKind::measure, Domain::domain, #value, doc, differs_from_none(#tangent)},
#define PREDICATE(name, domain, value, doc) \
  {#name, RowKind::test, Domain::domain, #value, doc, false},
#define BINARY(name, domain, value, tangent_a, tangent_b, doc) \
  {#name, RowKind::binary, Domain::domain, #value, doc, differs_from_none(#tangent_a)},
#define COMPARE(name, domain, value, doc) \
  {#name, RowKind::compare, Domain::domain, #value, doc, false},
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
    {"astype", RowKind::cast, Domain::all, "", "The same values in another dtype.", true},
    {"where", RowKind::select, Domain::all, "", "a where the condition holds, else b.", true},
};
static_assert(std::size(rows) == row_count);
static_assert(std::size(derivatives) == row_count - 2);

const Derivatives& derivatives_of(const OpInfo& op) {
  return derivatives[static_cast<int>(op.row)];
}

/// Applies the derivative by operand `i`, on arrays of the shape of the output.
Array tangent_by(const OpInfo& op, size_t i, const Array& g, const Inputs& in, const Array& out) {
  const Derivatives& rule = derivatives_of(op);
  Tangent tangent = i == 0 ? rule.a : rule.b;
  return tangent == nullptr ? Array() : tangent(g, in[0], in.size() > 1 ? in[1] : none, out);
}

/// Reverse mode of a holomorphic function: conj(f'(z)) times the cotangent.
Array cotangent_by(const OpInfo& op, size_t i, const Array& g, const Inputs& in, const Array& out) {
  if (!is_complex(in[i].dtype())) return tangent_by(op, i, g, in, out);
  // Linear in the real and imaginary parts, but not complex-linear.
  if (op.row == Row::abs) return g * sign(in[i]);
  if (op.row == Row::sign) return sign_tangent(g, in[i], out);
  if (op.row == Row::imag) return multiply(g, Array(complex64(0, 1)));
  Array result = tangent_by(op, i, conjugate(g), in, out);
  return result ? conjugate(result) : result;
}

Arrays elementwise_vjp(const OpInfo& op, const VjpArgs& args) {
  Arrays result(args.inputs.size());
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    if (!args.wanted[i]) continue;
    const Array& input = args.inputs[i];
    Array g = cotangent_by(op, i, args.cotangents[0], args.inputs, args.outputs[0]);
    if (g) result[i] = astype(sum_to(g, input.shape()), input.dtype());
  }
  return result;
}

Arrays elementwise_jvp(const OpInfo& op, const JvpArgs& args) {
  Array total;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    if (!args.tangents[i]) continue;
    Array t = op.row == Row::abs && is_complex(args.inputs[i].dtype())
                  ? real(conjugate(sign(args.inputs[i])) * args.tangents[i])
                  : tangent_by(op, i, args.tangents[i], args.inputs, args.outputs[0]);
    if (!t) continue;
    t = broadcast_to(t, args.outputs[0].shape());
    total = total ? total + t : t;
  }
  return {total};
}

/// Rules are plain functions of their arguments, so each row needs its own.
template <size_t I>
Arrays row_vjp(const VjpArgs& args);
template <size_t I>
Arrays row_jvp(const JvpArgs& args);

Arrays cast_vjp(const VjpArgs& args) {
  const Array& g = args.cotangents[0];
  Dtype dtype = args.inputs[0].dtype();
  return {astype(is_complex(g.dtype()) && !is_complex(dtype) ? real(g) : g, dtype)};
}
Arrays cast_jvp(const JvpArgs& args) { return {astype(args.tangents[0], args.outputs[0].dtype())}; }

Arrays select_vjp(const VjpArgs& args) {
  const Array& condition = args.inputs[0];
  const Array& g = args.cotangents[0];
  Array zero(0.0, g.dtype());
  Arrays result(3);
  if (args.wanted[1]) result[1] = sum_to(where(condition, g, zero), args.inputs[1].shape());
  if (args.wanted[2]) result[2] = sum_to(where(condition, zero, g), args.inputs[2].shape());
  return result;
}
Arrays select_jvp(const JvpArgs& args) {
  Array zero(0.0, args.outputs[0].dtype());
  auto tangent = [&](size_t i) { return args.tangents[i] ? args.tangents[i] : zero; };
  if (!args.tangents[1] && !args.tangents[2]) return {Array()};
  Array t = where(args.inputs[0], tangent(1), tangent(2));
  return {broadcast_to(t, args.outputs[0].shape())};
}

/// Operands broadcast by their last axes, so a batch goes in front of as many axes as the result
/// has.
Arrays elementwise_vmap(const VmapArgs& args) {
  size_t ndim = args.node.output(0).shape.size();
  Inputs inputs;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    const Array& x = args.inputs[i];
    inputs.push_back(args.batched[i] ? stretched_to(x, ndim + 1) : x);
  }
  return apply_batched(args, std::move(inputs), args.node.attrs);
}

template <size_t I>
constexpr OpInfo row_op() {
  constexpr Row row{I};
  if constexpr (row == Row::cast)
    return {
        .name = "astype", .vjp = cast_vjp, .jvp = cast_jvp, .vmap = elementwise_vmap, .row = row};
  else if constexpr (row == Row::select)
    return {.name = "where",
            .vjp = select_vjp,
            .jvp = select_jvp,
            .vmap = elementwise_vmap,
            .row = row};
  else if constexpr (rows[I].differentiable)
    return {.name = rows[I].name,
            .vjp = row_vjp<I>,
            .jvp = row_jvp<I>,
            .vmap = elementwise_vmap,
            .row = row};
  else
    return {.name = rows[I].name,
            .vjp = no_gradient,
            .jvp = no_tangent,
            .vmap = elementwise_vmap,
            .row = row};
}

template <size_t... I>
constexpr std::array<OpInfo, sizeof...(I)> all_row_ops(std::index_sequence<I...>) {
  return {row_op<I>()...};
}

constinit const std::array<OpInfo, row_count> ops =
    all_row_ops(std::make_index_sequence<row_count>{});

template <size_t I>
Arrays row_vjp(const VjpArgs& args) {
  return elementwise_vjp(ops[I], args);
}
template <size_t I>
Arrays row_jvp(const JvpArgs& args) {
  return elementwise_jvp(ops[I], args);
}

/// Rows that leave values of this dtype as they are.
bool is_identity(Row row, Dtype dtype) {
  switch (row) {
    case Row::ceil:
    case Row::floor:
    case Row::trunc:
    case Row::rint: return !is_inexact(dtype);
    case Row::conjugate:
    case Row::real: return !is_complex(dtype);
    case Row::abs: return is_unsigned(dtype) || dtype == Dtype::bool_;
    default: return false;
  }
}

/// Rows that are constant between steps: their derivative is zero for integers as well, as in MLX.
bool is_step(Row row) { return row == Row::ceil || row == Row::floor || row == Row::rint; }

/// What a test says of every number of a dtype without infinities and nan.
std::optional<bool> always(Row row, Dtype dtype) {
  if (is_inexact(dtype)) return std::nullopt;
  switch (row) {
    case Row::isfinite: return true;
    case Row::isnan:
    case Row::isinf:
    case Row::isposinf:
    case Row::isneginf: return false;
    default: return std::nullopt;
  }
}

constexpr Dtype no_dtype{0xff};

constexpr Dtype find_compute_dtype(Domain domain, Dtype dtype) {
  if (domain == Domain::floats || domain == Domain::inexact) dtype = to_inexact(dtype);
  if (domain == Domain::integers && dtype == Dtype::bool_) dtype = Dtype::uint8;
  return contains(domain, dtype) ? dtype : no_dtype;
}

constexpr auto compute_dtypes = [] {
  std::array<std::array<Dtype, dtype_count>, row_count> table{};
  for (int row = 0; row < row_count; ++row) {
    for (int dtype = 0; dtype < dtype_count; ++dtype) {
      table[row][dtype] = find_compute_dtype(rows[row].domain, static_cast<Dtype>(dtype));
    }
  }
  return table;
}();

/// The operand of an operation that is computed in `dtype`.
Array as_dtype(const Array& x, Dtype dtype, Stream stream) {
  return x.dtype() == dtype ? x : astype(x, dtype, stream);
}

}  // namespace

std::span<const RowInfo> elementwise_rows() { return {rows, std::size_t{row_count} - 2}; }
const RowInfo& info(Row row) { return rows[static_cast<int>(row)]; }
const OpInfo& op_of(Row row) { return ops[static_cast<int>(row)]; }

double element_cost(Row row) {
  constexpr double simple = 0.02;
  constexpr double function = 0.2;  // as exp
  switch (info(row).kind) {
    case RowKind::test:
    case RowKind::compare:
    case RowKind::cast:
    case RowKind::select: return simple;
    default: break;
  }
  switch (row) {
    case Row::add:
    case Row::subtract:
    case Row::multiply:
    case Row::divide:
    case Row::negative:
    case Row::abs:
    case Row::square:
    case Row::sqrt:
    case Row::minimum:
    case Row::maximum: return simple;
    default: return function;
  }
}

Dtype compute_dtype(Row row, Dtype dtype) {
  Dtype found = compute_dtypes[static_cast<int>(row)][static_cast<int>(dtype)];
  require(found != no_dtype, "[{}] is not defined for {}", info(row).name, name_of(dtype));
  return found;
}

Array elementwise(Row row, const Array& x, StreamOrDevice s) {
  RILL_RECORDED(elementwise, row, x, s);
  Dtype compute = compute_dtype(row, x.dtype());
  if (is_identity(row, compute)) {
    Array same = astype(x, compute, s);
    return is_step(row) ? stop_gradient(same, s) : same;
  }
  Stream stream = to_stream(s);
  if (std::optional<bool> answer = always(row, compute)) {
    return broadcast_to(Array(*answer), x.shape(), stream);
  }
  return make_array(op_of(row), stream, result_dtype(info(row).kind, compute), x.shape(),
                    Inputs::of(as_dtype(x, compute, stream)));
}

Array elementwise(Row row, const Array& a, const Array& b, StreamOrDevice s) {
  RILL_RECORDED(elementwise, row, a, b, s);
  Stream stream = to_stream(s);
  Dtype compute = compute_dtype(row, promote(a.dtype(), b.dtype()));
  const RowInfo& r = info(row);
  return make_array(op_of(row), stream, result_dtype(r.kind, compute),
                    broadcast_shapes(r.name, a.shape(), b.shape()),
                    Inputs::of(as_dtype(a, compute, stream), as_dtype(b, compute, stream)));
}

#define UNARY(name, ...) \
  Array name(const Array& x, StreamOrDevice s) { return elementwise(Row::name, x, s); }
#define MEASURE UNARY
#define PREDICATE UNARY
#define BINARY(name, ...)                                        \
  Array name(const Array& a, const Array& b, StreamOrDevice s) { \
    return elementwise(Row::name, a, b, s);                      \
  }
#define COMPARE BINARY
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE

std::pair<Array, Array> divmod(const Array& a, const Array& b, StreamOrDevice s) {
  const Dtype dtype = promote(a.dtype(), b.dtype());
  const Array quotient = floor_divide(a, b, s);
  const Array rest = remainder(a, b, s);
  if (!is_integer(dtype) || is_unsigned(dtype)) return {quotient, rest};
  // floor_divide() rounds integers towards zero, which is up where the signs differ.
  StreamScope scope(to_stream(s));
  const Array zero(0, dtype);
  const Array up = logical_and(less(bitwise_xor(a, b), zero), not_equal(rest, zero));
  return {quotient - astype(up, dtype), rest};
}

Array floored_quotient(const Array& a, const Array& b, StreamOrDevice s) {
  return divmod(a, b, s).first;
}

Array where(const Array& condition, const Array& a, const Array& b, StreamOrDevice s) {
  RILL_RECORDED(where, condition, a, b, s);
  Stream stream = to_stream(s);
  Dtype dtype = promote(a.dtype(), b.dtype());
  Shape shape =
      broadcast_shapes("where", broadcast_shapes("where", a.shape(), b.shape()), condition.shape());
  return make_array(op_of(Row::select), stream, dtype, std::move(shape),
                    Inputs::of(as_dtype(condition, Dtype::bool_, stream),
                               as_dtype(a, dtype, stream), as_dtype(b, dtype, stream)));
}

Array astype(const Array& x, Dtype dtype, StreamOrDevice s) {
  RILL_RECORDED(astype, x, dtype, s);
  if (x.dtype() == dtype) return x;
  return make_array(op_of(Row::cast), to_stream(s), dtype, x.shape(), {x});
}

Array weak(double value, const Array& beside) {
  bool fits = is_inexact(beside.dtype()) || value == std::floor(value);
  return Array(value, fits ? beside.dtype() : Dtype::float32);
}

}  // namespace rill
