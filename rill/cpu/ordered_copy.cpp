#include "rill/cpu/ordered_copy.h"

#include <algorithm>
#include <cstdlib>

#include "rill/cpu/copy.h"
#include "rill/memory/allocator.h"

namespace rill {

namespace {

constexpr int64_t line = 64;              // bytes
constexpr int64_t least_elements = 8192;  // fewer stay in the first cache
constexpr int64_t most_near_lines = 4096;

/// Does a line hold several elements, none of which is the neighbour of another, and is it gone
/// when the second is read? It is not if lines that the processor fetches ahead, as they follow
/// each other, stay in the second cache.
bool crosses_lines(const Shape& shape, const Strides& strides, int item) {
  const auto bytes = [&](int axis) { return std::abs(strides[axis]) * item; };
  int last = shape.ssize() - 1;
  while (last > 0 && shape[last] == 1) --last;
  if (last < 0 || bytes(last) < line) return false;
  int64_t lines = shape[last];  // between one element of a line and the next
  for (int axis = last - 1; axis >= 0; lines *= shape[axis--]) {
    if (shape[axis] == 1 || bytes(axis) == 0 || bytes(axis) >= line) continue;
    return bytes(last) > 2 * line || lines > most_near_lines;
  }
  return false;
}

}  // namespace

std::optional<OrderedCopy> OrderedCopy::of(const Output& array, const Shape& shape,
                                           const Strides& strides) {
  const int item = size_of(array.dtype);
  if (!crosses_lines(shape, strides, item)) return {};
  Shape once = shape;  // what is repeated is copied once
  for (int i = 0; i < shape.ssize(); ++i) {
    if (strides[i] == 0) once[i] = 1;
  }
  OrderedCopy copy{Output(array.dtype, once), {}};
  if (copy.output.size < least_elements) return {};
  try {
    copy.output.place(Buffer::allocate(copy.output.bytes()));
  } catch (const OutOfMemory&) {
    return {};
  }
  copy.strides = copy.output.strides;
  for (int i = 0; i < shape.ssize(); ++i) {
    if (strides[i] == 0) copy.strides[i] = 0;
  }
  copy_strided(item, array.data, once, strides, copy.output.data);
  return copy;
}

}  // namespace rill
