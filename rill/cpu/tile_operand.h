// Reading one operand of a fused program, a tile at a time.
#pragma once

#include "rill/cpu/tile_kernels.h"
#include "rill/graph/array.h"

namespace rill {

/// An array seen as the linear sequence of a (broadcast) shape. A tile of it is either memory that
/// is there already, or is gathered into a slot.
class TileOperand {
 public:
  TileOperand() = default;
  /// The elements lie in memory in the order in which the program walks.
  TileOperand(const Output& array, TileKernel widen);
  /// One number, for all elements.
  static TileOperand scalar(const Output& array, TileKernel widen);
  /// The program walks `shape` in row-major order, the array with `strides`.
  TileOperand(const Output& array, Shape shape, Strides strides, TileKernel widen);

  /// One value for all elements: the slot holds it `tile` times, from the start.
  bool is_scalar() const { return kind_ == Kind::scalar; }
  /// The value of a scalar, as programs hold it.
  const void* number() const { return widen_ ? static_cast<const void*>(&widened_) : data_; }
  /// Whether the elements lie in memory in order, as halves.
  bool is_stored_half() const { return kind_ == Kind::linear && widen_ != nullptr; }
  /// Where they lie as they are stored, from element `begin` on.
  const void* stored(int64_t begin) const { return data_ + begin * item_; }
  /// Whether tiles come straight from memory.
  bool needs_slot() const { return kind_ != Kind::linear || widen_ != nullptr; }

  /// Fills the whole slot of a scalar.
  void splat(void* slot, void* raw, int64_t tile) const;
  /// Elements [begin, begin + count): in memory, or in `slot`. `raw` is room for `count` elements
  /// as they are stored.
  const void* fetch(int64_t begin, int64_t count, void* slot, void* raw) const;
  /// Asks for the `count` elements from `begin` on, which need not exist, if they are in order.
  void prefetch(int64_t begin, int64_t count) const;

 private:
  enum class Kind : uint8_t { linear, scalar, strided };

  void make_scalar();
  const void* fetch_strided(int64_t begin, int64_t count, void* slot) const;

  Kind kind_ = Kind::linear;
  int item_ = 0;
  float widened_ = 0;  // a half that is a scalar
  const char* data_ = nullptr;
  TileKernel widen_ = nullptr;  // half to float32
  Shape shape_;                 // collapsed
  Strides strides_;
};

}  // namespace rill
