#include "rill/cpu/loop_body.h"

#include "rill/cpu/loop_binder.h"

namespace rill {

namespace {

constexpr size_t alignment = 64;

size_t padded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

/// Gives every argument and result that may need one its place.
LoopBody::LoopBody(const Captured& graph) : plan_(graph) {
  if (!plan_.fits) return;
  size_t total = 0;
  std::vector<size_t> offsets;
  auto has_place = [&](size_t value) {
    bool own = value < plan_.arguments || plan_.is_result[value];
    return own && plan_.values[value].bytes() <= LoopPlan::largest_value;
  };
  for (size_t v = 0; v < plan_.values.size(); ++v) {
    offsets.push_back(total);
    if (has_place(v)) total += padded(plan_.values[v].bytes());
  }
  memory_ = Buffer::allocate(std::max<size_t>(total, 1));
  auto* start = static_cast<char*>(memory_->data());
  blocks_.resize(plan_.values.size());
  for (size_t v = 0; v < plan_.values.size(); ++v) {
    if (!has_place(v)) continue;
    blocks_[v] = Buffer::wrap(start + offsets[v], plan_.values[v].bytes(), [] {});
  }
}

bool LoopBody::fits(size_t carry) const {
  bool all = plan_.fits;
  for (size_t k = 0; all && k < carry; ++k) all = blocks_[k] || plan_.outputs[k] == k;
  return all;
}

void LoopBody::bind(const LoopOperands& operands) {
  LoopBinder(*this, operands).run();
  program_ = LoopProgram();
  program_.add(each_, moves_, code_);
}

void LoopBody::begin() {
  if (begun_) return;
  LoopProgram once;
  once.add(once_, {}, code_);
  once.run(1);
  begun_ = true;
}

void LoopBody::run(int64_t steps) {
  begin();
  program_.run(steps);
}

void LoopBody::add_to(LoopProgram& program) {
  begin();
  program.add(each_, moves_, code_);
}

void LoopBody::unbind() {
  if (!plan_.fits) return;
  for (size_t v = 0; v < plan_.values.size(); ++v) {
    bool own = v < plan_.arguments || plan_.is_result[v];
    Output& out = plan_.layout(static_cast<uint16_t>(v));
    if (own && out.buffer.get() != blocks_[v].get()) out.buffer = nullptr;
  }
}

}  // namespace rill
