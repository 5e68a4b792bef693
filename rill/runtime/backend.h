// Who runs steps: one Backend a device type.
#pragma once

#include "rill/base/device.h"
#include "rill/runtime/plan.h"

namespace rill {

class Backend {
 public:
  virtual ~Backend() = default;
  /// Computes the results of a step whose inputs are computed, on the calling thread (and the pool
  /// below it). Throws what the operation throws.
  virtual void run(Step& step) = 0;
};

/// Makes `backend` the one that runs steps of a device type. It is never destroyed.
void set_backend(DeviceType type, Backend* backend);
Backend& backend_of(DeviceType type);

/// The same kind of exception, with the operation's name in front if it lacks one.
std::exception_ptr with_name(const std::exception_ptr& error, const Step& step);

/// Has the backend of a stream's device run a step, on the calling thread.
void run_step(Stream stream, Step& step);

}  // namespace rill
