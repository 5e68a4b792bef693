#pragma once

#include <cstdint>

namespace rill {

/// What a reduction folds elements with.
enum class ReduceKind : uint8_t { sum, prod, min, max, all, any };

}  // namespace rill
