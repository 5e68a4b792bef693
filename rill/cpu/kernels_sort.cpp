// Sorting along one axis.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/sort_rows.h"
#include "rill/ops/sort.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using sort_kernels::WideRank;

constexpr int64_t grain = sort_grain;

/// Counts equal keys instead of comparing. `T` is an integer of one or two bytes.
template <class T>
void count_sort(const T* src, int64_t n, T* dst) {
  using U = std::make_unsigned_t<T>;
  constexpr int64_t values = int64_t{1} << (8 * sizeof(T));
  constexpr auto lowest = static_cast<U>(std::numeric_limits<T>::lowest());
  if (n < values / 8) {
    if (dst != src) std::copy(src, src + n, dst);
    return std::sort(dst, dst + n);
  }
  std::vector<int64_t> counts(values);
  for (int64_t i = 0; i < n; ++i) ++counts[static_cast<U>(static_cast<U>(src[i]) - lowest)];
  for (int64_t value = 0; value < values; ++value) {
    dst = std::fill_n(dst, counts[value], static_cast<T>(static_cast<U>(value + lowest)));
  }
}

/// nan last, in the real part before the imaginary one.
bool is_before(float a, float b) { return a < b || (b != b && a == a); }
bool is_before(complex64 a, complex64 b) {
  if (is_before(a.real(), b.real())) return true;
  return !is_before(b.real(), a.real()) && is_before(a.imag(), b.imag());
}

template <class K>
void sort_keys_of_rows(K* keys, int64_t rows, int64_t n) {
  constexpr int64_t many = 1 << 16;
  if constexpr (sizeof(K) == 2) {
    if (n >= many) {
      for (int64_t i = 0; i < rows; ++i) count_sort(keys + i * n, n, keys + i * n);
      return;
    }
  }
  sort_key_rows(keys, rows, n);
}

/// Sorts rows of `n` elements from `src` to `dst`, which may be the same, on this thread.
template <class K>
void sort_some_rows(Dtype dtype, const K* src, int64_t rows, int64_t n, K* dst) {
  if constexpr (sizeof(K) == 1) {
    for (int64_t i = 0; i < rows; ++i) count_sort(src + i * n, n, dst + i * n);
  } else {
    sort_kernels::to_keys(dtype, src, rows * n, dst);
    sort_keys_of_rows(dst, rows, n);
    sort_kernels::from_keys(dtype, dst, rows * n);
  }
}

template <class K>
void sort_long_row(Dtype dtype, const K* src, int64_t n, K* dst) {
  Ref<Buffer> scratch = Buffer::allocate(n * sizeof(K));
  K* keys = static_cast<K*>(scratch->data());
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    sort_kernels::to_keys(dtype, src + begin, end - begin, keys + begin);
  });
  sort_long_keys<K>(keys, n, dst, [&](int64_t begin, int64_t end) {
    sort_kernels::from_keys(dtype, dst + begin, end - begin);
  });
}

}  // namespace

void sort_rows(Dtype dtype, const char* src, int64_t rows, int64_t n, char* dst) {
  auto of_keys = [&]<class K>(type_tag<K>) {
    const K* from = reinterpret_cast<const K*>(src);
    K* to = reinterpret_cast<K*>(dst);
    auto chunk = [&](int64_t begin, int64_t end) {
      sort_some_rows(dtype, from + begin * n, end - begin, n, to + begin * n);
    };
    if constexpr (sizeof(K) < 4) {
      parallel_for(rows, std::max<int64_t>(1, grain / n), chunk);
    } else {
      for_rows(rows, n, chunk,
               [&](int64_t i) { sort_long_row(dtype, from + i * n, n, to + i * n); });
    }
  };
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8: return of_keys(type_tag<uint8_t>());
    case Dtype::int8: return of_keys(type_tag<int8_t>());
    case Dtype::uint16: return of_keys(type_tag<uint16_t>());
    case Dtype::uint32: return of_keys(type_tag<uint32_t>());
    case Dtype::uint64: return of_keys(type_tag<uint64_t>());
    case Dtype::int16:
    case Dtype::float16:
    case Dtype::bfloat16: return of_keys(type_tag<int16_t>());
    case Dtype::int32:
    case Dtype::float32: return of_keys(type_tag<int32_t>());
    case Dtype::int64:
    case Dtype::float64: return of_keys(type_tag<int64_t>());
    case Dtype::complex64: break;
  }
  auto* numbers = reinterpret_cast<complex64*>(dst);
  if (src != dst) std::memcpy(dst, src, rows * n * sizeof(complex64));
  parallel_for(rows, std::max<int64_t>(1, grain / n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::stable_sort(numbers + i * n, numbers + (i + 1) * n,
                       [](complex64 a, complex64 b) { return is_before(a, b); });
    }
  });
}

namespace {

uint32_t index_of(uint64_t rank) { return static_cast<uint32_t>(rank); }
uint32_t index_of(const WideRank& rank) { return static_cast<uint32_t>(rank.index); }

template <class Rank>
void argsort_ranks(Dtype dtype, const char* src, int64_t rows, int64_t n, uint32_t* dst) {
  const int item = size_of(dtype);
  auto chunk = [&](int64_t begin, int64_t end) {
    const int64_t rows_here = end - begin;
    Ref<Buffer> memory = Buffer::allocate(rows_here * n * sizeof(Rank));
    auto* ranks = static_cast<Rank*>(memory->data());
    for (int64_t i = 0; i < rows_here; ++i) {
      sort_kernels::to_ranks(dtype, src + (begin + i) * n * item, n, 0, ranks + i * n);
    }
    sort_key_rows(ranks, rows_here, n);
    uint32_t* to = dst + begin * n;
    for (int64_t k = 0; k < rows_here * n; ++k) to[k] = index_of(ranks[k]);
  };
  auto long_row = [&](int64_t i) {
    Ref<Buffer> memory = Buffer::allocate(2 * n * sizeof(Rank));
    auto* ranks = static_cast<Rank*>(memory->data());
    Rank* sorted = ranks + n;
    parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      sort_kernels::to_ranks(dtype, src + (i * n + begin) * item, end - begin,
                             static_cast<uint32_t>(begin), ranks + begin);
    });
    sort_long_keys<Rank>(ranks, n, sorted, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) dst[i * n + k] = index_of(sorted[k]);
    });
  };
  for_rows(rows, n, chunk, long_row);
}

void argsort_complex_rows(const char* src, int64_t rows, int64_t n, uint32_t* dst) {
  const auto* numbers = reinterpret_cast<const complex64*>(src);
  parallel_for(rows, std::max<int64_t>(1, grain / n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint32_t* order = dst + i * n;
      std::iota(order, order + n, 0);
      std::stable_sort(order, order + n, [row = numbers + i * n](uint32_t a, uint32_t b) {
        return is_before(row[a], row[b]);
      });
    }
  });
}

/// The order of dimensions that puts `axis` last.
template <class V>
V moved_last(const V& values, int axis) {
  V moved = values;
  std::rotate(moved.begin() + axis, moved.begin() + axis + 1, moved.end());
  return moved;
}

}  // namespace

void argsort_rows(Dtype dtype, const char* src, int64_t rows, int64_t n, uint32_t* dst) {
  if (is_complex(dtype)) argsort_complex_rows(src, rows, n, dst);
  else if (size_of(dtype) == 8) argsort_ranks<WideRank>(dtype, src, rows, n, dst);
  else argsort_ranks<uint64_t>(dtype, src, rows, n, dst);
}

void with_rows(const Launch& launch, int axis, RunRows run) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  const int64_t n = out.shape[axis];
  const Shape shape = moved_last(in.shape, axis);
  const Strides source = moved_last(in.strides, axis);
  const Strides target = moved_last(out.strides, axis);
  Ref<Buffer> copy;
  const char* from = in.data;
  if (!is_row_major(shape, source)) {
    copy = Buffer::allocate(in.bytes());
    copy_strided(size_of(in.dtype), in.data, shape, source, copy->data());
    from = static_cast<const char*>(copy->data());
  }
  if (is_row_major(shape, target)) return run(from, out.size / n, n, out.data);
  Ref<Buffer> result = Buffer::allocate(out.bytes());
  run(from, out.size / n, n, static_cast<char*>(result->data()));
  Strides strides = row_major_strides(shape);
  copy_strided(size_of(out.dtype), result->data(), shape, strides, out.data, &target);
}

namespace {

void run_sort(const Launch& launch) {
  with_rows(launch, launch.attrs<SortAttrs>().axis,
            [&](const char* from, int64_t rows, int64_t n, char* to) {
              sort_rows(launch.in(0).dtype, from, rows, n, to);
            });
}

void run_argsort(const Launch& launch) {
  with_rows(launch, launch.attrs<SortAttrs>().axis,
            [&](const char* from, int64_t rows, int64_t n, char* to) {
              require(n <= int64_t{1} << 32, "[argsort] {} elements have no uint32 indices", n);
              argsort_rows(launch.in(0).dtype, from, rows, n, reinterpret_cast<uint32_t*>(to));
            });
}

}  // namespace

void add_sort_kernels() {
  set_cpu_kernel(sort_op, run_sort);
  set_cpu_kernel(argsort_op, run_argsort);
}

}  // namespace rill
