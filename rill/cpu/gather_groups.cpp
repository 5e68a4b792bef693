#include "rill/cpu/gather_groups.h"

namespace rill {

namespace {

std::vector<int64_t> read_indices(std::string_view operation, const Output& indices,
                                  int64_t count) {
  const RowMajor memory(indices);
  const int64_t* values = memory.as<int64_t>();
  std::vector<int64_t> result(values, values + indices.size);
  for (int64_t& index : result) {
    const int64_t given = index;
    if (index < 0) index += count;
    require<std::out_of_range>(index >= 0 && index < count,
                               "[{}] index {} is out of range for {} matrices", operation, given,
                               count);
  }
  return result;
}

}  // namespace

GatherGroups::GatherGroups(std::string_view operation, const Output& left, int64_t count_a,
                           const Output& right, int64_t count_b)
    : lhs(read_indices(operation, left, count_a)),
      rhs(read_indices(operation, right, count_b)),
      order(rhs.size()) {
  std::vector<int64_t> next(static_cast<size_t>(count_b) + 1, 0);
  for (int64_t matrix : rhs) ++next[matrix + 1];
  for (int64_t i = 0; i < count_b; ++i) {
    if (next[i + 1] > 0) starts.push_back(next[i]);
    next[i + 1] += next[i];
  }
  starts.push_back(static_cast<int64_t>(rhs.size()));
  for (int64_t i = 0; i < static_cast<int64_t>(rhs.size()); ++i) order[next[rhs[i]]++] = i;
}

}  // namespace rill
