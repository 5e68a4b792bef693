// From index arrays to places in memory; for use by rill/cpu only.
#pragma once

#include <span>
#include <string_view>

#include "rill/cpu/walk.h"
#include "rill/graph/array.h"

namespace rill {

/// Throws std::out_of_range: `index` does not name `slice` elements of an axis of `size`.
[[noreturn]] void throw_out_of_range(std::string_view operation, int64_t index, int64_t slice,
                                     int axis, int64_t size);

/// The places that the index arrays of a gather or scatter name in an array: where slices begin.
class Places {
 public:
  /// Index array i (int64, all of one shape) walks axis `axes[i]` of an array of (shape, strides);
  /// slices of shape `slice` must fit. Refers to the index arrays.
  Places(std::string_view operation, std::span<const Array> indices, const Axes& axes,
         const Shape& shape, const Strides& strides, const Shape& slice);

  int64_t count() const { return count_; }

  /// Writes the offset, in items, of places [begin, end). Throws std::out_of_range.
  void read(int64_t begin, int64_t end, int64_t* offsets) const;

 private:
  struct Source {
    const int64_t* data;
    Walk<1> walk;
    int axis;
    int64_t size;   // of the axis
    int64_t slice;  // how much of it a slice covers
    uint64_t stride;
  };

  /// Adds what one index array says, or for the first one sets it.
  template <bool first>
  void read(const Source& source, int64_t begin, int64_t end, int64_t* offsets) const;
  [[noreturn]] void fail(const Source& source, int64_t begin, int64_t end) const;

  std::string_view operation_;
  int64_t count_ = 1;
  std::vector<Source> sources_;
};

/// A slice of an array, as runs of consecutive items.
class Slice {
 public:
  Slice(const Shape& shape, const Strides& strides)
      : walk_(shape, {strides.data()}), size_(element_count(shape)) {
    if (walk_.step(0) == 1) length_ = walk_.run_length();
  }

  int64_t size() const { return size_; }
  /// The items of a run.
  int64_t length() const { return length_; }
  int64_t runs() const { return size_ / length_; }
  /// Writes where runs [begin, end) begin, in items from the start of the slice.
  void read(int64_t begin, int64_t end, int64_t* offsets) const {
    int64_t step = length_ == 1 ? walk_.step(0) : 0;
    walk_.for_runs(begin * length_, end * length_, [&](auto at, int64_t count) {
      for (int64_t i = 0; i < count; i += length_) *offsets++ = at[0] + i * step;
    });
  }

 private:
  Walk<1> walk_;
  int64_t size_;
  int64_t length_ = 1;
};

}  // namespace rill
