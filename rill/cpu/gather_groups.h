// Products of gathered matrices, grouped by the matrix that they have in common; for use by
// rill/cpu only.
#pragma once

#include <string_view>
#include <vector>

#include "rill/cpu/kernels.h"

namespace rill {

/// Product i is that of matrices lhs[i] and rhs[i]. Those of one right matrix are a group: they can
/// be one taller product.
struct GatherGroups {
  std::vector<int64_t> lhs;
  std::vector<int64_t> rhs;
  std::vector<int64_t> order;   // products, by right matrix, else as they come
  std::vector<int64_t> starts;  // of the groups in `order`, and the end of the last

  /// Index arrays (int64, 1-d) into `count_a` and `count_b` matrices; negative ones count from the
  /// end. Throws std::out_of_range, naming the operation.
  GatherGroups(std::string_view operation, const Output& left, int64_t count_a, const Output& right,
               int64_t count_b);

  int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
  std::span<const int64_t> group(int64_t i) const {
    return {order.data() + starts[i], order.data() + starts[i + 1]};
  }
};

}  // namespace rill
