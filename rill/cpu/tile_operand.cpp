#include "rill/cpu/tile_operand.h"

#include <algorithm>
#include <cstring>

#include "rill/cpu/copy_kernels.h"

namespace rill {

namespace {

/// Merges axes that one stride walks through; drops axes of size 1.
void collapse(Shape& shape, Strides& strides) {
  Shape sizes;
  Strides steps;
  for (int i = 0; i < shape.ssize(); ++i) {
    if (shape[i] == 1) continue;
    if (!sizes.empty() && steps.back() == strides[i] * shape[i]) {
      sizes.back() *= shape[i];
      steps.back() = strides[i];
    } else {
      sizes.push_back(shape[i]);
      steps.push_back(strides[i]);
    }
  }
  if (sizes.empty()) {
    sizes.push_back(1);
    steps.push_back(0);
  }
  shape = std::move(sizes);
  strides = std::move(steps);
}

template <class Item>
void fill(void* dst, const char* src, int64_t count) {
  std::fill_n(static_cast<Item*>(dst), count, *reinterpret_cast<const Item*>(src));
}

void fill(int item, void* dst, const char* src, int64_t count) {
  constexpr int64_t few_bytes = 256;
  if (count * item > few_bytes) {
    return copy_kernels::fill_run(item, static_cast<uint8_t*>(dst), count * item, src, false);
  }
  switch (item) {
    case 1: return fill<uint8_t>(dst, src, count);
    case 2: return fill<uint16_t>(dst, src, count);
    case 4: return fill<uint32_t>(dst, src, count);
    default: return fill<uint64_t>(dst, src, count);
  }
}

void gather_run(int item, void* dst, const char* src, int64_t stride, int64_t count) {
  if (stride == 0) return fill(item, dst, src, count);
  if (stride == 1) {
    std::memcpy(dst, src, static_cast<size_t>(count * item));
    return;
  }
  copy_kernels::gather(item, reinterpret_cast<const uint8_t*>(src), count, stride,
                       static_cast<uint8_t*>(dst));
}

}  // namespace

TileOperand::TileOperand(const Output& array, TileKernel widen)
    : item_(size_of(array.dtype)), data_(array.data), widen_(widen) {}

TileOperand TileOperand::scalar(const Output& array, TileKernel widen) {
  TileOperand operand(array, widen);
  operand.make_scalar();
  return operand;
}

void TileOperand::make_scalar() {
  kind_ = Kind::scalar;
  if (widen_) widen_(&widened_, data_, nullptr, nullptr, 1);
}

TileOperand::TileOperand(const Output& array, Shape shape, Strides strides, TileKernel widen)
    : TileOperand(array, widen) {
  shape_ = std::move(shape);
  strides_ = std::move(strides);
  collapse(shape_, strides_);
  if (shape_.size() == 1 && strides_[0] == 0) make_scalar();
  else if (shape_.size() > 1 || strides_[0] != 1) kind_ = Kind::strided;
}

void TileOperand::prefetch(int64_t begin, int64_t count) const {
  if (kind_ != Kind::linear) return;
  const char* from = data_ + begin * item_;
  for (int64_t i = 0; i < count * item_; i += 64) __builtin_prefetch(from + i);
}

void TileOperand::splat(void* slot, void* raw, int64_t tile) const {
  fill(item_, widen_ ? raw : slot, data_, tile);
  if (widen_) widen_(slot, raw, nullptr, nullptr, tile);
}

const void* TileOperand::fetch(int64_t begin, int64_t count, void* slot, void* raw) const {
  if (kind_ == Kind::scalar) return slot;
  const void* stored = kind_ == Kind::linear ? data_ + begin * item_
                                             : fetch_strided(begin, count, widen_ ? raw : slot);
  if (!widen_) return stored;
  widen_(slot, stored, nullptr, nullptr, count);
  return slot;
}

const void* TileOperand::fetch_strided(int64_t begin, int64_t count, void* slot) const {
  const int last = shape_.ssize() - 1;
  Shape index(shape_.size(), 0);
  const char* row = data_;  // the element whose last index is 0
  int64_t rest = begin;
  for (int axis = last; axis >= 0; --axis) {
    index[axis] = rest % shape_[axis];
    rest /= shape_[axis];
    if (axis != last) row += index[axis] * strides_[axis] * item_;
  }
  auto* out = static_cast<char*>(slot);
  for (int64_t done = 0;;) {
    int64_t run = std::min(count - done, shape_[last] - index[last]);
    const char* from = row + index[last] * strides_[last] * item_;
    if (run == count && strides_[last] == 1) return from;
    gather_run(item_, out + done * item_, from, strides_[last], run);
    done += run;
    if (done == count) return slot;
    index[last] = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      row += strides_[axis] * item_;
      if (++index[axis] < shape_[axis]) break;
      row -= strides_[axis] * shape_[axis] * item_;
      index[axis] = 0;
    }
  }
}

}  // namespace rill
