// Looking for mistakes: at the price of speed, evaluations check what they compute, or do one thing
// at a time.
#pragma once

#include <atomic>
#include <string>

#include "rill/runtime/plan.h"

namespace rill {

struct DebugMode {
  /// An operation whose result has a NaN, and no operand has one, fails. Nothing is fused.
  bool nans = false;
  /// Nothing is fused, and no two operations of an evaluation run at the same time; async_eval
  /// waits.
  bool serial = false;
  bool operator==(const DebugMode&) const = default;
};

/// For the whole process, from the next evaluation on.
void set_debug_mode(DebugMode mode);

namespace detail {
extern std::atomic<uint8_t> debug_bits;
}

inline DebugMode debug_mode() {
  uint8_t bits = detail::debug_bits.load(std::memory_order_relaxed);
  return {(bits & 1) != 0, (bits & 2) != 0};
}
inline bool fusion_is_off() { return detail::debug_bits.load(std::memory_order_relaxed) != 0; }

bool inputs_have_nan(const Step& step);
/// Throws std::runtime_error that names the operation, and where it was built if that is known,
/// when a result of a step has a NaN.
void require_no_nan(const Step& step);

/// Says where the operation that is being built stands in the user's program: "file:line". Called
/// for each node that is built while NaNs are looked for.
void set_place_finder(std::string (*finder)());

}  // namespace rill
