// Reductions of broadcast arrays: what is read again and again is read once.
#include <memory>

#include "rill/cpu/copy.h"
#include "rill/cpu/reduce_dims.h"
#include "rill/cpu/reduce_kernels.h"

namespace rill {

namespace {

/// The sum of `n` times the same number, rounded once.
template <class T>
T times(T value, int64_t n) {
  if constexpr (std::is_same_v<T, complex64>) {
    return {times(value.real(), n), times(value.imag(), n)};
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(static_cast<double>(value) * static_cast<double>(n));
  } else {
    return static_cast<T>(static_cast<uint64_t>(value) * static_cast<uint64_t>(n));
  }
}

/// The product of `n` times the same number.
template <class T>
T power(T value, int64_t n) {
  T result = T(1);
  for (; n > 0; n /= 2) {
    if (n % 2 == 1) result = result * value;
    value = value * value;
  }
  return result;
}

template <class T>
void repeat(ReduceKind kind, T* values, int64_t count, int64_t n) {
  for (int64_t i = 0; i < count; ++i) {
    values[i] = kind == ReduceKind::sum ? times(values[i], n) : power(values[i], n);
  }
}

/// As if each of the `count` accumulators had been combined `n` times with itself.
void repeat(ReduceKind kind, Dtype acc, uint8_t* values, int64_t count, int64_t n) {
  switch (acc) {
    case Dtype::float32: return repeat(kind, reinterpret_cast<float*>(values), count, n);
    case Dtype::float64: return repeat(kind, reinterpret_cast<double*>(values), count, n);
    case Dtype::complex64: return repeat(kind, reinterpret_cast<complex64*>(values), count, n);
    default: break;
  }
  if (size_of(acc) == 4) return repeat(kind, reinterpret_cast<uint32_t*>(values), count, n);
  repeat(kind, reinterpret_cast<uint64_t*>(values), count, n);
}

/// How often each element is met along the axes of `reduced`, and each result along the others.
struct Repeats {
  Shape distinct;  // the shape without them
  Shape results;   // the kept axes
  Strides places;  // of the results among the distinct ones
  int64_t reduced = 1;
};

Repeats repeats_of(const Shape& shape, const Strides& strides, const Axes& axes) {
  Repeats found{shape, {}, {}};
  int64_t step = 1;
  int next_axis = axes.ssize() - 1;
  for (int i = shape.ssize() - 1; i >= 0; --i) {
    const bool is_reduced = next_axis >= 0 && axes[next_axis] == i;
    if (is_reduced) --next_axis;
    const bool repeated = strides[i] == 0 && shape[i] > 1;
    if (repeated) found.distinct[i] = 1;
    if (is_reduced) {
      if (repeated) found.reduced *= shape[i];
      continue;
    }
    found.results.insert(found.results.begin(), shape[i]);
    found.places.insert(found.places.begin(), repeated ? 0 : step);
    step *= found.distinct[i];
  }
  return found;
}

}  // namespace

void reduce(ReduceKind kind, Dtype in, const void* src, const Shape& shape, const Strides& strides,
            const Axes& axes, Dtype out, void* dst) {
  RILL_ASSERT(out == reduced_dtype(kind, in));
  const Repeats repeats = repeats_of(shape, strides, axes);
  if (repeats.distinct == shape || element_count(shape) == 0) {
    return reduce_distinct(kind, in, src, shape, strides, axes, out, dst);
  }
  const bool combines = kind == ReduceKind::sum || kind == ReduceKind::prod;
  const bool through_acc = combines && repeats.reduced > 1 && is_half(out);
  const Dtype acc = through_acc ? Dtype::float32 : out;
  int64_t count = 1;
  for (size_t i = 0; i < repeats.results.size(); ++i) {
    if (repeats.places[i] != 0) count *= repeats.results[i];
  }
  auto results = std::make_unique_for_overwrite<uint8_t[]>(count * size_of(acc));
  reduce_distinct(kind, in, src, repeats.distinct, strides, axes, acc, results.get());
  if (combines && repeats.reduced > 1) {
    repeat(kind, acc, results.get(), count, repeats.reduced);
    if (through_acc) {
      auto rounded = std::make_unique_for_overwrite<uint8_t[]>(count * size_of(out));
      reduce_kernels::finish(acc, results.get(), count, out, rounded.get());
      results = std::move(rounded);
    }
  }
  copy_strided(size_of(out), results.get(), repeats.results, repeats.places, dst);
}

}  // namespace rill
