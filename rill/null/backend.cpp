#include "rill/null/backend.h"

#include <utility>

namespace rill {

namespace {

void place_nowhere(Node& node) {
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    Output& out = node.output(i);
    out.strides = row_major_strides(out.shape);
    out.row_major = true;
  }
}

LaunchRecord record_of(const Step& step) {
  LaunchRecord record{step.name(), step.node().stream, {}, {}, {}};
  for (const Array& input : step.inputs) record.inputs.push_back(input.shape());
  for (const Array& result : step.results) record.results.push_back(result.shape());
  if (step.program) record.program = to_string(*step.program);
  return record;
}

}  // namespace

void NullBackend::run(Step& step) {
  for (const Array& result : step.results) place_nowhere(result.node());
  LaunchRecord record = record_of(step);
  std::lock_guard lock(mutex_);
  records_.push_back(std::move(record));
}

std::vector<LaunchRecord> NullBackend::take_records() {
  std::lock_guard lock(mutex_);
  return std::exchange(records_, {});
}

NullBackend& start_null_backend() {
  static NullBackend* backend = [] {
    auto* fresh = new NullBackend;
    set_backend(DeviceType::null, fresh);
    return fresh;
  }();
  return *backend;
}

}  // namespace rill
