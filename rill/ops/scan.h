// Running reductions along one axis.
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

enum class ScanKind : uint8_t { sum, prod, max, min, logaddexp };

struct ScanAttrs {
  ScanKind kind;
  int axis;
  bool reverse;
  bool inclusive;
  bool operator==(const ScanAttrs&) const = default;
};
extern const OpInfo scan_op;

/// Element i is the reduction of elements 0..i (of those before i if not `inclusive`), from the
/// other end if `reverse`. Without an axis, of the flattened array.
Array scan(ScanKind kind, const Array& x, std::optional<int> axis, bool reverse = false,
           bool inclusive = true, StreamOrDevice s = {});
Array cumsum(const Array& x, std::optional<int> axis = {}, bool reverse = false,
             bool inclusive = true, StreamOrDevice s = {});
Array cumprod(const Array& x, std::optional<int> axis = {}, bool reverse = false,
              bool inclusive = true, StreamOrDevice s = {});
Array cummax(const Array& x, std::optional<int> axis = {}, bool reverse = false,
             bool inclusive = true, StreamOrDevice s = {});
Array cummin(const Array& x, std::optional<int> axis = {}, bool reverse = false,
             bool inclusive = true, StreamOrDevice s = {});
Array logcumsumexp(const Array& x, std::optional<int> axis = {}, bool reverse = false,
                   bool inclusive = true, StreamOrDevice s = {});

}  // namespace rill
