#include "rill/cpu/loop_program.h"

#include <algorithm>
#include <cstring>

#include "rill/cpu/copy.h"
#include "rill/cpu/reduce.h"
#include "rill/runtime/backend.h"

namespace rill {

namespace {

template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
void store(char* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

void run_gather(const LoopCode::Gather& gather, const char* from, char* to) {
  copy_strided(gather.item, from, gather.shape, gather.strides, to);
}

void run_reduction(const LoopCode::Reduction& r, const char* from, char* to) {
  reduce(r.kind, r.in, from, r.shape, r.strides, r.axes, r.out, to);
}

void run_product(const LoopCode::Product& product, const char* from, char* to) {
  product.matrix.multiply({from, product.row_stride, product.col_stride}, to);
}

void call_step(LoopCode& code, LoopCode::Call& call) {
  Step& step = *call.step;
  for (const auto& [output, place] : call.operands) output->data = code.where[place];
  for (auto& [output, block] : call.results) {
    if (step.program) output->buffer = nullptr;
    else if (output->data != block->data()) output->place(block);
  }
  try {
    run_step(step.node().stream, step);
  } catch (...) {
    std::rethrow_exception(with_name(std::current_exception(), step));
  }
  for (auto& [output, block] : call.results) {
    if (output->data == block->data() && output->row_major) continue;
    copy_strided(size_of(output->dtype), output->data, output->shape, output->strides,
                 block->data());
    output->place(block);
  }
}

}  // namespace

void LoopProgram::add(const std::vector<LoopOp>& ops, const std::vector<LoopCode::Move>& moves,
                      LoopCode& code) {
  if (!ops_.empty() && ops_.back().kind == LoopOpKind::end) ops_.pop_back();
  for (const LoopOp& op : ops) {
    Linked linked{.kind = op.kind, .code = &code, .n = op.n, .kernel = op.kernel};
    uint16_t places[] = {op.result, op.operands[0], op.operands[1], op.operands[2]};
    for (int slot = 0; slot < 4; ++slot) {
      linked.at[slot] = code.where[places[slot]];
      for (const LoopCode::Move& move : moves) {
        if (move.place == places[slot]) moves_.push_back({ops_.size(), slot, move.bytes});
      }
    }
    switch (op.kind) {
      case LoopOpKind::gather: linked.detail = &code.gathers[op.detail]; break;
      case LoopOpKind::reduce: linked.detail = &code.reductions[op.detail]; break;
      case LoopOpKind::product: linked.detail = &code.products[op.detail]; break;
      case LoopOpKind::call: linked.detail = &code.calls[op.detail]; break;
      default: break;
    }
    ops_.push_back(linked);
  }
  for (const LoopCode::Move& move : moves) {
    if (!code.calls.empty()) looked_up_.emplace_back(&code.where[move.place], move.bytes);
  }
  finish();
}

void LoopProgram::add_stop(const char* flag) {
  ops_.back() = {.kind = LoopOpKind::stop, .at = {nullptr, const_cast<char*>(flag)}};
  finish();
}

namespace {

/// Which accumulator an operation leaves its result in, too: 0 for float32, 1 for float64, or none.
int accumulator_of(LoopOpKind kind) {
  switch (kind) {
#define TYPE(dtype, number)          \
  case LoopOpKind::add_##dtype:      \
  case LoopOpKind::subtract_##dtype: \
  case LoopOpKind::multiply_##dtype: \
  case LoopOpKind::divide_##dtype:   \
  case LoopOpKind::mul_add_##dtype: return number;
    TYPE(float32, 0)
    TYPE(float64, 1)
#undef TYPE
    default: return -1;
  }
}

bool is_mul_add(LoopOpKind kind) {
  return kind == LoopOpKind::mul_add_float32 || kind == LoopOpKind::mul_add_float64;
}

bool is_comparison(LoopOpKind kind) {
  switch (kind) {
#define TYPE(dtype, word, item)           \
  case LoopOpKind::less_##dtype:          \
  case LoopOpKind::less_equal_##dtype:    \
  case LoopOpKind::greater_##dtype:       \
  case LoopOpKind::greater_equal_##dtype: \
  case LoopOpKind::equal_##dtype:         \
  case LoopOpKind::not_equal_##dtype: return true;
    RILL_LOOP_SCALARS(TYPE)
#undef TYPE
    default: return false;
  }
}

bool writes_one_number(LoopOpKind kind) {
  return kind > LoopOpKind::call || (kind >= LoopOpKind::copy1 && kind <= LoopOpKind::copy8);
}

}  // namespace

/// An operand that an accumulator holds is read from there: through memory it would arrive several
/// times later. What the accumulators hold after the last operation they hold before the first one.
/// A comparison whose flag a stop reads next stops by itself.
void LoopProgram::find_forwarded() {
  auto moves = [&](size_t op, int slot) {
    return std::any_of(moves_.begin(), moves_.end(),
                       [&](const Move& move) { return move.op == op && move.slot == slot; });
  };
  begin_[0] = begin_[1] = nullptr;
  for (int round = 0; round < 2; ++round) {
    const char* held[] = {begin_[0], begin_[1]};
    for (size_t i = 0; i < ops_.size(); ++i) {
      Linked& op = ops_[i];
      op.forwarded = 0;
      if (is_comparison(op.kind) && ops_[i + 1].kind == LoopOpKind::stop &&
          ops_[i + 1].at[1] == op.at[0] && !moves(i, 0)) {
        op.forwarded = 1;
      }
      int acc = accumulator_of(op.kind);
      for (int slot = is_mul_add(op.kind) ? 3 : 2; acc >= 0 && slot > 0; --slot) {
        bool same = op.at[slot] == held[acc] && !moves(i, slot);
        if (same) op.forwarded = static_cast<uint8_t>(slot);
      }
      for (const char*& place : held) {
        if (!writes_one_number(op.kind) || op.at[0] == place) place = nullptr;
      }
      if (acc >= 0) held[acc] = moves(i, 0) ? nullptr : op.at[0];
    }
    begin_[0] = held[0];
    begin_[1] = held[1];
  }
}

void LoopProgram::finish() {
  ops_.push_back({.kind = LoopOpKind::end});
  moving_ = looked_up_;
  for (const Move& move : moves_) moving_.emplace_back(&ops_[move.op].at[move.slot], move.bytes);
  find_forwarded();
  go(0);
}

// One jump for each operation: joined to a single one, the processor could not predict it.
#if defined(__GNUC__) && !defined(__clang__)
#define RILL_KEEP_JUMPS [[gnu::optimize("no-gcse", "no-crossjumping")]]
#else
#define RILL_KEEP_JUMPS
#endif

/// No steps: notes where each operation jumps to.
RILL_KEEP_JUMPS bool LoopProgram::go(int64_t steps) {
#define ONE(name) {&&name, &&name, &&name, &&name},
#define TWO(name) {&&name, &&name##_a, &&name##_b, &&name},
#define THREE(name) {&&name, &&name##_a, &&name##_b, &&name##_c},
#define STOPS(name) {&&name, &&name##_stop, &&name, &&name},
#define COMPARED(dtype)     \
  STOPS(less_##dtype)       \
  STOPS(less_equal_##dtype) \
  STOPS(greater_##dtype)    \
  STOPS(greater_equal_##dtype) STOPS(equal_##dtype) STOPS(not_equal_##dtype)
#define INTEGER(dtype) ONE(add_##dtype) ONE(subtract_##dtype) ONE(multiply_##dtype) COMPARED(dtype)
#define FLOAT(dtype) TWO(add_##dtype) TWO(subtract_##dtype) TWO(multiply_##dtype) COMPARED(dtype)
  // By kind, then by the operand that is forwarded; comparisons: then by whether they do the stop.
  static const void* const places[][4] = {
      ONE(kernel) ONE(copy) ONE(copy1) ONE(copy2) ONE(copy4) ONE(copy8) ONE(gather) ONE(reduce)
          ONE(product) ONE(call) INTEGER(int32) INTEGER(int64) FLOAT(float32) FLOAT(float64)
              TWO(divide_float32) TWO(divide_float64) THREE(mul_add_float32) THREE(mul_add_float64)
                  ONE(int32_to_float32) ONE(stop) ONE(end)};
#undef FLOAT
#undef INTEGER
#undef COMPARED
#undef STOPS
#undef THREE
#undef TWO
#undef ONE
  static_assert(std::size(places) == static_cast<size_t>(LoopOpKind::end) + 1);
  if (steps == 0) {
    for (Linked& each : ops_) each.jump = places[static_cast<int>(each.kind)][each.forwarded];
    return true;
  }
  float acc_float32 = begin_[0] != nullptr ? load<float>(begin_[0]) : 0;
  double acc_float64 = begin_[1] != nullptr ? load<double>(begin_[1]) : 0;
  const Linked* op = ops_.data();
#define RESULT op->at[0]
#define A op->at[1]
#define B op->at[2]
#define C op->at[3]
#define NEXT goto * op->jump
#define CASE(name, statement) \
  name:                       \
  statement;                  \
  ++op;                       \
  NEXT;
  NEXT;
  CASE(copy1, *RESULT = *A)
  CASE(copy2, store(RESULT, load<uint16_t>(A)))
  CASE(copy4, store(RESULT, load<uint32_t>(A)))
  CASE(copy8, store(RESULT, load<uint64_t>(A)))
// What is in the accumulators is not read after a call, and need not live through it.
#define CALL(name, statement) \
  CASE(name, {                \
    statement;                \
    acc_float32 = 0;          \
    acc_float64 = 0;          \
  })
  CALL(kernel, op->kernel(RESULT, A, B, C, op->n))
  CALL(copy, std::memcpy(RESULT, A, static_cast<size_t>(op->n)))
  CALL(gather, run_gather(*static_cast<LoopCode::Gather*>(op->detail), A, RESULT))
  CALL(reduce, run_reduction(*static_cast<LoopCode::Reduction*>(op->detail), A, RESULT))
  CALL(product, run_product(*static_cast<LoopCode::Product*>(op->detail), A, RESULT))
  CALL(call, call_step(*op->code, *static_cast<LoopCode::Call*>(op->detail)))
#undef CALL
#define COMPARE(name, dtype, item, symbol)                                \
  CASE(name##_##dtype, store(RESULT, load<item>(A) symbol load<item>(B))) \
  CASE(name##_##dtype##_stop, {                                           \
    const bool goes_on = load<item>(A) symbol load<item>(B);              \
    store(RESULT, goes_on);                                               \
    if (!goes_on) return false;                                           \
    ++op;                                                                 \
  })
#define COMPARES(dtype, item)             \
  COMPARE(less, dtype, item, <)           \
  COMPARE(less_equal, dtype, item, <=)    \
  COMPARE(greater, dtype, item, >)        \
  COMPARE(greater_equal, dtype, item, >=) \
  COMPARE(equal, dtype, item, ==)         \
  COMPARE(not_equal, dtype, item, !=)
#define WORD(name, dtype, word, symbol) \
  CASE(name##_##dtype, store(RESULT, static_cast<word>(load<word>(A) symbol load<word>(B))))
#define INTEGER(dtype, word, item) \
  WORD(add, dtype, word, +)        \
  WORD(subtract, dtype, word, -)   \
  WORD(multiply, dtype, word, *)   \
  COMPARES(dtype, item)
  INTEGER(int32, uint32_t, int32_t)
  INTEGER(int64, uint64_t, int64_t)
#define KEEP(label, dtype, value) CASE(label, store(RESULT, acc_##dtype = (value)))
#define ARITHMETIC(name, dtype, item, symbol)                       \
  KEEP(name##_##dtype, dtype, load<item>(A) symbol load<item>(B))   \
  KEEP(name##_##dtype##_a, dtype, acc_##dtype symbol load<item>(B)) \
  KEEP(name##_##dtype##_b, dtype, load<item>(A) symbol acc_##dtype)
#define FLOAT(dtype, item)                                                      \
  ARITHMETIC(add, dtype, item, +)                                               \
  ARITHMETIC(subtract, dtype, item, -)                                          \
  ARITHMETIC(multiply, dtype, item, *)                                          \
  ARITHMETIC(divide, dtype, item, /)                                            \
  KEEP(mul_add_##dtype, dtype, load<item>(A) * load<item>(B) + load<item>(C))   \
  KEEP(mul_add_##dtype##_a, dtype, acc_##dtype* load<item>(B) + load<item>(C))  \
  KEEP(mul_add_##dtype##_b, dtype, load<item>(A) * acc_##dtype + load<item>(C)) \
  KEEP(mul_add_##dtype##_c, dtype, load<item>(A) * load<item>(B) + acc_##dtype) \
  COMPARES(dtype, item)
  FLOAT(float32, float)
  FLOAT(float64, double)
  CASE(int32_to_float32, store(RESULT, static_cast<float>(load<int32_t>(A))))
stop:
  if (*A == 0) return false;
  ++op;
  NEXT;
end:
  for (auto& [place, bytes] : moving_) *place += bytes;
  if (--steps == 0) return true;
  op = ops_.data();
  NEXT;
#undef FLOAT
#undef ARITHMETIC
#undef KEEP
#undef INTEGER
#undef WORD
#undef COMPARES
#undef COMPARE
#undef CASE
#undef NEXT
#undef C
#undef B
#undef A
#undef RESULT
}

}  // namespace rill
