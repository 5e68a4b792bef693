#include "rill/cpu/index_places.h"

namespace rill {

void throw_out_of_range(std::string_view operation, int64_t index, int64_t slice, int axis,
                        int64_t size) {
  if (slice > 1) {
    throw std::out_of_range(
        fmt::format("[{}] a slice of {} at index {} is out of range for axis {} with size {}",
                    operation, slice, index, axis, size));
  }
  throw std::out_of_range(fmt::format("[{}] index {} is out of range for axis {} with size {}",
                                      operation, index, axis, size));
}

Places::Places(std::string_view operation, std::span<const Array> indices, const Axes& axes,
               const Shape& shape, const Strides& strides, const Shape& slice)
    : operation_(operation) {
  if (!indices.empty()) count_ = indices[0].size();
  for (size_t i = 0; i < indices.size(); ++i) {
    const Output& index = indices[i].output();
    int axis = axes[i] < 0 ? axes[i] + shape.ssize() : axes[i];
    sources_.push_back({reinterpret_cast<const int64_t*>(index.data),
                        Walk<1>(index.shape, {index.strides.data()}), axis, shape[axis],
                        slice[axis], static_cast<uint64_t>(strides[axis])});
  }
}

void Places::read(int64_t begin, int64_t end, int64_t* offsets) const {
  if (sources_.empty()) std::fill(offsets, offsets + (end - begin), 0);
  for (const Source& source : sources_) {
    if (&source == &sources_.front()) read<true>(source, begin, end, offsets);
    else read<false>(source, begin, end, offsets);
  }
}

template <bool first>
void Places::read(const Source& source, int64_t begin, int64_t end, int64_t* offsets) const {
  const auto size = static_cast<uint64_t>(source.size);
  const uint64_t last = size - static_cast<uint64_t>(std::max<int64_t>(source.slice, 1));
  const uint64_t stride = source.stride;
  const int64_t step = source.walk.step(0);
  bool outside = false;
  source.walk.for_runs(begin, end, [&](auto at, int64_t count) {
    const int64_t* index = source.data + at[0];
    for (int64_t i = 0; i < count; ++i) {
      int64_t value = index[i * step];
      uint64_t place = static_cast<uint64_t>(value) + (value < 0 ? size : 0);
      outside |= place > last;
      uint64_t before = first ? 0 : static_cast<uint64_t>(offsets[i]);
      offsets[i] = static_cast<int64_t>(before + place * stride);
    }
    offsets += count;
  });
  if (outside) fail(source, begin, end);
}

void Places::fail(const Source& source, int64_t begin, int64_t end) const {
  source.walk.for_runs(begin, end, [&](auto at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      int64_t value = source.data[at[0] + i * source.walk.step(0)];
      int64_t place = value < 0 ? value + source.size : value;
      if (place < 0 || place > source.size - std::max<int64_t>(source.slice, 1)) {
        throw_out_of_range(operation_, value, source.slice, source.axis, source.size);
      }
    }
  });
  RILL_ASSERT(false);
}

}  // namespace rill
