// Reading and writing at places given by arrays.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "rill/cpu/backend.h"
#include "rill/cpu/copy_kernels.h"
#include "rill/cpu/index_places.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/scatter.h"
#include "rill/ops/index.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t most_places = 1024;  // read at a time
constexpr int64_t most_runs = 512;
constexpr int64_t chunk_bytes = 128 * 1024;

/// A gather, cut into tiles: some places by some runs of the slice.
struct Gather {
  const Places& places;
  const Slice& slice;
  const char* from;
  char* to;
  int item;
  bool stream;

  int64_t runs_each = 0;
  int64_t places_each = 0;
  int64_t run_tiles = 0;
  int64_t place_tiles = 0;

  void cut();
  void run();
  void copy_tile(int64_t tile) const;
  void copy_rows(const int64_t* offsets, int64_t count, const int64_t* runs, int64_t run_count,
                 char* out) const;
};

/// A tile of scattered items has few runs, so that the lines that it touches stay cached while
/// all places pick from them.
void Gather::cut() {
  int64_t run_bytes = slice.length() * item;
  int64_t most = slice.length() == 1 ? std::max<int64_t>(8, 64 / item)
                                     : std::clamp<int64_t>(4096 / run_bytes, 1, most_runs);
  runs_each = std::min(slice.runs(), most);
  places_each = std::clamp<int64_t>(chunk_bytes / (runs_each * run_bytes), 1, most_places);
  run_tiles = (slice.runs() - 1) / runs_each + 1;
  place_tiles = (places.count() - 1) / places_each + 1;
}

void Gather::run() {
  cut();
  int64_t tile_bytes = std::min(places.count(), places_each) * runs_each * slice.length() * item;
  parallel_for(run_tiles * place_tiles, std::max<int64_t>(1, chunk_bytes / tile_bytes),
               [&](int64_t begin, int64_t end) {
                 for (int64_t tile = begin; tile < end; ++tile) copy_tile(tile);
                 if (stream) stream_fence();
               });
}

/// Scattered columns of some rows: picked from one row after the other, which stays in the cache,
/// then transposed.
template <class T>
void copy_columns(const char* from, const int64_t* offsets, int64_t count, const int64_t* runs,
                  int64_t run_count, int64_t step, char* to) {
  constexpr int64_t bytes = 256;  // of a row
  constexpr int64_t width = bytes / sizeof(T);
  alignas(64) T rows[64 / sizeof(T)][width];
  const T* src = reinterpret_cast<const T*>(from);
  for (int64_t p = 0; p < count; p += width) {
    int64_t some = std::min(width, count - p);
    for (int64_t r = 0; r < run_count; ++r) {
      for (int64_t k = 0; k < some; ++k) rows[r][k] = src[runs[r] + offsets[p + k]];
    }
    copy_kernels::transpose(sizeof(T), {reinterpret_cast<const uint8_t*>(rows), bytes,
                                        reinterpret_cast<uint8_t*>(to) + p * step * sizeof(T),
                                        step * int64_t{sizeof(T)}, some, run_count, false});
  }
}

template <class T>
void copy_items(const char* from, const int64_t* offsets, int64_t count, const int64_t* runs,
                int64_t run_count, int64_t step, char* to) {
  const T* src = reinterpret_cast<const T*>(from);
  T* dst = reinterpret_cast<T*>(to);
  if (run_count == 1) {
    src += runs[0];
    for (int64_t p = 0; p < count; ++p) dst[p * step] = src[offsets[p]];
    return;
  }
  bool far = std::abs(runs[1] - runs[0]) * int64_t{sizeof(T)} >= 256;
  if (far && run_count >= 8 && count >= 64) {
    return copy_columns<T>(from, offsets, count, runs, run_count, step, to);
  }
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t r = 0; r < run_count; ++r) dst[p * step + r] = src[offsets[p] + runs[r]];
  }
}

/// Rows of a size that the compiler knows, so that a copy is an instruction or two.
template <int64_t bytes>
void copy_short_rows(const char* from, const int64_t* offsets, int64_t count, int64_t item,
                     int64_t step, char* to) {
  constexpr int64_t ahead = 16;
  for (int64_t p = 0; p < count; ++p) {
    if (p + ahead < count) __builtin_prefetch(from + offsets[p + ahead] * item);
    std::memcpy(to + p * step, from + offsets[p] * item, bytes);
  }
}

void Gather::copy_rows(const int64_t* offsets, int64_t count, const int64_t* runs,
                       int64_t run_count, char* out) const {
  constexpr int64_t ahead = 3;
  int64_t bytes = slice.length() * item;
  int64_t step = slice.size() * item;
  if (run_count == 1) {
    const char* first = from + runs[0] * item;
    switch (bytes) {
      case 2: return copy_short_rows<2>(first, offsets, count, item, step, out);
      case 4: return copy_short_rows<4>(first, offsets, count, item, step, out);
      case 8: return copy_short_rows<8>(first, offsets, count, item, step, out);
      case 16: return copy_short_rows<16>(first, offsets, count, item, step, out);
      case 32: return copy_short_rows<32>(first, offsets, count, item, step, out);
      default: break;
    }
  }
  bool whole = bytes % 64 == 0;
  for (int64_t p = 0; p < count; ++p) {
    if (p + ahead < count) {
      const char* next = from + (offsets[p + ahead] + runs[0]) * item;
      for (int64_t i = 0; i < std::min<int64_t>(bytes, 512); i += 64) __builtin_prefetch(next + i);
    }
    for (int64_t r = 0; r < run_count; ++r) {
      const char* src = from + (offsets[p] + runs[r]) * item;
      char* dst = out + p * step + r * bytes;
      if (stream && whole) stream_copy(dst, src, bytes);
      else if (bytes == 16) std::memcpy(dst, src, 16);
      else std::memcpy(dst, src, bytes);
    }
  }
}

void Gather::copy_tile(int64_t tile) const {
  int64_t offsets[most_places];
  int64_t runs[most_runs];
  int64_t first_run = tile / place_tiles * runs_each;
  int64_t run_count = std::min(runs_each, slice.runs() - first_run);
  int64_t first = tile % place_tiles * places_each;
  int64_t count = std::min(places_each, places.count() - first);
  places.read(first, first + count, offsets);
  slice.read(first_run, first_run + run_count, runs);
  char* out = to + (first * slice.size() + first_run * slice.length()) * item;
  if (slice.length() > 1) return copy_rows(offsets, count, runs, run_count, out);
  switch (item) {
    case 1: return copy_items<uint8_t>(from, offsets, count, runs, run_count, slice.size(), out);
    case 2: return copy_items<uint16_t>(from, offsets, count, runs, run_count, slice.size(), out);
    case 4: return copy_items<uint32_t>(from, offsets, count, runs, run_count, slice.size(), out);
    default: return copy_items<uint64_t>(from, offsets, count, runs, run_count, slice.size(), out);
  }
}

void run_gather(const Launch& launch) {
  const Output& in = launch.in(0);
  const auto& attrs = launch.attrs<GatherAttrs>();
  Output& out = launch.out();
  allocate(out);
  Places places("gather", launch.inputs.subspan(1), attrs.axes, in.shape, in.strides, attrs.sizes);
  if (out.size == 0) return;
  Slice slice(attrs.sizes, in.strides);
  int item = size_of(in.dtype);
  constexpr int64_t large = 1 << 20;
  bool row_wise = places.count() == 1 || (slice.length() > 1 && slice.size() * item >= large);
  if (!row_wise) {
    Gather{places, slice, in.data, out.data, item, use_streaming(out.bytes())}.run();
    return;
  }
  for (int64_t p = 0; p < places.count(); ++p) {
    int64_t offset;
    places.read(p, p + 1, &offset);
    copy_strided(item, in.data + offset * item, attrs.sizes, in.strides,
                 out.data + p * slice.size() * item);
  }
}

/// Reading along an axis: element i of a run is at `from` + i * step + its index times `stride`.
struct AlongAxis {
  int axis;
  int64_t size;    // of the axis
  int64_t stride;  // of the axis

  template <class T>
  void read(const T* from, int64_t step, const int64_t* index, int64_t index_step, int64_t count,
            T* to) const {
    for (int64_t i = 0; i < count; ++i) {
      int64_t value = index[i * index_step];
      int64_t place = value < 0 ? value + size : value;
      if (static_cast<uint64_t>(place) >= static_cast<uint64_t>(size)) {
        throw_out_of_range("take_along_axis", value, 1, axis, size);
      }
      to[i] = from[i * step + place * stride];
    }
  }
};

template <class T>
void take_items(const Output& in, const Output& index, int axis, Output& out) {
  constexpr int64_t grain = 16384;
  Strides strides = in.strides;
  strides[axis] = 0;
  Walk<2> walk(out.shape, {strides.data(), index.strides.data()});
  AlongAxis along{axis, in.shape[axis], in.strides[axis]};
  const T* from = reinterpret_cast<const T*>(in.data);
  const auto* indices = reinterpret_cast<const int64_t*>(index.data);
  parallel_for(out.size, grain, [&](int64_t begin, int64_t end) {
    T* to = reinterpret_cast<T*>(out.data) + begin;
    walk.for_runs(begin, end, [&](auto at, int64_t count) {
      along.read(from + at[0], walk.step(0), indices + at[1], walk.step(1), count, to);
      to += count;
    });
  });
}

void run_take_along_axis(const Launch& launch) {
  const Output& in = launch.in(0);
  const Output& index = launch.in(1);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  int axis = launch.attrs<AlongAxisAttrs>().axis;
  switch (size_of(in.dtype)) {
    case 1: return take_items<uint8_t>(in, index, axis, out);
    case 2: return take_items<uint16_t>(in, index, axis, out);
    case 4: return take_items<uint32_t>(in, index, axis, out);
    default: return take_items<uint64_t>(in, index, axis, out);
  }
}

}  // namespace

void add_index_kernels() {
  set_cpu_kernel(gather_op, run_gather);
  set_cpu_kernel(take_along_axis_op, run_take_along_axis);
  set_cpu_kernel(scatter_op, run_scatter);
  set_cpu_kernel(scatter_along_axis_op, run_scatter_along_axis);
}

}  // namespace rill
