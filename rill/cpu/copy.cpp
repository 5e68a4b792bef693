#include "rill/cpu/copy.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "rill/cpu/copy_kernels.h"
#include "rill/cpu/unroll.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t line = 64;
constexpr int64_t chunk_bytes = 128 * 1024;  // what one chunk of a parallel loop moves, at least

/// A dimension of a copy; strides in bytes.
struct Dim {
  int64_t count;
  int64_t src;
  int64_t dst;
};
using Dims = SmallVector<Dim, 8>;

/// A copy reduced to an inner plane of two dimensions, repeated over outer ones.
struct Plan {
  int item;      // bytes moved at a time, after widening
  Dims outer;    // slowest first
  Dim row;       // the slower dimension of the plane
  Dim column;    // the faster one, in the destination
  bool crossed;  // the source runs faster along `row`
};

/// The dimensions larger than one, destination strides positive and falling, neighbours merged.
Dims merged_dims(int item, const Shape& shape, const Strides& src_strides,
                 const Strides& dst_strides, const uint8_t*& src, uint8_t*& dst) {
  Dims dims;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    Dim dim{shape[i], src_strides[i] * item, dst_strides[i] * item};
    if (dim.dst < 0) {
      src += (dim.count - 1) * dim.src;
      dst += (dim.count - 1) * dim.dst;
      dim.src = -dim.src;
      dim.dst = -dim.dst;
    }
    dims.push_back(dim);
    for (size_t k = dims.size() - 1; k > 0 && dims[k - 1].dst < dims[k].dst; --k) {
      std::swap(dims[k - 1], dims[k]);
    }
  }
  Dims merged;
  for (const Dim& dim : dims) {
    if (!merged.empty() && merged.back().src == dim.src * dim.count &&
        merged.back().dst == dim.dst * dim.count) {
      merged.back() = {merged.back().count * dim.count, dim.src, dim.dst};
    } else {
      merged.push_back(dim);
    }
  }
  return merged;
}

Plan planned(int item, Dims dims) {
  while (!dims.empty() && dims.back().src == item && dims.back().dst == item) {
    int64_t wide = dims.back().count * item;
    if (wide != 2 && wide != 4 && wide != 8) break;
    item = static_cast<int>(wide);
    dims.pop_back();
  }
  Plan plan{item, {}, {1, 0, 0}, {1, item, item}, false};
  if (dims.empty()) return plan;
  plan.column = dims.back();
  dims.pop_back();
  int partner = dims.ssize() - 1;
  if (plan.column.src != item) {
    for (int i = dims.ssize() - 1; i >= 0; --i) {
      int64_t step = std::abs(dims[i].src);
      if (step == 0 || step >= std::abs(plan.column.src)) continue;
      if (plan.crossed && step >= std::abs(dims[partner].src)) continue;
      partner = i;
      plan.crossed = true;
    }
  }
  if (partner >= 0) {
    plan.row = dims[partner];
    dims.erase(dims.begin() + partner);
  }
  plan.outer = std::move(dims);
  return plan;
}

/// memcpy with a short way for short runs.
inline void copy_run(uint8_t* dst, const uint8_t* src, int64_t bytes) {
  auto both_ends = [&]<class T>(T) {
    T first;
    T last;
    std::memcpy(&first, src, sizeof(T));
    std::memcpy(&last, src + bytes - sizeof(T), sizeof(T));
    std::memcpy(dst, &first, sizeof(T));
    std::memcpy(dst + bytes - sizeof(T), &last, sizeof(T));
  };
  // Stores that are a little ahead of the loads in their pages look like what is loaded next.
  const auto ahead = (reinterpret_cast<uintptr_t>(dst) - reinterpret_cast<uintptr_t>(src)) % 4096;
  if (bytes >= 1024 && ahead != 0 && ahead < 512) copy_kernels::copy_run(dst, src, bytes);
  else if (bytes > 16 || bytes < 4) std::memcpy(dst, src, bytes);
  else if (bytes >= 8) both_ends(uint64_t{});
  else both_ends(uint32_t{});
}

/// A large run, past the cache where lines are whole.
void stream_run(uint8_t* dst, const uint8_t* src, int64_t bytes) {
  int64_t head = std::min(-reinterpret_cast<intptr_t>(dst) & (line - 1), bytes);
  if (head > 0) std::memcpy(dst, src, head);
  stream_copy(dst + head, src + head, bytes - head);
}

/// One plane of a copy: rows x columns items from `src` to `dst`.
struct Plane {
  const uint8_t* src;
  uint8_t* dst;
  Dim row;
  Dim column;
};

constexpr int64_t short_run = 128;  // bytes
constexpr int64_t block_bytes = line * short_run;

/// A short run `count` times without gaps, from a block of many that is whole lines long.
void repeat_run(uint8_t* dst, const uint8_t* src, int64_t bytes, int64_t count, bool stream) {
  alignas(line) uint8_t block[block_bytes];
  const int64_t size = block_bytes / (line * bytes) * (line * bytes);
  std::memcpy(block, src, bytes);
  for (int64_t filled = bytes; filled < size; filled *= 2) {
    std::memcpy(block + filled, block, std::min(filled, size - filled));
  }
  for (int64_t at = 0; at < bytes * count; at += size) {
    const int64_t part = std::min(size, bytes * count - at);
    if (stream) stream_run(dst + at, block, part);
    else std::memcpy(dst + at, block, part);
  }
}

void copy_runs(const Plane& plane, int item, bool stream) {
  int64_t bytes = plane.column.count * item;
  if (plane.row.src == 0 && plane.row.dst == bytes && bytes <= short_run &&
      plane.row.count * bytes >= 2 * block_bytes) {
    return repeat_run(plane.dst, plane.src, bytes, plane.row.count, stream);
  }
  for (int64_t i = 0; i < plane.row.count; ++i) {
    uint8_t* dst = plane.dst + i * plane.row.dst;
    const uint8_t* src = plane.src + i * plane.row.src;
    bool whole = reinterpret_cast<uintptr_t>(dst) % line == 0 && bytes % line == 0;
    if (stream && (whole || bytes >= 32 * line)) stream_run(dst, src, bytes);
    else copy_run(dst, src, bytes);
  }
}

void fill_runs(const Plane& plane, int item, bool stream) {
  for (int64_t i = 0; i < plane.row.count; ++i) {
    copy_kernels::fill_run(item, plane.dst + i * plane.row.dst, plane.column.count * item,
                           plane.src + i * plane.row.src, stream);
  }
}

/// `count` items that lie some bytes apart.
template <class T>
void copy_line(const uint8_t* src, int64_t src_step, uint8_t* dst, int64_t dst_step,
               int64_t count) {
  constexpr int64_t item = sizeof(T);
  if (count >= 64 && dst_step == item && src_step % item == 0) {
    return copy_kernels::gather(item, src, count, src_step / item, dst);
  }
  int64_t j = 0;
  for (; j + 8 <= count; j += 8) {
    RILL_UNROLL(8)
    for (int64_t k = j; k < j + 8; ++k) std::memcpy(dst + k * dst_step, src + k * src_step, item);
  }
  for (; j < count; ++j) std::memcpy(dst + j * dst_step, src + j * src_step, item);
}

template <class T>
void copy_items(const Plane& plane, bool crossed) {
  constexpr int64_t side = 32;
  const bool narrow = plane.column.count < 8 && plane.row.count > plane.column.count;
  const Dim& row = narrow ? plane.column : plane.row;  // the inner loop is the longer one
  const Dim& column = narrow ? plane.row : plane.column;
  const int64_t height = crossed ? side : 1;  // blocks only where the source runs down the rows
  const int64_t width = crossed ? side : column.count;
  for (int64_t i0 = 0; i0 < row.count; i0 += height) {
    int64_t i1 = std::min(i0 + height, row.count);
    for (int64_t j0 = 0; j0 < column.count; j0 += width) {
      int64_t count = std::min(width, column.count - j0);
      for (int64_t i = i0; i < i1; ++i) {
        const uint8_t* src = plane.src + i * row.src + j0 * column.src;
        uint8_t* dst = plane.dst + i * row.dst + j0 * column.dst;
        copy_line<T>(src, column.src, dst, column.dst, count);
      }
    }
  }
}

void copy_plane(const Plane& plane, int item, bool crossed, bool stream) {
  constexpr int64_t few = 8;  // below, a tile is mostly border
  if (plane.column.dst == item && plane.column.src == item) {
    return copy_runs(plane, item, stream);
  }
  if (plane.column.dst == item && plane.column.src == -item) {
    return copy_kernels::reverse(item, {plane.src, plane.row.src, plane.dst, plane.row.dst,
                                        plane.row.count, plane.column.count});
  }
  if (plane.column.dst == item && plane.column.src == 0 && plane.column.count * item >= line) {
    return fill_runs(plane, item, stream);
  }
  bool short_rows = plane.row.count >= 2 && plane.row.count <= 4 &&
                    plane.column.src == plane.row.count * item;  // taken apart by vectors
  if (crossed && plane.column.dst == item && plane.row.src == item &&
      (plane.row.count >= few || short_rows) && plane.column.count >= few) {
    bool aligned = (reinterpret_cast<uintptr_t>(plane.dst) | plane.row.dst) % line == 0;
    return copy_kernels::transpose(item, {plane.src, plane.column.src, plane.dst, plane.row.dst,
                                          plane.row.count, plane.column.count, stream && aligned});
  }
  switch (item) {
    case 1: return copy_items<uint8_t>(plane, crossed);
    case 2: return copy_items<uint16_t>(plane, crossed);
    case 4: return copy_items<uint32_t>(plane, crossed);
    default: return copy_items<uint64_t>(plane, crossed);
  }
}

/// How a plane is cut: pieces of rows x columns items.
struct Pieces {
  int64_t rows;
  int64_t columns;
};

/// Crossed pieces read 2 KiB of each source row and write 512 bytes of each destination row; `tall`
/// ones read 16 KiB and write 256 bytes. They read less where there would be few of them. The
/// others are of about `chunk_bytes`.
Pieces pieces_of(const Plan& plan, bool tall) {
  int64_t most = chunk_bytes / plan.item;
  if (!plan.crossed) {
    int64_t columns = std::min(plan.column.count, most);
    return {std::min(plan.row.count, std::max<int64_t>(1, most / columns)), columns};
  }
  int64_t columns = std::min(plan.column.count, (tall ? 4 : 8) * line / plan.item);
  int64_t rows = (tall ? 256 : 32) * line / plan.item;
  int64_t items = plan.row.count * plan.column.count;
  for (const Dim& dim : plan.outer) items *= dim.count;
  while (rows > 4 * line / plan.item && items < 32 * rows * columns) rows /= 2;
  if (tall && plan.row.count < rows) {  // short source rows: as much of more of them
    columns = std::min(plan.column.count, columns * (rows / plan.row.count));
  }
  return {std::min(plan.row.count, rows), columns};
}

/// Whether the destination rows of a plan begin with lines.
bool has_whole_lines(const Plan& plan, const uint8_t* dst) {
  return (reinterpret_cast<uintptr_t>(dst) | plan.row.dst) % line == 0;
}

void run(const Plan& plan, const uint8_t* src, uint8_t* dst, bool stream) {
  const bool tall = stream && has_whole_lines(plan, dst) &&
                    plan.row.count * plan.item >= copy_kernels::tall_row_bytes;
  Pieces piece = pieces_of(plan, tall);
  Dims dims = plan.outer;
  auto add = [&](const Dim& whole, int64_t size) {
    dims.push_back({(whole.count + size - 1) / size, whole.src * size, whole.dst * size});
  };
  add(plan.row, piece.rows);
  add(plan.column, piece.columns);
  int64_t count = 1;
  for (const Dim& dim : dims) count *= dim.count;
  int64_t grain = std::max<int64_t>(1, chunk_bytes / (piece.rows * piece.columns * plan.item));

  auto copy_pieces = [&](int64_t begin, int64_t end) {
    SmallVector<int64_t, 8> index(dims.size());
    int64_t rest = begin;
    for (int i = dims.ssize() - 1; i >= 0; --i) {
      index[i] = rest % dims[i].count;
      rest /= dims[i].count;
    }
    for (int64_t k = begin; k < end; ++k) {
      Plane plane{src, dst, plan.row, plan.column};
      for (size_t i = 0; i < dims.size(); ++i) {
        plane.src += index[i] * dims[i].src;
        plane.dst += index[i] * dims[i].dst;
      }
      int64_t row = index[dims.size() - 2] * piece.rows;
      int64_t column = index[dims.size() - 1] * piece.columns;
      plane.row.count = std::min(piece.rows, plan.row.count - row);
      plane.column.count = std::min(piece.columns, plan.column.count - column);
      copy_plane(plane, plan.item, plan.crossed, stream);
      for (int i = dims.ssize() - 1; i >= 0 && ++index[i] == dims[i].count; --i) index[i] = 0;
    }
    if (stream) stream_fence();
  };
  // Neighbours among the transposed ones read parts of the same pages.
  parallel_for(count, grain, copy_pieces, plan.crossed ? Chunks::in_turn : Chunks::apart);
}

}  // namespace

void copy_strided(int item_size, const void* src, const Shape& shape, const Strides& src_strides,
                  void* dst, const Strides* dst_strides) {
  int64_t count = element_count(shape);
  if (count == 0) return;
  const uint8_t* from = static_cast<const uint8_t*>(src);
  uint8_t* to = static_cast<uint8_t*>(dst);
  Dims dims = merged_dims(item_size, shape, src_strides,
                          dst_strides ? *dst_strides : row_major_strides(shape), from, to);
  run(planned(item_size, std::move(dims)), from, to, use_streaming(count * item_size));
}

void fill(int item_size, void* dst, int64_t n, const void* value) {
  bool stream = use_streaming(n * item_size);
  parallel_for(n, long_grain(n, chunk_bytes / item_size), [&](int64_t begin, int64_t end) {
    copy_kernels::fill_run(item_size, static_cast<uint8_t*>(dst) + begin * item_size,
                           (end - begin) * item_size, value, stream);
    if (stream) stream_fence();
  });
}

namespace {

/// The size in /sys (a container's view of sysconf may name the whole host's cache), or 0.
size_t cache_size_of_level(int level) {
  for (int index = 0; index < 8; ++index) {
    char path[96];
    auto read = [&](const char* file, const char* format, auto* value) {
      std::snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index,
                    file);
      std::FILE* stream = std::fopen(path, "r");
      if (stream == nullptr) return false;
      bool found = std::fscanf(stream, format, value) == 1;
      std::fclose(stream);
      return found;
    };
    int found_level = 0;
    size_t kilobytes = 0;
    if (!read("level", "%d", &found_level)) break;
    if (found_level == level && read("size", "%zuK", &kilobytes)) return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

size_t last_level_cache_bytes() {
  static const size_t bytes = [] {
    constexpr size_t usual = size_t{8} << 20;
    for (int level : {3, 2}) {
      if (size_t size = cache_size_of_level(level)) return size;
    }
    long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return size > 0 ? std::min<size_t>(size, 4 * usual) : usual;
  }();
  return bytes;
}

bool use_streaming(size_t bytes) {
  // A larger cache is one of many cores, most of them busy with other things, or of other virtual
  // machines, too: with 2 cores of a Xeon that has 300 MB, stores of 64 MB that bypass it take a
  // third of the time.
  constexpr size_t most = size_t{32} << 20;
  return bytes >= std::min(last_level_cache_bytes(), most);
}

}  // namespace rill
