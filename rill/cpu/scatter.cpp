#include "rill/cpu/scatter.h"

#include <bit>
#include <cstring>

#include "rill/cpu/index_places.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/scatter_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using scatter_kernels::Combine;
using scatter_kernels::Entry;

constexpr int64_t most_entries = 1024;  // handed to a kernel at a time
constexpr int64_t grain = 32768;        // items

/// Items of an array, one after another in memory.
struct Scatter {
  const Places& places;
  const Slice& slice;  // in the output
  const char* updates;
  int64_t step;  // items from the updates of one place to those of the next
  char* out;
  int64_t size;  // items of the output
  int item;
  Combine combine;

  void by_slices() const;
  void by_pieces(int64_t first, int64_t last) const;
  void by_targets(const char* source) const;
  void by_ranges() const;
};

/// The piece [first, first + count) of some runs, each run `length` items at a time.
struct Pieces {
  int64_t runs_each;
  int64_t length;
  int64_t run_tiles;
  int64_t length_tiles;

  explicit Pieces(const Slice& slice)
      : runs_each(slice.length() == 1 ? std::min<int64_t>(slice.runs(), 16) : 1),
        length(std::min<int64_t>(slice.length(), 4096)),
        run_tiles((slice.runs() - 1) / runs_each + 1),
        length_tiles((slice.length() - 1) / length + 1) {}
};

/// For slices that may overlap: one place after the other, a large slice shared out.
void Scatter::by_slices() const {
  for (int64_t p = 0; p < places.count(); ++p) by_pieces(p, p + 1);
}

/// For slices of which equal pieces overlap only: pieces are shared out, each takes all places.
void Scatter::by_pieces(int64_t first, int64_t last) const {
  const Pieces pieces(slice);
  const int64_t block = most_entries / pieces.runs_each;
  auto apply = [&](int64_t tile) {
    int64_t offsets[most_entries];
    int64_t runs[16];
    Entry entries[most_entries];
    int64_t run = tile / pieces.length_tiles * pieces.runs_each;
    int64_t run_count = std::min(pieces.runs_each, slice.runs() - run);
    int64_t begin = tile % pieces.length_tiles * pieces.length;
    int64_t length = std::min(pieces.length, slice.length() - begin);
    slice.read(run, run + run_count, runs);
    for (int64_t p = first; p < last; p += block) {
      int64_t count = std::min(block, last - p);
      places.read(p, p + count, offsets);
      Entry* entry = entries;
      for (int64_t i = 0; i < count; ++i) {
        int64_t update = (p + i) * step + run * slice.length() + begin;
        for (int64_t r = 0; r < run_count; ++r) {
          *entry++ = {offsets[i] + runs[r] + begin, update + r * slice.length()};
        }
      }
      combine(out, updates, entries, entry - entries, length);
    }
  };
  int64_t tile_items = (last - first) * pieces.runs_each * pieces.length;
  parallel_for(pieces.run_tiles * pieces.length_tiles, std::max<int64_t>(1, grain / tile_items),
               [&](int64_t begin, int64_t end) {
                 for (int64_t tile = begin; tile < end; ++tile) apply(tile);
               });
}

/// Places sorted, in a stable way, into buckets by the high bits of where they are.
class Buckets {
 public:
  Buckets(const Places& places, int64_t step, int64_t size, int shift);

  int64_t count() const { return count_; }
  std::span<const Entry> entries(int64_t bucket) const {
    const auto* all = static_cast<const Entry*>(entries_->data());
    return {all + starts_[bucket], all + starts_[bucket + 1]};
  }

 private:
  static constexpr int64_t block = 16384;  // places

  int64_t count_;
  std::vector<int64_t> starts_;
  Ref<Buffer> entries_;
};

Buckets::Buckets(const Places& places, int64_t step, int64_t size, int shift)
    : count_(((size - 1) >> shift) + 1),
      starts_(count_ + 1),
      entries_(Buffer::allocate(places.count() * sizeof(Entry))) {
  Ref<Buffer> memory = Buffer::allocate(places.count() * sizeof(int64_t));
  auto* offsets = static_cast<int64_t*>(memory->data());
  const int64_t blocks = (places.count() - 1) / block + 1;
  std::vector<int64_t> next(blocks * count_);
  parallel_for(places.count(), block, [&](int64_t begin, int64_t end) {
    places.read(begin, end, offsets + begin);
    int64_t* counts = next.data() + begin / block * count_;
    for (int64_t p = begin; p < end; ++p) ++counts[offsets[p] >> shift];
  });
  int64_t start = 0;
  for (int64_t bucket = 0; bucket < count_; ++bucket) {
    starts_[bucket] = start;
    for (int64_t b = 0; b < blocks; ++b) {
      start += std::exchange(next[b * count_ + bucket], start);
    }
  }
  starts_[count_] = start;
  auto* entries = static_cast<Entry*>(entries_->data());
  parallel_for(places.count(), block, [&](int64_t begin, int64_t end) {
    int64_t* place = next.data() + begin / block * count_;
    for (int64_t p = begin; p < end; ++p) {
      entries[place[offsets[p] >> shift]++] = {offsets[p], p * step};
    }
  });
}

/// For slices of one run that are disjoint where they differ: ranges of the output are shared out.
/// With a source (row-major like the output, of which a slice is a row) a range is first copied.
void Scatter::by_targets(const char* source) const {
  constexpr int64_t bucket_bytes = 256 * 1024;  // stays in a core's cache
  constexpr int64_t fewest = 64;
  constexpr int64_t most = 1024;
  const int64_t row = slice.size();
  auto width = std::clamp<int64_t>(size / fewest, 1, bucket_bytes / item);
  width = std::max({width, row, size / most});
  const int shift = std::bit_width(static_cast<uint64_t>(width - 1));
  Buckets buckets(places, step, size, shift);
  parallel_for(buckets.count(), 1, [&](int64_t bucket, int64_t) {
    if (source != nullptr) {
      // The rows that begin in the bucket.
      int64_t begin = ((bucket << shift) + row - 1) / row * row;
      int64_t end = std::min((((bucket + 1) << shift) + row - 1) / row * row, size);
      std::memcpy(out + begin * item, source + begin * item, (end - begin) * item);
    }
    std::span<const Entry> entries = buckets.entries(bucket);
    combine(out, updates, entries.data(), static_cast<int64_t>(entries.size()), row);
  });
}

/// For short slices of one run that are disjoint where they differ: each range of the output is
/// written by one thread, which picks its own from all places.
void Scatter::by_ranges() const {
  constexpr int most_ranges = 8;
  const int ranges = std::min(parallel_width(), most_ranges);
  const auto each = static_cast<uint64_t>((size - 1) / ranges + 1);
  parallel_for(ranges, 1, [&](int64_t range, int64_t) {
    int64_t offsets[most_entries];
    Entry entries[most_entries];
    const uint64_t begin = static_cast<uint64_t>(range) * each;
    for (int64_t first = 0; first < places.count(); first += most_entries) {
      int64_t count = std::min(most_entries, places.count() - first);
      places.read(first, first + count, offsets);
      int64_t n = 0;
      for (int64_t i = 0; i < count; ++i) {
        entries[n] = {offsets[i], (first + i) * step};
        n += static_cast<uint64_t>(offsets[i]) - begin < each;
      }
      combine(out, updates, entries, n, slice.size());
    }
  });
}

/// Gives the output a copy of the operand, or the operand's own block where nobody else sees it.
void copy_operand(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  if (is_last_use(launch, 0) && in.row_major) {
    out.place_view(in, in.strides, 0);
  } else {
    allocate(out);
    copy_row_major(in, out.data);
  }
}

/// Whether two slices are the same or have no element in common.
bool are_disjoint(const Axes& axes, const Shape& slice) {
  int ndim = slice.ssize();
  return std::all_of(axes.begin(), axes.end(),
                     [&](int axis) { return slice[axis < 0 ? axis + ndim : axis] == 1; });
}

/// Whether every slice is one of the rows of which the array consists.
bool are_rows(const Axes& axes, const Shape& shape, const Shape& slice) {
  int lead = axes.ssize();
  for (int axis = 0; axis < shape.ssize(); ++axis) {
    if (slice[axis] != (axis < lead ? 1 : shape[axis])) return false;
  }
  return std::all_of(axes.begin(), axes.end(),
                     [&](int axis) { return (axis < 0 ? axis + shape.ssize() : axis) < lead; });
}

/// The updates of one place, if all places have the same; else all.
Output distinct(const Output& updates, const Shape& slice) {
  const auto lead = static_cast<int>(updates.shape.size() - slice.size());
  for (int axis = 0; axis < lead; ++axis) {
    if (updates.shape[axis] != 1 && updates.strides[axis] != 0) return updates;
  }
  Output one(updates.dtype, Shape(updates.shape.begin() + lead, updates.shape.end()));
  if (one.shape != slice) return updates;  // of single items, an axis of which is that of places
  one.data = updates.data;
  one.strides = Strides(updates.strides.begin() + lead, updates.strides.end());
  one.row_major = is_row_major(one.shape, one.strides);
  return one;
}

void scatter_into(const Launch& launch, ScatterMode mode, std::string_view name, const Axes& axes,
                  const Shape& slice_shape, const Output& updates, std::span<const Array> indices) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  Strides strides = row_major_strides(out.shape);
  Places places(name, indices, axes, out.shape, strides, slice_shape);
  Slice slice(slice_shape, strides);
  if (updates.size == 0 || out.size == 0) return copy_operand(launch);

  bool disjoint = are_disjoint(axes, slice_shape);
  bool small = updates.size < grain || places.count() < 16;
  bool whole = disjoint && slice.runs() == 1 && !small;
  constexpr int64_t short_bytes = 128;
  bool by_ranges = whole && slice.size() * size_of(out.dtype) < short_bytes;
  bool by_targets = whole && !by_ranges;
  bool dense = updates.size >= out.size / 4;
  bool copies = by_targets && dense && in.row_major && are_rows(axes, out.shape, slice_shape) &&
                !is_last_use(launch, 0);
  if (copies) allocate(out);
  else copy_operand(launch);

  const Output given = distinct(updates, slice_shape);
  RowMajor values(given);
  Scatter scatter{
      places,   slice,    values.as<char>(),  given.size == updates.size ? slice.size() : 0,
      out.data, out.size, size_of(out.dtype), scatter_kernels::find_combine(mode, out.dtype)};
  if (by_targets) scatter.by_targets(copies ? in.data : nullptr);
  else if (by_ranges) scatter.by_ranges();
  else if (disjoint) scatter.by_pieces(0, places.count());
  else scatter.by_slices();
}

/// A scatter along an axis in a row-major array: outer x axis x inner.
struct AlongAxis {
  int axis;
  int64_t size;   // of the axis
  int64_t count;  // updates along the axis
  int64_t inner;
  const int64_t* index;
  const char* updates;
  char* out;
  Combine combine;

  /// Columns [begin, end) of outer element `o`.
  void run(int64_t o, int64_t begin, int64_t end) const {
    Entry entries[most_entries];
    int64_t n = 0;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = begin; j < end; ++j) {
        int64_t update = (o * count + i) * inner + j;
        int64_t value = index[update];
        int64_t place = value < 0 ? value + size : value;
        if (static_cast<uint64_t>(place) >= static_cast<uint64_t>(size)) {
          throw_out_of_range("put_along_axis", value, 1, axis, size);
        }
        entries[n++] = {(o * size + place) * inner + j, update};
        if (n == most_entries) combine(out, updates, entries, std::exchange(n, 0), 1);
      }
    }
    combine(out, updates, entries, n, 1);
  }
};

}  // namespace

void run_scatter(const Launch& launch) {
  const auto& attrs = launch.attrs<ScatterAttrs>();
  const Output& updates = launch.in(1);
  Shape slice(updates.shape.end() - launch.in(0).shape.ssize(), updates.shape.end());
  scatter_into(launch, attrs.mode, "scatter", attrs.axes, slice, updates, launch.inputs.subspan(2));
}

void run_scatter_along_axis(const Launch& launch) {
  constexpr int64_t most_columns = 256;
  const auto& attrs = launch.attrs<AlongAxisAttrs>();
  Output& out = launch.out();
  const Shape& shape = out.shape;
  int64_t size = shape[attrs.axis];
  if (out.size == size) {  // a single line
    return scatter_into(launch, attrs.mode, "put_along_axis", {attrs.axis}, Shape(shape.size(), 1),
                        launch.in(2), launch.inputs.subspan(1, 1));
  }
  copy_operand(launch);
  int64_t count = launch.in(1).shape[attrs.axis];
  if (out.size == 0 || count == 0) return;
  int64_t inner = 1;
  for (int i = attrs.axis + 1; i < shape.ssize(); ++i) inner *= shape[i];
  RowMajor index(launch.in(1));
  RowMajor updates(launch.in(2));
  AlongAxis along{attrs.axis,
                  size,
                  count,
                  inner,
                  index.as<int64_t>(),
                  updates.as<char>(),
                  out.data,
                  scatter_kernels::find_combine(attrs.mode, out.dtype)};
  int64_t columns = std::min(inner, most_columns);
  int64_t tiles = (inner - 1) / columns + 1;
  int64_t outer = out.size / (size * inner);
  parallel_for(outer * tiles, std::max<int64_t>(1, grain / (count * columns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t tile = begin; tile < end; ++tile) {
                   int64_t first = tile % tiles * columns;
                   along.run(tile / tiles, first, std::min(first + columns, inner));
                 }
               });
}

}  // namespace rill
