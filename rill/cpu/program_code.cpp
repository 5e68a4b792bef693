#include "rill/cpu/program_code.h"

#include <algorithm>

#include "rill/cpu/chain_cache.h"

namespace rill {

namespace {

constexpr int64_t worth_chains = 512;  // elements: below, finding them costs more

void make_code(const Program& program, ProgramCode& code) {
  if (kernel_as_stored(program)) {
    code.low = lowered_as_stored(program);
    return;
  }
  code.low = lowered(program);
  if (element_count(program.shape) < worth_chains) return;
  auto is_scalar = [&](uint16_t reg) { return code.scalar[reg]; };
  code.chains = join_chains(program, code.low, program.outputs, is_scalar);
}

/// The code for these operands, which `kept` may have.
ProgramCode& find_code(const Program& program, SmallVector<bool, 8> scalar, ProgramCode& own,
                       Ref<RefCounted>* kept) {
  ProgramCode* code = &own;
  if (kept != nullptr) {
    auto* old = static_cast<ProgramCode*>(kept->get());
    if (old != nullptr && std::ranges::equal(old->scalar, scalar)) return *old;
    auto made = make_ref<ProgramCode>();
    code = made.get();
    *kept = std::move(made);
  }
  code->scalar = std::move(scalar);
  make_code(program, *code);
  return *code;
}

}  // namespace

const ProgramCode& program_code(const Program& program, SmallVector<bool, 8> scalar,
                                ProgramCode& own, Ref<RefCounted>* kept) {
  ProgramCode& code = find_code(program, std::move(scalar), own, kept);
  for (Chain& chain : code.chains.all) {
    if (!chain.code) {
      chain.code = machine_chain(chain.steps, chain.dtype, element_count(program.shape));
    }
  }
  return code;
}

}  // namespace rill
