// Rows of control flow: their bodies are graphs that are applied again.
#include "rill/transforms/control.h"
#include "rill/transforms/export_rows.h"

namespace rill {

using namespace exporting;

namespace {

using control::BodyRef;

size_t arguments_of(const BodyRef& ref) { return ref.graph().placeholders().size(); }

/// `count` operands from `from` on. Throws when there are not so many.
Arrays part(const Arrays& operands, size_t from, size_t count) {
  require(from <= operands.size() && count <= operands.size() - from,
          "[import_function] {} operands are too few", operands.size());
  auto begin = operands.begin() + static_cast<int64_t>(from);
  return Arrays(begin, begin + static_cast<int64_t>(count));
}

/// A number of operands.
size_t count_of(int64_t value, const Arrays& operands) {
  require(value >= 0 && value <= static_cast<int64_t>(operands.size()),
          "[import_function] {} operands of {}", value, operands.size());
  return static_cast<size_t>(value);
}

/// How many operands of a body come from outside, after those that it shares with others.
size_t outside_of(const BodyRef& ref, size_t shared) {
  require(arguments_of(ref) >= shared, "[import_function] a body with {} arguments",
          arguments_of(ref));
  return arguments_of(ref) - shared;
}

/// The body as a function of its first arguments.
ArrayFunction with_outside(const BodyRef& ref, Arrays outside) {
  return [ref, outside = std::move(outside)](const Arrays& arguments) {
    Arrays all = arguments;
    all.insert(all.end(), outside.begin(), outside.end());
    return ref.graph().apply(all);
  };
}

void require_count(const Arrays& operands, size_t count) {
  require(operands.size() == count, "[import_function] {} operands instead of {}", operands.size(),
          count);
}

Arrays apply_cond(const Arrays& in, const control::CondAttrs& attrs) {
  size_t shared = count_of(attrs.shared, in);
  size_t yes = outside_of(attrs.yes, shared);
  size_t no = outside_of(attrs.no, shared);
  require_count(in, 1 + shared + yes + no);
  return control::cond(in[0], with_outside(attrs.yes, part(in, 1 + shared, yes)),
                       with_outside(attrs.no, part(in, 1 + shared + yes, no)), part(in, 1, shared));
}

Arrays apply_while(const Arrays& in, const control::WhileAttrs& attrs) {
  size_t state = count_of(attrs.state, in);
  size_t tests = outside_of(attrs.condition, state);
  size_t steps = outside_of(attrs.body, state);
  require_count(in, state + tests + steps);
  return control::while_loop(with_outside(attrs.condition, part(in, state, tests)),
                             with_outside(attrs.body, part(in, state + tests, steps)),
                             part(in, 0, state));
}

/// The carry before each step, where the body gives it, is an output like others.
Arrays apply_scan(const Arrays& in, const control::ScanAttrs& attrs) {
  size_t carry = count_of(attrs.carry, in);
  size_t walked = count_of(attrs.walked, in);
  size_t outside = outside_of(attrs.body, carry + walked);
  require_count(in, carry + walked + outside);
  ArrayFunction body = with_outside(attrs.body, part(in, carry + walked, outside));
  auto step = [&](const Arrays& before, const Arrays& at) {
    Arrays arguments = before;
    arguments.insert(arguments.end(), at.begin(), at.end());
    Arrays results = body(arguments);
    Arrays after = part(results, 0, carry);
    return control::Carried{std::move(after), part(results, carry, results.size() - carry)};
  };
  control::Carried out =
      control::scan(step, part(in, 0, carry), part(in, carry, walked), attrs.length, attrs.reverse);
  out.carry.insert(out.carry.end(), out.outputs.begin(), out.outputs.end());
  return out.carry;
}

constexpr ExportRow rows[] = {
    row<control::CondAttrs>(
        "cond", 1, -1,
        [](const Arrays& in, const control::CondAttrs& attrs) { return apply_cond(in, attrs); }),
    row<control::WhileAttrs>(
        "while_loop", 1, -1,
        [](const Arrays& in, const control::WhileAttrs& attrs) { return apply_while(in, attrs); }),
    row<control::ScanAttrs>(
        "scan_loop", 0, -1,
        [](const Arrays& in, const control::ScanAttrs& attrs) { return apply_scan(in, attrs); }),
};

}  // namespace

std::span<const ExportRow> exporting::control_rows() { return rows; }

}  // namespace rill
