// From the name of a stream to its queue.
#pragma once

#include "rill/base/device.h"
#include "rill/base/function_ref.h"
#include "rill/runtime/task.h"

namespace rill {

/// The strand of a CPU stream; made when first asked for, kept for ever (eight bytes each).
/// Throws std::invalid_argument for a stream that new_stream() never made.
Strand& strand_of(Stream stream);

/// Waits until every stream has run what it was given. Calls `between` now and then.
void synchronize_all(FunctionRef<void()> between = [] {});

}  // namespace rill
