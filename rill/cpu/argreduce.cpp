#include "rill/cpu/argreduce.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "rill/cpu/argreduce_kernels.h"
#include "rill/cpu/copy_kernels.h"
#include "rill/cpu/reduce_dims.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using argreduce_kernels::Kernel;

constexpr int64_t chunk_items = 32768;    // what one chunk of a parallel loop reads
constexpr int64_t gathered_items = 4096;  // of a row with gaps, packed at a time
constexpr int64_t segment = 1024;         // columns that one accumulator block holds
constexpr int64_t short_row = 16;         // below, rows are searched across, as columns

/// A search along `count` elements, `stride` apart.
struct Task {
  Kernel kernel;
  int item;
  const uint8_t* src;
  ReduceDims kept;
  int64_t count;
  int64_t stride;
  uint32_t* dst;
  std::optional<int32_t> unbeatable;  // of bool, a byte: where it is found, the search ends
};

/// The best element found so far and where.
struct Found {
  alignas(8) uint8_t best[8];
  int64_t index;
};

/// Whether nothing can be better than what was found.
bool is_final(const Task& task, const Found& found) {
  return task.unbeatable && std::memcmp(found.best, &*task.unbeatable, sizeof(int32_t)) == 0;
}

/// Where `byte` is first among `n` bytes; `n` if nowhere. Short searches are the usual ones.
int64_t first_place(const uint8_t* p, int64_t n, uint8_t byte) {
  constexpr uint64_t ones = 0x0101010101010101;
  if (n >= 8) {
    uint64_t bytes;
    std::memcpy(&bytes, p, 8);
    bytes ^= byte * ones;
    const uint64_t zeros = (bytes - ones) & ~bytes & (ones << 7);  // the lowest one is right
    if (zeros != 0) return std::countr_zero(zeros) / 8;
  }
  const void* at = std::memchr(p, byte, static_cast<size_t>(n));
  return at == nullptr ? n : static_cast<const uint8_t*>(at) - p;
}

/// Searches the elements [begin, end) of the row at `src` for one better than its first.
Found search(const Task& task, const uint8_t* src, int64_t begin, int64_t end) {
  const Kernel& kernel = task.kernel;
  Found found{{}, 0};
  kernel.start(src, found.best);
  if (task.unbeatable && task.stride == 1) {
    if (is_final(task, found)) return found;
    const int64_t at =
        begin + first_place(src + begin, end - begin, static_cast<uint8_t>(*task.unbeatable));
    if (at == end) return found;
    std::memcpy(found.best, &*task.unbeatable, sizeof(int32_t));
    found.index = at;
    return found;
  }
  alignas(64) uint8_t packed[gathered_items * 8];
  const int64_t most = task.stride == 1 ? chunk_items : gathered_items;
  int64_t tile = task.unbeatable ? 256 : most;
  for (int64_t i = begin, n = 0; i < end; i += n, tile = std::min(2 * tile, most)) {
    if (is_final(task, found)) break;
    n = std::min(tile, end - i);
    const uint8_t* p = src + i * task.stride * task.item;
    if (task.stride != 1) {
      copy_kernels::gather(task.item, p, n, task.stride, packed);
      p = packed;
    }
    if (int64_t at = kernel.improve(p, n, found.best); at >= 0) found.index = i + at;
  }
  return found;
}

/// Few long rows: parts of a row side by side, the first best one wins.
void search_long_rows(const Task& task) {
  constexpr int64_t part = 4 * chunk_items;
  int64_t parts = (task.count + part - 1) / part;
  std::vector<Found> found;
  for (int64_t k = items_of(task.kept) - 1; k >= 0; --k) {
    Offsets at = offsets(task.kept, k);
    const uint8_t* src = task.src + at.src * task.item;
    if (task.unbeatable) {  // likely to be among the first
      Found first = search(task, src, 0, std::min(task.count, part));
      task.dst[at.dst] = static_cast<uint32_t>(first.index);
      if (is_final(task, first)) continue;
    }
    found.resize(parts);
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        found[i] = search(task, src, i * part, std::min(task.count, (i + 1) * part));
      }
    });
    Found best = found[0];
    for (const Found& other : found) {
      if (task.kernel.better(other.best, best.best)) best = other;
    }
    task.dst[at.dst] = static_cast<uint32_t>(best.index);
  }
}

/// Calls `f` with the place of each of the rows [begin, end).
template <class F>
void for_rows(const ReduceDims& kept, int64_t begin, int64_t end, F&& f) {
  ReduceDims outer = kept;
  ReduceDim inner{1, 0, 0, false};
  if (!outer.empty()) {
    inner = outer.back();
    outer.pop_back();
  }
  for (int64_t k = begin; k < end;) {
    const int64_t first = k % inner.count;
    const int64_t count = std::min(end - k, inner.count - first);
    Offsets at = offsets(outer, k / inner.count);
    at = {at.src + first * inner.src, at.dst + first * inner.dst};
    for (const int64_t last = k + count; k < last; ++k) {
      f(at);
      at = {at.src + inner.src, at.dst + inner.dst};
    }
  }
}

/// Rows of bools: nearly all are decided by their first elements, whatever their length. What is
/// left is searched side by side.
void search_bool_rows(const Task& task) {
  constexpr int64_t glance = 64;
  constexpr uint32_t undecided = ~0u;
  const auto byte = static_cast<uint8_t>(*task.unbeatable);
  const int64_t few = std::min(glance, task.count);
  const int64_t rows = items_of(task.kept);
  const int64_t ahead = task.kept.empty() ? 0 : 24 * task.kept.back().src;  // a line of each row
  std::atomic<bool> is_left{false};
  parallel_for(rows, 8192, [&](int64_t begin, int64_t end) {
    bool left = false;
    for_rows(task.kept, begin, end, [&](Offsets at) {
      __builtin_prefetch(task.src + at.src + ahead);
      const int64_t place = first_place(task.src + at.src, few, byte);
      const bool open = place == few && few < task.count;
      task.dst[at.dst] = open ? undecided : place == few ? 0 : static_cast<uint32_t>(place);
      left |= open;
    });
    if (left) is_left.store(true, std::memory_order_relaxed);
  });
  if (!is_left.load(std::memory_order_relaxed)) return;
  std::vector<Offsets> open;
  for_rows(task.kept, 0, rows, [&](Offsets at) {
    if (task.dst[at.dst] == undecided) open.push_back(at);
  });
  const int64_t grain = std::max<int64_t>(1, chunk_items / task.count);
  parallel_for(std::ssize(open), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t place = few + first_place(task.src + open[i].src + few, task.count - few, byte);
      task.dst[open[i].dst] = place == task.count ? 0 : static_cast<uint32_t>(place);
    }
  });
}

void search_rows(const Task& task) {
  if (task.count > 16 * chunk_items) return search_long_rows(task);
  if (task.unbeatable && task.stride == 1) return search_bool_rows(task);
  int64_t rows = items_of(task.kept);
  int64_t grain = std::max<int64_t>(1, long_grain(rows * task.count, chunk_items) / task.count);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      Offsets at = offsets(task.kept, k);
      Found found = search(task, task.src + at.src * task.item, 0, task.count);
      task.dst[at.dst] = static_cast<uint32_t>(found.index);
    }
  });
}

/// The state of a block of columns.
struct Block {
  alignas(64) uint8_t best[segment * 8];
  alignas(64) uint8_t index[segment * 8];
};

/// Searches rows [begin, end) of `width` columns, `step` elements apart, from `src`.
void search_block(const Task& task, const uint8_t* src, int64_t begin, int64_t end, int64_t width,
                  int64_t step, Block& block) {
  const Kernel& kernel = task.kernel;
  for (int64_t j = 0; j < width; ++j) {
    kernel.start(src + j * step * task.item, block.best + j * kernel.best_size);
  }
  std::memset(block.index, 0, width * kernel.best_size);
  const uint8_t* p = src + begin * task.stride * task.item;
  if (step == 1) {
    return kernel.columns(p, end - begin, task.stride, width, begin, block.best, block.index);
  }
  constexpr int64_t rows = 4;
  alignas(64) uint8_t packed[rows * segment * 8];
  for (int64_t i = begin; i < end; i += rows) {
    int64_t count = std::min(rows, end - i);
    for (int64_t r = 0; r < count; ++r) {
      copy_kernels::gather(task.item, src + (i + r) * task.stride * task.item, width, step,
                           packed + r * segment * task.item);
    }
    kernel.columns(packed, count, segment, width, i, block.best, block.index);
  }
}

uint32_t index_at(const Block& block, int64_t j, int size) {
  if (size == 4) return reinterpret_cast<const uint32_t*>(block.index)[j];
  return static_cast<uint32_t>(reinterpret_cast<const uint64_t*>(block.index)[j]);
}

/// Takes what the block of later rows found better.
void merge(const Kernel& kernel, const Block& later, int64_t width, Block& block) {
  int size = kernel.best_size;
  for (int64_t j = 0; j < width; ++j) {
    if (!kernel.better(later.best + j * size, block.best + j * size)) continue;
    std::memcpy(block.best + j * size, later.best + j * size, size);
    std::memcpy(block.index + j * size, later.index + j * size, size);
  }
}

void search_columns(const Task& task) {
  ReduceDims outer = task.kept;
  ReduceDim inner = outer.back();
  outer.pop_back();
  int64_t width = std::min(segment, inner.count);
  int64_t segments = (inner.count + segment - 1) / segment;
  int64_t blocks = items_of(outer) * segments;
  // Few tall columns are cut; many are dealt out whole.
  int64_t band = std::max<int64_t>(64, 4 * chunk_items / width);
  int64_t bands = blocks >= 32 ? 1 : std::max<int64_t>(1, task.count / band);
  if (bands == 1) band = task.count;
  std::vector<Block> found(bands > 1 ? bands : 0);

  auto place = [&](int64_t k) {
    Offsets at = offsets(outer, k / segments);
    int64_t first = k % segments * segment;
    return Offsets{at.src + first * inner.src, at.dst + first * inner.dst};
  };
  auto columns_of = [&](int64_t k) {
    return std::min(segment, inner.count - k % segments * segment);
  };
  auto write = [&](int64_t k, const Block& block) {
    for (int64_t j = 0; j < columns_of(k); ++j) {
      task.dst[place(k).dst + j * inner.dst] = index_at(block, j, task.kernel.best_size);
    }
  };
  if (bands == 1) {
    int64_t grain = std::max<int64_t>(1, chunk_items / (task.count * width));
    return parallel_for(blocks, grain, [&](int64_t begin, int64_t end) {
      Block block;
      for (int64_t k = begin; k < end; ++k) {
        search_block(task, task.src + place(k).src * task.item, 0, task.count, columns_of(k),
                     inner.src, block);
        write(k, block);
      }
    });
  }
  for (int64_t k = 0; k < blocks; ++k) {
    parallel_for(bands, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t last = i == bands - 1 ? task.count : (i + 1) * band;
        search_block(task, task.src + place(k).src * task.item, i * band, last, columns_of(k),
                     inner.src, found[i]);
      }
    });
    for (int64_t i = 1; i < bands; ++i) merge(task.kernel, found[i], columns_of(k), found[0]);
    write(k, found[0]);
  }
}

void search_complex(ArgReduceKind kind, const complex64* src, const ReduceDims& kept, int64_t count,
                    int64_t stride, uint32_t* dst) {
  auto less = [](complex64 a, complex64 b) {
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
  };
  int64_t grain = std::max<int64_t>(1, chunk_items / (4 * count));
  parallel_for(items_of(kept), grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      Offsets at = offsets(kept, k);
      const complex64* p = src + at.src;
      int64_t best = 0;
      for (int64_t i = 1; i < count; ++i) {
        complex64 a = p[i * stride];
        complex64 b = p[best * stride];
        if (kind == ArgReduceKind::max ? less(b, a) : less(a, b)) best = i;
      }
      dst[at.dst] = static_cast<uint32_t>(best);
    }
  });
}

}  // namespace

void argreduce(ArgReduceKind kind, Dtype dtype, const void* src, const Shape& shape,
               const Strides& strides, int axis, uint32_t* dst) {
  ReduceDims kept;
  int64_t step = 1;
  for (int i = shape.ssize() - 1; i >= 0; --i) {
    if (i == axis) continue;
    if (shape[i] == 0) return;
    if (shape[i] > 1) kept.push_back({shape[i], strides[i], step, false});
    step *= shape[i];
  }
  sort_and_merge(kept);
  int64_t count = shape[axis];
  int64_t stride = count > 1 ? strides[axis] : 1;
  if (is_complex(dtype)) {
    return search_complex(kind, static_cast<const complex64*>(src), kept, count, stride, dst);
  }
  Task task{argreduce_kernels::find(kind, dtype),
            size_of(dtype),
            static_cast<const uint8_t*>(src),
            kept,
            count,
            stride,
            dst,
            {}};
  if (dtype == Dtype::bool_) task.unbeatable = kind == ArgReduceKind::max ? 1 : 0;
  bool across =
      !kept.empty() && (count < short_row || std::abs(kept.back().src) < std::abs(stride));
  if (across) search_columns(task);
  else search_rows(task);
}

}  // namespace rill
