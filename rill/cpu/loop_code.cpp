#include "rill/cpu/loop_code.h"

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

LoopOpKind scalar_kind(Row row, Dtype in, Dtype out) {
  switch (in) {
#define TYPE(dtype, word, item)                                          \
  case Dtype::dtype:                                                     \
    switch (row) {                                                       \
      case Row::add: return LoopOpKind::add_##dtype;                     \
      case Row::subtract: return LoopOpKind::subtract_##dtype;           \
      case Row::multiply: return LoopOpKind::multiply_##dtype;           \
      case Row::less: return LoopOpKind::less_##dtype;                   \
      case Row::less_equal: return LoopOpKind::less_equal_##dtype;       \
      case Row::greater: return LoopOpKind::greater_##dtype;             \
      case Row::greater_equal: return LoopOpKind::greater_equal_##dtype; \
      case Row::equal: return LoopOpKind::equal_##dtype;                 \
      case Row::not_equal: return LoopOpKind::not_equal_##dtype;         \
      default: break;                                                    \
    }                                                                    \
    break;
    RILL_LOOP_SCALARS(TYPE)
#undef TYPE
    default: break;
  }
  if (row == Row::divide && in == Dtype::float32) return LoopOpKind::divide_float32;
  if (row == Row::divide && in == Dtype::float64) return LoopOpKind::divide_float64;
  bool widens = row == Row::cast && in == Dtype::int32 && out == Dtype::float32;
  return widens ? LoopOpKind::int32_to_float32 : LoopOpKind::kernel;
}

LoopOpKind copy_kind(int64_t bytes) {
  switch (bytes) {
    case 1: return LoopOpKind::copy1;
    case 2: return LoopOpKind::copy2;
    case 4: return LoopOpKind::copy4;
    case 8: return LoopOpKind::copy8;
    default: return LoopOpKind::copy;
  }
}

void LoopCode::run(const std::vector<LoopOp>& ops, const std::vector<Move>& moves, int64_t times) {
  for (; times > 0; --times) {
    run_once(ops.data(), ops.data() + ops.size());
    for (const Move& move : moves) where[move.place] += move.bytes;
  }
}

inline void LoopCode::run_once(const LoopOp* begin, const LoopOp* end) {
  char* const* at = where.data();
  for (const LoopOp* next = begin; next != end; ++next) {
    const LoopOp& op = *next;
    char* result = at[op.result];
    const char* a = at[op.operands[0]];
    const char* b = at[op.operands[1]];
    switch (op.kind) {
      case LoopOpKind::kernel: op.kernel(result, a, b, at[op.operands[2]], op.n); break;
      case LoopOpKind::copy: std::memcpy(result, a, static_cast<size_t>(op.n)); break;
      case LoopOpKind::copy1: *result = *a; break;
      case LoopOpKind::copy2: store(result, load<uint16_t>(a)); break;
      case LoopOpKind::copy4: store(result, load<uint32_t>(a)); break;
      case LoopOpKind::copy8: store(result, load<uint64_t>(a)); break;
      case LoopOpKind::gather: {
        const Gather& gather = gathers[op.detail];
        copy_strided(gather.item, a, gather.shape, gather.strides, result);
        break;
      }
      case LoopOpKind::reduce: {
        const Reduction& r = reductions[op.detail];
        reduce(r.kind, r.in, a, r.shape, r.strides, r.axes, r.out, result);
        break;
      }
      case LoopOpKind::product: {
        const Product& product = products[op.detail];
        product.matrix.multiply({a, product.row_stride, product.col_stride}, result);
        break;
      }
      case LoopOpKind::call: call_step(*this, calls[op.detail]); break;
#define COMPARE(name, dtype, item, symbol) \
  case LoopOpKind::name##_##dtype: store(result, load<item>(a) symbol load<item>(b)); break;
#define ARITHMETIC(name, dtype, word, symbol)                             \
  case LoopOpKind::name##_##dtype:                                        \
    store(result, static_cast<word>(load<word>(a) symbol load<word>(b))); \
    break;
#define TYPE(dtype, word, item)           \
  ARITHMETIC(add, dtype, word, +)         \
  ARITHMETIC(subtract, dtype, word, -)    \
  ARITHMETIC(multiply, dtype, word, *)    \
  COMPARE(less, dtype, item, <)           \
  COMPARE(less_equal, dtype, item, <=)    \
  COMPARE(greater, dtype, item, >)        \
  COMPARE(greater_equal, dtype, item, >=) \
  COMPARE(equal, dtype, item, ==)         \
  COMPARE(not_equal, dtype, item, !=)
        RILL_LOOP_SCALARS(TYPE)
        ARITHMETIC(divide, float32, float, /)
        ARITHMETIC(divide, float64, double, /)
      case LoopOpKind::mul_add_float32:
        store(result, load<float>(a) * load<float>(b) + load<float>(at[op.operands[2]]));
        break;
      case LoopOpKind::mul_add_float64:
        store(result, load<double>(a) * load<double>(b) + load<double>(at[op.operands[2]]));
        break;
      case LoopOpKind::int32_to_float32: store(result, static_cast<float>(load<int32_t>(a))); break;
#undef TYPE
#undef ARITHMETIC
#undef COMPARE
    }
  }
}

}  // namespace rill
