// Products of gathered, masked and segmented matrices: from nodes to gemm.
#include <algorithm>
#include <cstring>

#include "rill/cpu/backend.h"
#include "rill/cpu/gather_groups.h"
#include "rill/cpu/gemm.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/matrix_of.h"
#include "rill/ops/special_matmul.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

// About 30 us of one core.
constexpr int64_t task_products = int64_t{1} << 22;

int64_t grain_of(int64_t m, int64_t n, int64_t k) {
  return std::max<int64_t>(1, task_products / std::max<int64_t>(1, m * n * k));
}

/// Matrix `index` of an array of (batch, rows, cols).
Matrix matrix_at(const Output& array, int64_t index) {
  return {array.data + index * array.strides[0] * size_of(array.dtype), array.strides[1],
          array.strides[2]};
}

Matrix moved(const Matrix& matrix, int64_t row, int64_t col, int item) {
  const int64_t offset = row * matrix.row_stride + col * matrix.col_stride;
  return {static_cast<const char*>(matrix.data) + offset * item, matrix.row_stride,
          matrix.col_stride};
}

void copy_matrix(const Matrix& from, int64_t rows, int64_t cols, int item, void* to) {
  copy_strided(item, from.data, {rows, cols}, {from.row_stride, from.col_stride}, to);
}

// Rows that few products share are not worth a copy.
constexpr int64_t fewest_copied = 2;

void run_gather_mm(const Launch& launch) {
  const Output& a = launch.in(0);
  const Output& b = launch.in(1);
  Output& out = launch.out();
  allocate(out);
  const GatherGroups groups("gather_mm", launch.in(2), a.shape[0], launch.in(3), b.shape[0]);
  if (out.size == 0) return;
  const int item = size_of(out.dtype);
  const int64_t m = a.shape[1];
  const int64_t k = a.shape[2];
  const int64_t n = b.shape[2];
  auto place = [&](int64_t product) { return out.data + product * m * n * item; };
  auto multiply_each = [&](std::span<const int64_t> group) {
    for (int64_t i : group) {
      gemm({out.dtype, m, n, k}, matrix_at(a, groups.lhs[i]), matrix_at(b, groups.rhs[i]), place(i),
           n);
    }
  };
  auto multiply_together = [&](std::span<const int64_t> group) {
    const int64_t count = static_cast<int64_t>(group.size());
    Scratch memory(static_cast<size_t>(count * m * (k + n) * item));
    char* rows = memory.as<char>();
    char* sums = rows + count * m * k * item;
    for (int64_t j = 0; j < count; ++j) {
      copy_matrix(matrix_at(a, groups.lhs[group[j]]), m, k, item, rows + j * m * k * item);
    }
    gemm({out.dtype, count * m, n, k}, {rows, k, 1}, matrix_at(b, groups.rhs[group[0]]), sums, n);
    for (int64_t j = 0; j < count; ++j) {
      std::memcpy(place(group[j]), sums + j * m * n * item, static_cast<size_t>(m * n * item));
    }
  };
  parallel_for(groups.count(), grain_of(m, n, k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::span<const int64_t> group = groups.group(i);
      const bool together = static_cast<int64_t>(group.size()) >= fewest_copied && m < 128 && k > 0;
      if (together) multiply_together(group);
      else multiply_each(group);
    }
  });
}

/// One product of a batch, blocks of which are masked. T is the dtype of all but bool masks.
template <class T>
class BlockProduct {
 public:
  struct Mask {
    Matrix matrix;
    bool given = false;
    bool is_bool = false;

    const char* at(int64_t row, int64_t col, int item) const {
      return static_cast<const char*>(moved(matrix, row, col, item).data);
    }
    /// Whether the block is left out, whatever it holds.
    bool skips(int64_t row, int64_t col) const { return given && is_bool && *at(row, col, 1) == 0; }
    bool scales() const { return given && !is_bool; }
    T factor(int64_t row, int64_t col) const {
      return *reinterpret_cast<const T*>(at(row, col, sizeof(T)));
    }
  };

  GemmShape shape;
  Matrix a, b;
  Mask out_mask, lhs, rhs;
  int64_t block;
  T* out;

  void run() {
    // A sum in parts would round halves between them.
    const bool whole_depth = is_half(shape.dtype);
    Scratch left(copies(lhs.scales() || (lhs.given && whole_depth), shape.m * shape.k));
    Scratch right(copies(rhs.given, shape.k * shape.n));
    if (lhs.scales() || (lhs.given && whole_depth)) {
      a = masked(a, shape.m, shape.k, lhs, left.as<T>());
    }
    if (rhs.given) b = masked(b, shape.k, shape.n, rhs, right.as<T>());
    // Strips of rows whose blocks are left out alike are one product.
    for (int64_t row = 0; row < blocks(shape.m);) {
      int64_t end = row + 1;
      while (end < blocks(shape.m) && alike(row, end)) ++end;
      multiply_strip(row, end, whole_depth);
      row = end;
    }
    if (out_mask.scales()) scale(out, shape.m, shape.n, out_mask);
  }

 private:
  int64_t blocks(int64_t n) const { return (n + block - 1) / block; }
  static size_t copies(bool copy, int64_t count) {
    return copy ? static_cast<size_t>(count) * sizeof(T) : 0;
  }

  bool alike(int64_t row, int64_t other) const {
    for (int64_t j = 0; j < blocks(shape.n); ++j) {
      if (out_mask.skips(row, j) != out_mask.skips(other, j)) return false;
    }
    for (int64_t p = 0; p < blocks(shape.k); ++p) {
      if (lhs.skips(row, p) != lhs.skips(other, p)) return false;
    }
    return true;
  }

  /// Calls `f(begin, end)` for the runs of blocks in [0, count) that are not left out.
  template <class Skips, class F>
  void for_runs(int64_t count, Skips skips, F f) const {
    for (int64_t begin = 0; begin < count;) {
      int64_t end = begin;
      while (end < count && !skips(end)) ++end;
      if (end > begin) f(begin, end);
      begin = end + 1;
    }
  }

  void multiply_strip(int64_t row, int64_t end, bool whole_depth) {
    const int64_t top = row * block;
    const int64_t rows = std::min(end * block, shape.m) - top;
    for (int64_t i = top; i < top + rows; ++i) std::fill_n(out + i * shape.n, shape.n, T());
    auto skips_out = [&](int64_t j) { return out_mask.skips(row, j); };
    for_runs(blocks(shape.n), skips_out, [&](int64_t first, int64_t last) {
      const int64_t col = first * block;
      const int64_t cols = std::min(last * block, shape.n) - col;
      T* to = out + top * shape.n + col;
      auto skips = [&](int64_t p) {
        if (whole_depth) return false;
        if (lhs.skips(row, p)) return true;
        for (int64_t j = first; j < last; ++j) {
          if (!rhs.skips(p, j)) return false;
        }
        return true;
      };
      bool seeded = false;
      for_runs(blocks(shape.k), skips, [&](int64_t from, int64_t until) {
        const int64_t depth = from * block;
        const int64_t length = std::min(until * block, shape.k) - depth;
        GemmScale scale;
        if (seeded) scale = {1, 1, {to, shape.n, 1}};
        gemm({shape.dtype, rows, cols, length}, moved(a, top, depth, sizeof(T)),
             moved(b, depth, col, sizeof(T)), to, shape.n, scale);
        seeded = true;
      });
    });
  }

  void scale(T* x, int64_t rows, int64_t cols, const Mask& mask) const {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; j += block) {
        if (mask.skips(i / block, j / block)) {
          std::fill_n(x + i * cols + j, std::min(block, cols - j), T());
        } else if (mask.scales()) {
          const T factor = mask.factor(i / block, j / block);
          for (int64_t p = j; p < std::min(j + block, cols); ++p) {
            x[i * cols + p] = static_cast<T>(x[i * cols + p] * factor);
          }
        }
      }
    }
  }

  Matrix masked(const Matrix& matrix, int64_t rows, int64_t cols, const Mask& mask,
                T* memory) const {
    copy_matrix(matrix, rows, cols, sizeof(T), memory);
    scale(memory, rows, cols, mask);
    return {memory, cols, 1};
  }
};

template <class T>
void block_masked_mm(const Launch& launch) {
  const auto& attrs = launch.attrs<BlockMaskAttrs>();
  const Output& a = launch.in(0);
  const Output& b = launch.in(1);
  Output& out = launch.out();
  const int ndim = out.shape.ssize();
  const GemmShape shape{out.dtype, out.shape[ndim - 2], out.shape[ndim - 1], a.shape[ndim - 1]};
  const int64_t each = shape.m * shape.n;
  parallel_for(out.size / each, grain_of(shape.m, shape.n, shape.k),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   size_t next = 2;
                   auto mask = [&](bool given) -> typename BlockProduct<T>::Mask {
                     if (!given) return {};
                     const Output& values = launch.in(next++);
                     return {matrix_of(values, i), true, values.dtype == Dtype::bool_};
                   };
                   BlockProduct<T> product{shape,
                                           matrix_of(a, i),
                                           matrix_of(b, i),
                                           mask(attrs.out),
                                           mask(attrs.lhs),
                                           mask(attrs.rhs),
                                           attrs.block_size,
                                           reinterpret_cast<T*>(out.data) + i * each};
                   product.run();
                 }
               });
}

void run_block_masked_mm(const Launch& launch) {
  allocate(launch.out());
  if (launch.out().size == 0) return;
  switch (launch.out().dtype) {
    case Dtype::float16: return block_masked_mm<float16>(launch);
    case Dtype::bfloat16: return block_masked_mm<bfloat16>(launch);
    case Dtype::float64: return block_masked_mm<double>(launch);
    default: return block_masked_mm<float>(launch);
  }
}

struct Segment {
  int64_t begin;
  int64_t length;
};

Segment segment_at(const int64_t* bounds, int64_t index, int64_t size) {
  const int64_t from = bounds[2 * index];
  const int64_t to = bounds[2 * index + 1];
  require<std::out_of_range>(from >= 0 && from <= size && to >= 0 && to <= size,
                             "[segmented_mm] segment {} to {} is out of range for {} columns", from,
                             to, size);
  return {from, std::max<int64_t>(0, to - from)};
}

void run_segmented_mm(const Launch& launch) {
  const Output& a = launch.in(0);
  const Output& b = launch.in(1);
  Output& out = launch.out();
  allocate(out);
  const RowMajor bounds(launch.in(2));
  const int64_t count = out.shape[1];
  const int64_t m = out.shape[2];
  const int64_t n = out.shape[3];
  const int item = size_of(out.dtype);
  parallel_for(out.shape[0] * count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      auto [from, length] = segment_at(bounds.as<int64_t>(), i, a.shape[2]);
      gemm({out.dtype, m, n, length}, moved(matrix_at(a, i / count), 0, from, item),
           moved(matrix_at(b, i / count), from, 0, item), out.data + i * m * n * item, n);
    }
  });
}

// Segments may overlap, so those of one product are added in order.
void run_segmented_join(const Launch& launch) {
  const Output& parts = launch.in(0);
  const Output& b = launch.in(1);
  Output& out = launch.out();
  allocate(out);
  std::memset(out.data, 0, out.bytes());
  if (out.size == 0) return;
  const RowMajor bounds(launch.in(2));
  const int64_t count = parts.shape[1];
  const int64_t m = out.shape[1];
  const int64_t k = out.shape[2];
  const int64_t n = parts.shape[3];
  const int item = size_of(out.dtype);
  for (int64_t i = 0; i < out.shape[0] * count; ++i) {
    auto [from, length] = segment_at(bounds.as<int64_t>(), i, k);
    char* to = out.data + (i / count * m * k + from) * item;
    const int64_t offset = i / count * parts.strides[0] + i % count * parts.strides[1];
    const Matrix part{parts.data + offset * item, parts.strides[2], parts.strides[3]};
    const Matrix rows = moved(matrix_at(b, i / count), from, 0, item);
    gemm({out.dtype, m, length, n}, part, {rows.data, rows.col_stride, rows.row_stride}, to, k,
         {1, 1, {to, k, 1}});
  }
}

}  // namespace

void add_special_matmul_kernels() {
  set_cpu_kernel(gather_mm_op, run_gather_mm);
  set_cpu_kernel(block_masked_mm_op, run_block_masked_mm);
  set_cpu_kernel(segmented_mm_op, run_segmented_mm);
  set_cpu_kernel(segmented_join_op, run_segmented_join);
}

}  // namespace rill
