#include "rill/transforms/joined_slices.h"

#include <algorithm>

#include "rill/ops/shape.h"
#include "rill/ops/shape_attrs.h"

namespace rill {

namespace {

const Shape& start_of(const ReadPart& part) { return part.node->attrs.as<SliceAttrs>().start; }

/// The axis along which the first part is shorter than the operand.
int cut_axis(const Shape& whole, const ReadPart& first) {
  for (int i = 0; i < whole.ssize(); ++i) {
    if (first.cotangent.shape()[i] != whole[i]) return i;
  }
  return -1;
}

/// Does `part` begin at `place` of the axis and take all of the others?
bool continues(const ReadPart& part, const Shape& whole, int axis, int64_t place) {
  const auto& [start, step] = part.node->attrs.as<SliceAttrs>();
  const Shape& size = part.cotangent.shape();
  for (int i = 0; i < whole.ssize(); ++i) {
    const bool fits = i == axis ? start[i] == place : start[i] == 0 && size[i] == whole[i];
    if (!fits || (step[i] != 1 && size[i] > 1)) return false;
  }
  return true;
}

}  // namespace

Array joined_slices(std::span<const ReadPart> parts) {
  if (parts.size() < 2) return {};
  const Node& first = *parts[0].node;
  for (const ReadPart& part : parts) {
    if (&part.node->op != &slice_op || part.node->stream != first.stream) return {};
  }
  const Shape& whole = first.inputs[0].shape();
  const int axis = cut_axis(whole, parts[0]);
  if (axis < 0) return {};
  std::vector<ReadPart> sorted(parts.begin(), parts.end());
  std::sort(sorted.begin(), sorted.end(), [axis](const ReadPart& a, const ReadPart& b) {
    return start_of(a)[axis] < start_of(b)[axis];
  });
  int64_t place = 0;
  Arrays cotangents;
  for (ReadPart& part : sorted) {
    if (!continues(part, whole, axis, place)) return {};
    place += part.cotangent.shape()[axis];
    cotangents.push_back(std::move(part.cotangent));
  }
  if (place != whole[axis]) return {};
  return concatenate(cotangents, axis, first.stream);
}

}  // namespace rill
