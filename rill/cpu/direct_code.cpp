#include "rill/cpu/direct_code.h"

#include <algorithm>

#include "rill/cpu/chain_cache.h"

namespace rill {

namespace {

constexpr int any_chain = -1;

bool reads(const ChainStep& step, uint16_t reg) {
  return std::find(step.operands, step.operands + step.operand_count, reg) !=
         step.operands + step.operand_count;
}

/// Whether all operations that read a register are chains, or the one chain `only`.
bool read_by_chains(const ProgramCode& code, uint16_t reg, int only = any_chain) {
  return std::none_of(code.low.code.begin(), code.low.code.end(), [&](const Operation& op) {
    if (op.chain < 0) {
      const uint16_t* end = op.operands + op.operand_count;
      return std::find(op.operands, end, reg) != end;
    }
    if (only == any_chain || op.chain == only) return false;
    const std::vector<ChainStep>& steps = code.chains.all[op.chain].steps;
    return std::any_of(steps.begin(), steps.end(), [&](auto& step) { return reads(step, reg); });
  });
}

}  // namespace

DirectCode::DirectCode(const Program& program, const ProgramCode& code,
                       std::span<const TileOperand> operands, std::span<TileStore> stores) {
  if (code.chains.all.empty()) return;
  // Most programs on small arrays.
  if (std::none_of(operands.begin(), operands.end(),
                   [](const TileOperand& x) { return x.is_stored_half(); }) &&
      std::none_of(stores.begin(), stores.end(),
                   [](const TileStore& x) { return x.streaming || x.narrow; })) {
    return;
  }
  auto stored_from = [&](uint16_t reg) {
    return std::count_if(stores.begin(), stores.end(), [&](const TileStore& store) {
      return code.low.same_as[store.reg] == reg;
    });
  };
  for (uint16_t reg = 0; reg < static_cast<uint16_t>(operands.size()); ++reg) {
    stored_.push_back(operands[reg].is_stored_half() && stored_from(reg) == 0 &&
                      read_by_chains(code, reg));
  }
  auto is_written_by = [&](const TileStore& store, int chain) {
    bool narrowed = store.narrow && store.data != nullptr && !store.donated;
    return (narrowed || (store.streaming && !store.narrow)) && stored_from(store.reg) == 1 &&
           read_by_chains(code, store.reg, chain);
  };
  bool any = false;
  std::vector<TileStore*> written;
  std::vector<std::shared_ptr<const MachineChain>> made(code.chains.all.size());
  for (size_t c = 0; c < made.size(); ++c) {
    const Chain& chain = code.chains.all[c];
    std::vector<ChainStep> steps = chain.steps;
    for (ChainStep& step : steps) {
      for (int k = 0; k < step.operand_count; ++k) {
        uint16_t reg = step.operands[k];
        if (reg < stored_.size() && stored_[reg]) step.kind[k] = half_tile(program.inputs[reg]);
      }
      for (TileStore& store : stores) {
        if (store.reg != step.result || !is_written_by(store, static_cast<int>(c))) continue;
        step.streamed = store.streaming;
        step.narrowed = store.narrow != nullptr;
        written.push_back(&store);
      }
    }
    if (steps == chain.steps) continue;
    made[c] = machine_chain(steps, chain.dtype, element_count(program.shape));
    if (!made[c]) return;
    block_ = std::max(block_, made[c]->block());
    any = true;
  }
  if (!any) return;
  chains_ = std::move(made);
  for (TileStore* store : written) {
    (store->narrow ? store->narrowed : store->direct) = true;
    if (store->streaming) lines_ = std::max<int64_t>(lines_, 64 / store->item);
  }
}

}  // namespace rill
