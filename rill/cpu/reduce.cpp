#include "rill/cpu/reduce.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "rill/cpu/copy_kernels.h"
#include "rill/cpu/reduce_dims.h"
#include "rill/cpu/reduce_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {

void sort_by_stride(ReduceDims& dims) {
  std::sort(dims.begin(), dims.end(), [](const ReduceDim& a, const ReduceDim& b) {
    return std::abs(a.src) > std::abs(b.src);
  });
}

void sort_and_merge(ReduceDims& dims) {
  sort_by_stride(dims);
  ReduceDims merged;
  for (const ReduceDim& dim : dims) {
    if (!merged.empty() && merged.back().src == dim.src * dim.count &&
        merged.back().dst == dim.dst * dim.count) {
      merged.back() = {merged.back().count * dim.count, dim.src, dim.dst, dim.reduced};
    } else {
      merged.push_back(dim);
    }
  }
  dims = std::move(merged);
}

namespace {

using reduce_kernels::Kernel;

constexpr int64_t chunk_items = 32768;            // what one chunk of a parallel loop reads
constexpr int64_t tile_items = 32768;             // of a row, reduced into one partial result
constexpr int64_t gathered_items = 4096;          // the same of a row with gaps
constexpr int64_t segment = 4096;                 // columns that one accumulator block holds
constexpr int64_t fold_width = 128;               // columns to which narrow rows are folded
constexpr int64_t short_row = shortest_made_row;  // below, rows are reduced across, as columns

using Dim = ReduceDim;
using Dims = ReduceDims;

/// One reduction over one dimension of `count` elements, `stride` apart.
struct Pass {
  ReduceKind kind;
  Kernel kernel;
  Dtype in;
  Dtype out;  // that of the accumulators, or what they are to be converted to
  const uint8_t* src;
  Dims kept;  // source strides falling
  int64_t count;
  int64_t stride;
  uint8_t* dst;

  int item() const { return size_of(in); }
  int acc_size() const { return size_of(kernel.acc); }
  bool converts() const { return is_half(out) || out == Dtype::bool_; }
};

void run(const Pass& pass);

std::unique_ptr<uint8_t[]> scratch(int64_t bytes) {
  return std::make_unique_for_overwrite<uint8_t[]>(bytes);
}

/// The dimensions as they lie in a buffer of partial results, `inner` of them per element.
Dims over_partials(Dims dims, int64_t inner) {
  for (int i = dims.ssize() - 1; i >= 0; --i) {
    dims[i].src = inner;
    inner *= dims[i].count;
  }
  return dims;
}

/// The pass that reduces `parts` partial results of each element, `stride` apart.
Pass combining(const Pass& pass, const uint8_t* partials, Dims kept, int64_t parts,
               int64_t stride) {
  Dtype acc = pass.kernel.acc;
  return {pass.kind, reduce_kernels::find(pass.kind, acc),
          acc,       pass.out,
          partials,  std::move(kept),
          parts,     stride,
          pass.dst};
}

/// Writes `n` finished accumulators to `dst`, `stride` elements apart.
void write_results(const Pass& pass, const uint8_t* acc, int64_t n, uint8_t* dst, int64_t stride) {
  int size = size_of(pass.out);
  if (stride == 1) return reduce_kernels::finish(pass.kernel.acc, acc, n, pass.out, dst);
  constexpr int64_t some = 64;
  alignas(64) uint8_t results[some * 8];
  for (int64_t i = 0; i < n; i += some) {
    int64_t count = std::min(some, n - i);
    reduce_kernels::finish(pass.kernel.acc, acc + i * pass.acc_size(), count, pass.out, results);
    for (int64_t k = 0; k < count; ++k) {
      std::memcpy(dst + (i + k) * stride * size, results + k * size, size);
    }
  }
}

/// One partial result: `n` elements of a row from `src`.
void reduce_tile(const Pass& pass, const uint8_t* src, int64_t n, uint8_t* acc) {
  const Kernel& kernel = pass.kernel;
  if (pass.stride == 1) return kernel.rows(src, 1, 0, n, kernel.mask, acc);
  alignas(64) uint8_t packed[gathered_items * 8];
  copy_kernels::gather(pass.item(), src, n, pass.stride, packed);
  kernel.rows(packed, 1, 0, n, kernel.mask, acc);
}

/// Whether `acc`, of some of the elements, is the result whatever the others are.
bool is_decided(const Pass& pass, const uint8_t* acc) {
  bool zero = std::all_of(acc, acc + pass.acc_size(), [](uint8_t byte) { return byte == 0; });
  return zero ? pass.kind == ReduceKind::all : pass.kind == ReduceKind::any;
}

/// Long rows: each in tiles, whose results are then reduced.
void reduce_rows_in_tiles(const Pass& pass, int64_t tile) {
  int64_t tiles = (pass.count + tile - 1) / tile;
  int64_t rows = items_of(pass.kept);
  if (rows == 1 && (pass.kind == ReduceKind::all || pass.kind == ReduceKind::any)) {
    alignas(64) uint8_t first[8];
    reduce_tile(pass, pass.src, std::min(pass.count, gathered_items), first);
    if (is_decided(pass, first)) return write_results(pass, first, 1, pass.dst, 1);
  }
  auto partials = scratch(rows * tiles * pass.acc_size());
  int64_t grain = std::max<int64_t>(1, long_grain(rows * pass.count, chunk_items) / tile);
  parallel_for(rows * tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      int64_t first = k % tiles * tile;
      int64_t at = offsets(pass.kept, k / tiles).src + first * pass.stride;
      reduce_tile(pass, pass.src + at * pass.item(), std::min(tile, pass.count - first),
                  partials.get() + k * pass.acc_size());
    }
  });
  run(combining(pass, partials.get(), over_partials(pass.kept, tiles), tiles, 1));
}

void reduce_rows(const Pass& pass) {
  int64_t tile = pass.stride == 1 ? tile_items : gathered_items;
  if (pass.count > tile) return reduce_rows_in_tiles(pass, tile);
  const Kernel& kernel = pass.kernel;
  Dims outer = pass.kept;
  Dim inner{1, 0, 1, false};
  if (!outer.empty()) {
    inner = outer.back();
    outer.pop_back();
  }
  constexpr int64_t most = 256;  // rows at a time
  auto body = [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t acc[most * 8];
    for (int64_t k = begin; k < end;) {
      int64_t first = k % inner.count;
      int64_t rows = std::min({most, end - k, inner.count - first});
      Offsets at = offsets(outer, k / inner.count);
      const uint8_t* src = pass.src + (at.src + first * inner.src) * pass.item();
      uint8_t* dst = pass.dst + (at.dst + first * inner.dst) * size_of(pass.out);
      bool direct = inner.dst == 1 && !pass.converts();
      uint8_t* to = direct ? dst : acc;
      if (pass.stride == 1) {
        kernel.rows(src, rows, inner.src, pass.count, kernel.mask, to);
      } else {
        for (int64_t i = 0; i < rows; ++i) {
          reduce_tile(pass, src + i * inner.src * pass.item(), pass.count,
                      to + i * pass.acc_size());
        }
      }
      if (!direct) write_results(pass, acc, rows, dst, inner.dst);
      k += rows;
    }
  };
  int64_t rows = items_of(pass.kept);
  int64_t chunk = long_grain(rows * pass.count, chunk_items);
  parallel_for(rows, std::max<int64_t>(1, chunk / std::max(pass.count, short_row)), body);
}

/// Reduces `rows` rows of `width` columns, the columns `step` elements apart, into `acc`.
void reduce_band(const Pass& pass, const uint8_t* src, int64_t rows, int64_t width, int64_t step,
                 uint8_t* acc) {
  const Kernel& kernel = pass.kernel;
  int64_t fold = fold_width / width;
  if (step == 1 && pass.stride == width && fold > 1 && rows >= 8 * fold) {
    // Narrow rows that follow one another: several at once as one wide row.
    alignas(64) uint8_t wide[fold_width * 8];
    int64_t folded = rows / fold;
    kernel.columns(src, folded, width * fold, width * fold, kernel.mask, true, wide);
    Kernel combine = reduce_kernels::find(pass.kind, kernel.acc);
    combine.columns(wide, fold, width, width, combine.mask, true, acc);
    int64_t done = folded * fold;
    kernel.columns(src + done * width * pass.item(), rows - done, width, width, kernel.mask, false,
                   acc);
    return;
  }
  if (step == 1 || rows == 0) {
    return kernel.columns(src, rows, pass.stride, width, kernel.mask, true, acc);
  }
  constexpr int64_t side = 512;
  alignas(64) uint8_t packed[8 * side * 8];
  for (int64_t j = 0; j < width; j += side) {
    int64_t columns = std::min(side, width - j);
    for (int64_t i = 0; i < rows; i += 8) {
      int64_t count = std::min<int64_t>(8, rows - i);
      for (int64_t r = 0; r < count; ++r) {
        copy_kernels::gather(pass.item(), src + ((i + r) * pass.stride + j * step) * pass.item(),
                             columns, step, packed + r * side * pass.item());
      }
      kernel.columns(packed, count, side, columns, kernel.mask, i == 0, acc + j * pass.acc_size());
    }
  }
}

void reduce_columns(const Pass& pass) {
  Dims outer = pass.kept;
  Dim inner = outer.back();
  outer.pop_back();
  int64_t width = std::min(inner.count, segment);
  int64_t segments = (inner.count + segment - 1) / segment;
  // Tall columns are cut: for the threads, and to bound the roundings in sequence.
  int64_t band = std::max<int64_t>(64, 2 * chunk_items / width / 8 * 8);
  int64_t bands = pass.count < 2 * band ? 1 : (pass.count + band - 1) / band;
  if (bands == 1) band = pass.count;
  int acc_size = pass.acc_size();
  std::unique_ptr<uint8_t[]> partials;
  if (bands > 1) partials = scratch(items_of(pass.kept) * bands * acc_size);

  auto body = [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t acc[segment * 8];
    for (int64_t k = begin; k < end; ++k) {
      int64_t first = k % segments * segment;
      int64_t row = k / segments % bands * band;
      int64_t block = k / segments / bands;
      Offsets at = offsets(outer, block);
      int64_t columns = std::min(segment, inner.count - first);
      int64_t rows = std::min(band, pass.count - row);
      const uint8_t* src =
          pass.src + (at.src + row * pass.stride + first * inner.src) * pass.item();
      uint8_t* dst = pass.dst + (at.dst + first * inner.dst) * size_of(pass.out);
      bool direct = inner.dst == 1 && !pass.converts();
      uint8_t* to = direct ? dst : acc;
      if (bands > 1) to = partials.get() + (k / segments * inner.count + first) * acc_size;
      reduce_band(pass, src, rows, columns, inner.src, to);
      if (to == acc) write_results(pass, acc, columns, dst, inner.dst);
    }
  };
  int64_t units = items_of(outer) * bands * segments;
  int64_t unit = std::max<int64_t>(band, 1) * width;
  parallel_for(units, std::max<int64_t>(1, long_grain(units * unit, chunk_items) / unit), body);
  if (bands == 1) return;
  Dims kept = over_partials(outer, bands * inner.count);
  kept.push_back({inner.count, 1, inner.dst, false});
  run(combining(pass, partials.get(), std::move(kept), bands, inner.count));
}

/// Rows of elements that lie 2 or 4 apart. What lies between them goes through the same registers;
/// it may be that of further results, as the imaginary parts beside the real ones.
bool is_interleaved(const Pass& pass) {
  bool decides = pass.kind == ReduceKind::all || pass.kind == ReduceKind::any;  // may end early
  return (pass.stride == 2 || pass.stride == 4) && pass.count >= short_row && !decides &&
         (pass.kept.empty() || std::abs(pass.kept.back().src) >= pass.stride ||
          (pass.kept.back().src == 1 && pass.kept.back().count <= pass.stride));
}

void reduce_interleaved(const Pass& pass) {
  const int64_t period = pass.stride;
  Dims outer = pass.kept;
  Dim inner{1, 1, 1, false};  // the results that are side by side
  if (!outer.empty() && outer.back().src == 1) {
    inner = outer.back();
    outer.pop_back();
  }
  const int64_t tile = tile_items / period;
  const int64_t tiles = (pass.count + tile - 1) / tile;
  const int64_t rows = items_of(outer);
  const int64_t result_bytes = inner.count * pass.acc_size();
  std::unique_ptr<uint8_t[]> partials;
  if (tiles > 1) partials = scratch(rows * tiles * result_bytes);
  const int64_t unit = std::min(tile, pass.count) * period;
  int64_t grain = std::max<int64_t>(1, long_grain(rows * pass.count * period, chunk_items) / unit);
  parallel_for(rows * tiles, grain, [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t lanes[reduce_kernels::lane_bytes];
    alignas(64) uint8_t acc[4 * 8];
    for (int64_t k = begin; k < end; ++k) {
      const int64_t first = k % tiles * tile;
      const Offsets at = offsets(outer, k / tiles);
      const uint8_t* src = pass.src + (at.src + first * period) * pass.item();
      const int64_t last = std::min(tile, pass.count - first) - 1;
      pass.kernel.add(src, last * period + inner.count, true, pass.kernel.mask, lanes);
      pass.kernel.totals(lanes, period, acc);
      if (tiles > 1) {
        std::memcpy(partials.get() + k * result_bytes, acc, result_bytes);
      } else {
        write_results(pass, acc, inner.count, pass.dst + at.dst * size_of(pass.out), inner.dst);
      }
    }
  });
  if (tiles == 1) return;
  Dims kept = over_partials(outer, tiles * inner.count);
  if (inner.count > 1) kept.push_back({inner.count, 1, inner.dst, false});
  run(combining(pass, partials.get(), std::move(kept), tiles, inner.count));
}

void run(const Pass& pass) {
  if (is_interleaved(pass)) return reduce_interleaved(pass);
  bool across = !pass.kept.empty() && (pass.stride == 0 || pass.count < short_row ||
                                       std::abs(pass.kept.back().src) < std::abs(pass.stride));
  if (across) reduce_columns(pass);
  else reduce_rows(pass);
}

/// The dimension to reduce first: a long contiguous one, else the largest. Little is left after it.
int first_to_reduce(const Dims& reduced) {
  int last = reduced.ssize() - 1;
  if (std::abs(reduced[last].src) == 1 && reduced[last].count >= short_row) return last;
  auto smaller = [](const Dim& a, const Dim& b) { return a.count < b.count; };
  return static_cast<int>(std::max_element(reduced.begin(), reduced.end(), smaller) -
                          reduced.begin());
}

/// Reduces one dimension after the other; all but the last leave accumulators.
void reduce_dims(ReduceKind kind, Dtype in, const uint8_t* src, Dims kept, Dims reduced, Dtype out,
                 uint8_t* dst) {
  std::unique_ptr<uint8_t[]> held;
  while (reduced.size() > 1) {
    int pick = first_to_reduce(reduced);
    Dim dim = reduced[pick];
    reduced.erase(reduced.begin() + pick);
    Dims rest = kept;
    rest.append(reduced.begin(), reduced.end());
    sort_by_stride(rest);
    Dims placed = rest;
    int64_t step = 1;
    for (int i = placed.ssize() - 1; i >= 0; --i) {
      placed[i].dst = step;
      step *= placed[i].count;
    }
    Kernel kernel = reduce_kernels::find(kind, in);
    auto partial = scratch(step * size_of(kernel.acc));
    run({kind, kernel, in, kernel.acc, src, placed, dim.count, dim.src, partial.get()});
    kept.clear();
    reduced.clear();
    for (size_t i = 0; i < rest.size(); ++i) {
      Dims& group = rest[i].reduced ? reduced : kept;
      group.push_back({rest[i].count, placed[i].dst, rest[i].dst, rest[i].reduced});
    }
    sort_and_merge(kept);
    sort_and_merge(reduced);
    in = kernel.acc;
    held = std::move(partial);
    src = held.get();
  }
  Dim last = reduced.empty() ? Dim{1, 1, 0, true} : reduced[0];
  run({kind, reduce_kernels::find(kind, in), in, out, src, std::move(kept), last.count, last.src,
       dst});
}

}  // namespace

Dtype reduced_dtype(ReduceKind kind, Dtype in) {
  switch (kind) {
    case ReduceKind::all:
    case ReduceKind::any: return Dtype::bool_;
    case ReduceKind::min:
    case ReduceKind::max: return in;
    default: break;
  }
  if (size_of(in) >= 4 || is_floating(in)) return in;
  return is_unsigned(in) ? Dtype::uint32 : Dtype::int32;
}

void reduce_distinct(ReduceKind kind, Dtype in, const void* src, const Shape& shape,
                     const Strides& strides, const Axes& axes, Dtype out, void* dst) {
  if (in == Dtype::bool_ && kind == ReduceKind::min) kind = ReduceKind::all;
  if (in == Dtype::bool_ && kind == ReduceKind::max) kind = ReduceKind::any;
  const uint8_t* from = static_cast<const uint8_t*>(src);
  Dims kept;
  Dims reduced;
  bool nothing = false;
  int64_t step = 1;
  int next_axis = axes.ssize() - 1;
  for (int i = shape.ssize() - 1; i >= 0; --i) {
    bool is_reduced = next_axis >= 0 && axes[next_axis] == i;
    if (is_reduced) --next_axis;
    if (!is_reduced && shape[i] == 0) return;
    if (is_reduced && shape[i] == 0) nothing = true;
    if (shape[i] <= 1) continue;
    Dim dim{shape[i], strides[i], is_reduced ? 0 : step, is_reduced};
    if (!is_reduced) {
      kept.push_back(dim);
      step *= shape[i];
      continue;
    }
    if (dim.src < 0) {  // the order of a reduction is ours to choose
      from += (dim.count - 1) * dim.src * size_of(in);
      dim.src = -dim.src;
    }
    reduced.push_back(dim);
  }
  if (nothing) reduced = Dims{Dim{0, 1, 0, true}};
  bool logical = kind == ReduceKind::all || kind == ReduceKind::any;
  uint8_t* to = static_cast<uint8_t*>(dst);
  if (is_complex(in) && kind == ReduceKind::sum) {
    for (Dims* dims : {&kept, &reduced}) {
      for (Dim& dim : *dims) dim = {dim.count, 2 * dim.src, 2 * dim.dst, dim.reduced};
    }
    kept.push_back({2, 1, 1, false});
    in = out = Dtype::float32;
  }
  sort_and_merge(kept);
  sort_and_merge(reduced);
  if (is_complex(in) && !logical) {
    return reduce_complex(kind, reinterpret_cast<const complex64*>(from), kept, reduced,
                          reinterpret_cast<complex64*>(to));
  }
  reduce_dims(kind, in, from, std::move(kept), std::move(reduced), out, to);
}

namespace {

/// Memory of this thread for as many elements as are made before they are reduced.
void* piece_of_thread() {
  alignas(64) thread_local uint8_t memory[reduce_kernels::block_items(1)];
  return memory;
}

}  // namespace

void reduce_made_rows(ReduceKind kind, Dtype in, int64_t rows, int64_t n, Dtype out, void* dst,
                      FunctionRef<void(int64_t, int64_t, void*)> make) {
  RILL_ASSERT(n >= short_row && !is_complex(in) && out == reduced_dtype(kind, in));
  Kernel kernel = reduce_kernels::find(kind, in);
  Pass pass{kind, kernel, in, out, nullptr, {}, n, 1, static_cast<uint8_t*>(dst)};
  if (rows > 1) pass.kept.push_back({rows, n, 1, false});
  const int acc_size = pass.acc_size();
  const int64_t piece = reduce_kernels::block_items(acc_size);  // it fits the first cache
  // The elements [first, last) of a long row.
  auto reduce_run = [&](int64_t first, int64_t last, uint8_t* acc) {
    alignas(64) uint8_t lanes[reduce_kernels::lane_bytes];
    for (int64_t at = first; at < last; at += piece) {
      const int64_t count = std::min(piece, last - at);
      make(at, at + count, piece_of_thread());
      kernel.add(piece_of_thread(), count, at == first, kernel.mask, lanes);
    }
    kernel.totals(lanes, 1, acc);
  };
  if (n > tile_items) {
    int64_t tiles = (n + tile_items - 1) / tile_items;
    auto partials = scratch(rows * tiles * acc_size);
    parallel_for(rows * tiles, 1, [&](int64_t k, int64_t) {
      const int64_t row = k / tiles * n;
      const int64_t first = k % tiles * tile_items;
      reduce_run(row + first, row + std::min(n, first + tile_items), partials.get() + k * acc_size);
    });
    return run(combining(pass, partials.get(), over_partials(pass.kept, tiles), tiles, 1));
  }
  const int64_t rows_of_piece = std::max<int64_t>(1, piece / n);
  parallel_for(rows, std::min<int64_t>(256, tile_items / n), [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t acc[256 * 8];
    for (int64_t row = begin, count; row < end; row += count) {
      count = std::min(rows_of_piece, end - row);
      uint8_t* to = acc + (row - begin) * acc_size;
      if (n > piece) {
        reduce_run(row * n, (row + 1) * n, to);
      } else {
        make(row * n, (row + count) * n, piece_of_thread());
        kernel.rows(piece_of_thread(), count, n, n, kernel.mask, to);
      }
    }
    write_results(pass, acc, end - begin, pass.dst + begin * size_of(out), 1);
  });
}

void reduce_squares(Dtype in, const void* src, int64_t rows, int64_t n, void* dst) {
  Pass pass{ReduceKind::sum,
            reduce_kernels::find_squares(in),
            in,
            in,
            static_cast<const uint8_t*>(src),
            {},
            n,
            1,
            static_cast<uint8_t*>(dst)};
  if (rows > 1) pass.kept.push_back({rows, n, 1, false});
  reduce_rows(pass);
}

}  // namespace rill
