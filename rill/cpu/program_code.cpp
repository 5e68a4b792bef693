#include "rill/cpu/program_code.h"

#include <algorithm>

namespace rill {

namespace {

constexpr int64_t worth_chains = 512;  // elements: below, finding them costs more

}  // namespace

const ProgramCode& program_code(const Program& program, SmallVector<bool, 8> scalar,
                                ProgramCode& own, Ref<RefCounted>* kept) {
  ProgramCode* code = &own;
  if (kept != nullptr) {
    if (*kept) {
      const auto* old = static_cast<const ProgramCode*>(kept->get());
      if (std::ranges::equal(old->scalar, scalar)) return *old;
    }
    auto made = make_ref<ProgramCode>();
    code = made.get();
    *kept = std::move(made);
  }
  code->low = kernel_as_stored(program) ? lowered_as_stored(program) : lowered(program);
  if (element_count(program.shape) >= worth_chains) {
    auto is_scalar = [&](uint16_t reg) { return scalar[reg]; };
    code->chains = join_chains(program, code->low, program.outputs, is_scalar);
  }
  code->scalar = std::move(scalar);
  return *code;
}

}  // namespace rill
