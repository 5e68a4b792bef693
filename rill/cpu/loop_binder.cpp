#include "rill/cpu/loop_binder.h"

#include <algorithm>

#include "rill/cpu/copy.h"
#include "rill/cpu/matrix_of.h"
#include "rill/ops/matmul.h"
#include "rill/ops/reduce_ops.h"
#include "rill/runtime/backend.h"

namespace rill {

namespace {

// Longer programs run tile by tile, like any.
constexpr int64_t longest_program = 4096;
LoopOp operation(LoopOpKind kind, uint16_t result, std::initializer_list<uint16_t> operands) {
  LoopOp op;
  op.kind = kind;
  op.result = result;
  op.operand_count = static_cast<uint8_t>(operands.size());
  std::copy(operands.begin(), operands.end(), op.operands);
  return op;
}

LoopOp kernel_call(TileKernel kernel, int64_t n, uint16_t result,
                   std::initializer_list<uint16_t> operands) {
  LoopOp op = operation(LoopOpKind::kernel, result, operands);
  op.kernel = kernel;
  op.n = n;
  return op;
}

}  // namespace

LoopBinder::LoopBinder(LoopBody& body, const LoopOperands& operands)
    : body_(body), plan_(body.plan_), code_(body.code_), operands_(operands) {}

void LoopBinder::run() {
  code_ = LoopCode();
  body_.once_.clear();
  body_.each_.clear();
  body_.moves_.clear();
  body_.begun_ = false;
  set_arguments();
  for (Item& item : plan_.steps) add(item);
  add_outputs();
  finish();
}

void LoopBinder::set_arguments() {
  for (size_t v = 0; v < plan_.values.size(); ++v) {
    auto value = static_cast<uint16_t>(v);
    Output& own = plan_.layout(value);
    Place place;
    place.root = value;
    if (plan_.is_result[v]) {
      own.place(body_.blocks_[v]);
    } else if (v < plan_.arguments) {
      const Output& given = operands_.arguments[v].output();
      bool carry = v < operands_.carry;
      bool walked = !carry && v < operands_.carry + operands_.walked;
      own.buffer = nullptr;  // a value that lies in its node has none
      place.varies = carry || walked || v < operands_.watched;
      if (carry && body_.blocks_[v]) {
        own.place(body_.blocks_[v]);
        copy_strided(size_of(own.dtype), given.data, own.shape, given.strides, own.data);
      } else if (walked) {
        Strides strides(given.strides.begin() + 1, given.strides.end());
        int64_t first = operands_.reverse ? operands_.length - 1 : 0;
        own.place_view(given, std::move(strides), first * given.strides[0]);
      } else {
        own.place_view(given, given.strides, 0);
      }
    }
    place.data = own.data;
    places_.push_back(place);
  }
}

bool LoopBinder::varies(const Item& item) const {
  return std::any_of(item.inputs.begin(), item.inputs.end(),
                     [&](uint16_t input) { return places_[input].varies; });
}

void LoopBinder::add(Item& item) {
  bool changes = varies(item);
  Ops& ops = changes ? body_.each_ : body_.once_;
  const Step& step = item.step;
  if (step.program && element_count(step.program->shape) <= longest_program) {
    add_program(item, ops);
  } else if (step.program) {
    add_call(item, ops);
  } else if (step.node().op.is_view && item.inputs.size() == 1 && add_view(item)) {
    return;
  } else if (&step.node().op == &reduce_op) {
    add_reduction(item, ops);
  } else if (&step.node().op != &matmul_op || !add_product(item, ops)) {
    add_call(item, ops);
  }
  for (uint16_t result : item.results) places_[result].varies = changes;
}

/// A view lies where its operand does. False where its kernel copies.
bool LoopBinder::add_view(Item& item) {
  const Output& in = plan_.layout(item.inputs[0]);
  Output& out = plan_.layout(item.results[0]);
  out.buffer = nullptr;
  run_step(item.step.node().stream, item.step);
  if (out.buffer.get() != in.buffer.get()) {
    out.place(body_.blocks_[item.results[0]]);
    return false;
  }
  Place& place = places_[item.results[0]];
  const Place& base = places_[item.inputs[0]];
  place.data = out.data;  // of a scalar that lies in its node
  if (!in.buffer) return true;
  place.root = base.root;
  place.delta = base.delta + (out.data - in.data);
  place.varies = base.varies;
  return true;
}

bool LoopBinder::add_product(const Item& item, Ops& ops) {
  const Output& a = plan_.layout(item.inputs[0]);
  const Output& b = plan_.layout(item.inputs[1]);
  bool kept = !places_[item.inputs[1]].varies && !plan_.is_result[root(item.inputs[1])];
  bool one = a.shape.size() == 2 || a.row_major;
  for (int axis = 0; axis < b.shape.ssize() - 2; ++axis) {
    one = one && (b.shape[axis] == 1 || b.strides[axis] == 0);
  }
  if (!kept || !one) return false;
  int64_t k = a.shape.back();
  Matrix rows = matrix_of(a, 0);
  auto matrix = PackedMatrix::of({a.dtype, a.size / k, b.shape.back(), k}, matrix_of(b, 0));
  if (!matrix) return false;
  LoopOp op = operation(LoopOpKind::product, item.results[0], {item.inputs[0]});
  op.detail = static_cast<uint16_t>(code_.products.size());
  code_.products.push_back({std::move(*matrix), rows.row_stride, rows.col_stride});
  ops.push_back(op);
  return true;
}

void LoopBinder::reduce_into(uint16_t from, const ReduceAttrs& attrs, Dtype in, const Shape& shape,
                             const Strides& strides, uint16_t to, Ops& ops) {
  LoopOp op = operation(LoopOpKind::reduce, to, {from});
  op.detail = static_cast<uint16_t>(code_.reductions.size());
  code_.reductions.push_back({attrs.kind, in, shape, strides, attrs.axes, plan_.layout(to).dtype});
  ops.push_back(op);
}

void LoopBinder::add_reduction(const Item& item, Ops& ops) {
  const Output& in = plan_.layout(item.inputs[0]);
  reduce_into(item.inputs[0], item.step.node().attrs.as<ReduceAttrs>(), in.dtype, in.shape,
              in.strides, item.results[0], ops);
}

/// The place of operand `k` as a program reads it: row-major, halves as float32.
uint16_t LoopBinder::program_operand(const Item& item, size_t k, Ops& ops) {
  const Output& in = plan_.layout(item.inputs[k]);
  const Shape& shape = item.step.program->shape;
  int64_t n = element_count(shape);
  uint16_t place = item.inputs[k];
  bool changes = places_[place].varies;
  Ops& where = changes ? ops : body_.once_;
  auto room = [&](int size) {
    auto bytes = static_cast<size_t>(n * size);
    return changes ? passing(bytes) : lasting(bytes);
  };
  Strides strides = broadcast_strides(in.shape, in.strides, shape);
  if (!is_row_major(shape, strides)) {
    uint16_t dense = room(size_of(in.dtype));
    LoopOp op = operation(LoopOpKind::gather, dense, {place});
    op.detail = static_cast<uint16_t>(code_.gathers.size());
    code_.gathers.push_back({size_of(in.dtype), shape, std::move(strides)});
    where.push_back(op);
    place = dense;
  }
  if (TileKernel widen = widening(in.dtype)) {
    uint16_t wide = room(sizeof(float));
    where.push_back(kernel_call(widen, n, wide, {place}));
    place = wide;
  }
  return place;
}

/// What a program stores that its operations did not write to its place.
void LoopBinder::add_store(const Item& item, size_t i, uint16_t from, Ops& ops) {
  const Program& program = *item.step.program;
  Dtype dtype = program.dtype_of(program.outputs[i]);
  int64_t n = element_count(program.shape);
  uint16_t to = item.results[i];
  bool reduced = program.reduction && i + 1 == program.outputs.size();
  if (reduced) to = is_half(dtype) ? passing(static_cast<size_t>(n) * 2) : from;
  if (TileKernel narrow = narrowing(dtype)) {
    ops.push_back(kernel_call(narrow, n, to, {from}));
  } else if (to != from) {
    LoopOp op = operation(copy_kind(n * size_of(dtype)), to, {from});
    op.n = n * size_of(dtype);
    ops.push_back(op);
  }
  if (!reduced) return;
  reduce_into(to, *program.reduction, dtype, program.shape, row_major_strides(program.shape),
              item.results[i], ops);
}

/// A sum whose operand is the product before it, which is not read again, is one operation with it.
bool LoopBinder::joins_product(const LoopOp& op, Ops& ops, bool first_dies, bool second_dies) {
  bool single = op.kind == LoopOpKind::add_float32;
  if (ops.empty() || (!single && op.kind != LoopOpKind::add_float64)) return false;
  LoopOp& product = ops.back();
  auto wanted = single ? LoopOpKind::multiply_float32 : LoopOpKind::multiply_float64;
  if (product.kind != wanted || places_[product.result].room != Room::passing ||
      op.operands[0] == op.operands[1]) {
    return false;
  }
  bool first = op.operands[0] == product.result && first_dies;
  bool second = op.operands[1] == product.result && second_dies;
  if (!first && !second) return false;
  product.kind = single ? LoopOpKind::mul_add_float32 : LoopOpKind::mul_add_float64;
  product.operands[2] = op.operands[first ? 1 : 0];
  product.operand_count = 3;
  product.result = op.result;
  return true;
}

void LoopBinder::add_program(const Item& item, Ops& ops) {
  const Program& program = *item.step.program;
  const Lowered low = lowered(program);
  const int64_t n = element_count(program.shape);
  passing_bytes_ = 0;
  std::vector<uint16_t> places(low.same_as.size(), 0);
  for (size_t k = 0; k < program.inputs.size(); ++k) places[k] = program_operand(item, k, ops);
  std::vector<int> last_use(places.size(), -1);
  for (int i = 0; i < low.code.ssize(); ++i) {
    for (int k = 0; k < low.code[i].operand_count; ++k) last_use[low.code[i].operands[k]] = i;
  }
  std::vector<bool> placed(places.size(), false);  // where it stays: not to be used again
  std::vector<bool> direct(program.outputs.size(), false);
  size_t stored = program.outputs.size() - (program.reduction ? 1 : 0);
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    uint16_t reg = low.same_as[program.outputs[i]];
    last_use[reg] = low.code.ssize();
    bool produced = reg >= program.inputs.size() && !placed[reg];
    if (i >= stored || !produced || is_half(program.dtype_of(program.outputs[i]))) continue;
    direct[i] = placed[reg] = true;
    places[reg] = item.results[i];
  }
  std::vector<uint16_t> free;
  for (int i = 0; i < low.code.ssize(); ++i) {
    const Operation& call = low.code[i];
    bool first = !placed[call.result];
    if (first && !free.empty()) {
      places[call.result] = free.back();
      free.pop_back();
    } else if (first) {
      places[call.result] = passing(static_cast<size_t>(n) * 8);
    }
    placed[call.result] = true;
    const Instruction& in = program.code[call.instruction];
    LoopOp op = kernel_call(call.kernel, n, places[call.result], {});
    op.operand_count = call.operand_count;
    for (int k = 0; k < call.operand_count; ++k) op.operands[k] = places[call.operands[k]];
    bool plain =
        in.row < Row::cast &&
        call.kernel ==
            tile_kernels().rows[static_cast<int>(in.row)][static_cast<int>(held_as(in.in))];
    bool only = plain || (in.row == Row::cast && !is_half(in.in) && !is_half(in.out));
    if (n == 1 && only) op.kind = scalar_kind(in.row, in.in, in.out);
    if (!joins_product(op, ops, last_use[call.operands[0]] == i, last_use[call.operands[1]] == i)) {
      ops.push_back(op);
    }
    for (int k = 0; k < call.operand_count; ++k) {
      uint16_t reg = call.operands[k];
      bool passes = reg >= program.inputs.size() && reg != call.result && last_use[reg] == i &&
                    places_[places[reg]].room == Room::passing;
      if (passes && std::find(free.begin(), free.end(), places[reg]) == free.end())
        free.push_back(places[reg]);
    }
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    if (!direct[i]) add_store(item, i, places[low.same_as[program.outputs[i]]], ops);
  }
}

void LoopBinder::add_call(Item& item, Ops& ops) {
  LoopCode::Call call{&item.step, {}, {}};
  for (uint16_t input : item.inputs) {
    bool constant = input >= plan_.arguments && !plan_.is_result[input];
    if (!constant) call.operands.push_back({&plan_.layout(input), input});
  }
  for (uint16_t result : item.results) {
    call.results.push_back({&plan_.layout(result), body_.blocks_[result]});
  }
  LoopOp op = operation(LoopOpKind::call, item.results[0], {});
  op.detail = static_cast<uint16_t>(code_.calls.size());
  code_.calls.push_back(std::move(call));
  ops.push_back(op);
}

}  // namespace rill
