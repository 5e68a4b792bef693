// A backend that runs nothing and owns no memory: it records what it is asked to launch.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "rill/runtime/backend.h"

namespace rill {

/// A step that a stream of the null device was given.
struct LaunchRecord {
  std::string name;
  Stream stream;
  std::vector<Shape> inputs;
  std::vector<Shape> results;
  std::string program;  // the text of a fused program, else empty
};

/// Runs steps of DeviceType::null. Their results are placed, row-major, but have no elements: only
/// operations on the same device may read them. Kernels are never called, not even those of views.
class NullBackend final : public Backend {
 public:
  void run(Step& step) override;

  /// What ran since the last call, in the order in which it ran. Any thread may call it.
  std::vector<LaunchRecord> take_records();

 private:
  std::mutex mutex_;
  std::vector<LaunchRecord> records_;
};

/// The one of this process, which runs steps from the first call on.
NullBackend& start_null_backend();

}  // namespace rill
