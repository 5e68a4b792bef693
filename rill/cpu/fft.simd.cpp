#include "rill/cpu/fft_kernels.h"

// What DUCC's headers include.
#include <malloc.h>
#include <string.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numbers>
#include <numeric>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <typeinfo>
#include <utility>
#include <vector>

#include "rill/cpu/fft_roots.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/fft.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/fft_plans-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

namespace ducc = DUCC0_NAMESPACE;
namespace hn = hwy::HWY_NAMESPACE;
using fft_kernels::Job;
using fft_kernels::Kernels;
using fft_kernels::Lines;
using fft_kernels::Precision;
using fft_kernels::Split;

template <class T>
using Vec = ducc::Vector<T>;
template <class T>
using ComplexVec = ducc::Cmplx<Vec<T>>;
template <class T>
constexpr int lanes = static_cast<int>(Vec<T>::size());
static_assert(lanes<float> <= fft_kernels::most_lanes);

/// The plans of this process, by length. Making one takes about as long as running it ten times.
template <class Plan>
std::shared_ptr<const Plan> FindPlan(int64_t n) {
  static constexpr size_t most_bytes = size_t{64} << 20;
  struct Store {
    std::mutex mutex;
    std::map<int64_t, std::shared_ptr<const Plan>> plans;
    size_t bytes = 0;
  };
  static Store& store = *new Store;  // threads may end after the statics
  static thread_local std::pair<int64_t, std::shared_ptr<const Plan>> last;
  if (last.first == n) return last.second;
  {
    std::lock_guard lock(store.mutex);
    auto found = store.plans.find(n);
    if (found != store.plans.end()) {
      last = *found;
      return found->second;
    }
  }
  // No passes of vectors within a line: ours are made of lines.
  auto plan = std::make_shared<const Plan>(static_cast<size_t>(n), false);
  std::lock_guard lock(store.mutex);
  size_t bytes = plan->footprint() + 1024;
  if (store.bytes + bytes > most_bytes) {
    store.plans.clear();
    store.bytes = 0;
  }
  if (bytes <= most_bytes && store.plans.emplace(n, plan).second) store.bytes += bytes;
  last = {n, plan};
  return plan;
}

/// Element i of lane l of a buffer of complex vectors: the real part; the imaginary part follows
/// lanes<T> further on.
template <class T>
T* At(T* buffer, int64_t i, int lane) {
  return buffer + i * 2 * lanes<T> + lane;
}

template <class E>
const E* Pointer(const char* base, int64_t i, int64_t step) {
  return reinterpret_cast<const E*>(base + i * step);
}
template <class E>
E* Pointer(char* base, int64_t i, int64_t step) {
  return reinterpret_cast<E*>(base + i * step);
}

/// Whether the lines lie side by side and fill a vector.
template <class P>
bool SideBySide(const P* starts, int count, int full, int64_t item) {
  if (count != full) return false;
  for (int lane = 1; lane < count; ++lane) {
    if (starts[lane] - starts[lane - 1] != item) return false;
  }
  return true;
}

/// Element i of every lane of x, from consecutive complex numbers and to them.
template <class T>
void Spread(const T* from, int64_t i, T* x) {
  const hn::CappedTag<T, lanes<T>> d;
  for (int lane = 0; lane < lanes<T>; lane += static_cast<int>(hn::Lanes(d))) {
    hn::Vec<decltype(d)> re;
    hn::Vec<decltype(d)> im;
    hn::LoadInterleaved2(d, from + 2 * lane, re, im);
    hn::StoreU(re, d, At(x, i, lane));
    hn::StoreU(im, d, At(x, i, lanes<T> + lane));
  }
}
template <class T>
void Gather(const T* x, int64_t i, T* to) {
  const hn::CappedTag<T, lanes<T>> d;
  for (int lane = 0; lane < lanes<T>; lane += static_cast<int>(hn::Lanes(d))) {
    hn::StoreInterleaved2(hn::LoadU(d, At(x, i, lane)), hn::LoadU(d, At(x, i, lanes<T> + lane)), d,
                          to + 2 * lane);
  }
}

/// Points that go together between lines and lanes: each line of the cache is used up at once.
constexpr int64_t tile = 8;

/// Complex numbers of type T into the lanes of x. Lanes without a line repeat the first.
template <class T>
void LoadComplex(const Lines& lines, int64_t n, T* x) {
  if (SideBySide(lines.src, lines.count, lanes<T>, 2 * sizeof(T))) {
    for (int64_t i = 0; i < n; ++i) Spread(Pointer<T>(lines.src[0], i, lines.src_step), i, x);
    return;
  }
  alignas(64) T block[tile * 2 * lanes<T>];
  for (int64_t begin = 0; begin < n; begin += tile) {
    int64_t count = std::min(tile, n - begin);
    for (int lane = 0; lane < lanes<T>; ++lane) {
      const char* src = lines.src[lane < lines.count ? lane : 0] + begin * lines.src_step;
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(block + 2 * (i * lanes<T> + lane), src + i * lines.src_step, 2 * sizeof(T));
      }
    }
    for (int64_t i = 0; i < count; ++i) Spread(block + i * 2 * lanes<T>, begin + i, x);
  }
}

template <class T>
void LoadReal(const Lines& lines, int64_t n, T* x) {
  for (int64_t begin = 0; begin < n; begin += tile) {
    int64_t end = std::min(n, begin + tile);
    for (int lane = 0; lane < lanes<T>; ++lane) {
      const char* src = lines.src[lane < lines.count ? lane : 0];
      for (int64_t i = begin; i < end; ++i) {
        x[i * lanes<T> + lane] = *Pointer<T>(src, i, lines.src_step);
      }
    }
  }
}

/// Half a spectrum into the order that DUCC's real transforms use: r0, r1, i1, r2, i2, ...
template <class T>
void LoadHalf(const Lines& lines, int64_t n, T* x) {
  for (int64_t begin = 0; 2 * begin <= n; begin += tile) {
    int64_t end = std::min(n / 2 + 1, begin + tile);
    for (int lane = 0; lane < lanes<T>; ++lane) {
      const char* src = lines.src[lane < lines.count ? lane : 0];
      T* to = x + lane;
      for (int64_t i = begin; i < end; ++i) {
        const float* from = Pointer<float>(src, i, lines.src_step);
        to[std::max<int64_t>(0, 2 * i - 1) * lanes<T>] = from[0];
        if (i > 0 && 2 * i < n) to[2 * i * lanes<T>] = from[1];
      }
    }
  }
}

/// The lanes of x to complex64.
template <class T>
void StoreComplex(const Lines& lines, int64_t n, const T* x) {
  if constexpr (std::is_same_v<T, float>) {
    if (SideBySide(lines.dst, lines.count, lanes<T>, 2 * sizeof(T))) {
      for (int64_t i = 0; i < n; ++i) Gather(x, i, Pointer<T>(lines.dst[0], i, lines.dst_step));
      return;
    }
  }
  alignas(64) T block[tile * 2 * lanes<T>];
  for (int64_t begin = 0; begin < n; begin += tile) {
    int64_t count = std::min(tile, n - begin);
    for (int64_t i = 0; i < count; ++i) Gather(x, begin + i, block + i * 2 * lanes<T>);
    for (int lane = 0; lane < lines.count; ++lane) {
      char* dst = lines.dst[lane] + begin * lines.dst_step;
      for (int64_t i = 0; i < count; ++i) {
        const T* from = block + 2 * (i * lanes<T> + lane);
        const float pair[] = {static_cast<float>(from[0]), static_cast<float>(from[1])};
        std::memcpy(dst + i * lines.dst_step, pair, sizeof(pair));
      }
    }
  }
}

/// DUCC's order to half a spectrum, or to all of it (conjugate if `inverse`).
template <class T>
void StoreSpectrum(const Job& job, const Lines& lines, const T* x) {
  T sign = job.inverse ? T(-1) : T(1);
  for (int64_t begin = 0; 2 * begin <= job.n; begin += tile) {
    int64_t end = std::min(job.n / 2 + 1, begin + tile);
    for (int lane = 0; lane < lines.count; ++lane) {
      const T* from = x + lane;
      char* dst = lines.dst[lane];
      auto put = [&](int64_t i, T re, T im) {
        float* to = Pointer<float>(dst, i, lines.dst_step);
        to[0] = static_cast<float>(re);
        to[1] = static_cast<float>(im);
      };
      for (int64_t i = begin; i < end; ++i) {
        bool alone = i == 0 || 2 * i == job.n;  // a real frequency
        T re = from[std::max<int64_t>(0, 2 * i - 1) * lanes<T>];
        T im = alone ? T(0) : sign * from[2 * i * lanes<T>];
        put(i, re, im);
        if (job.kind == FftKind::full && !alone) put(job.n - i, re, -im);
      }
    }
  }
}

template <class T>
void StoreReal(const Lines& lines, int64_t n, const T* x) {
  for (int64_t begin = 0; begin < n; begin += tile) {
    int64_t end = std::min(n, begin + tile);
    for (int lane = 0; lane < lines.count; ++lane) {
      for (int64_t i = begin; i < end; ++i) {
        *Pointer<float>(lines.dst[lane], i, lines.dst_step) =
            static_cast<float>(x[i * lanes<T> + lane]);
      }
    }
  }
}

template <class T>
void TransformComplex(const Job& job, const Lines& lines) {
  auto plan = FindPlan<ducc::pocketfft_c<T>>(job.n);
  size_t n = static_cast<size_t>(job.n);
  Scratch memory((n + plan->bufsize()) * sizeof(ComplexVec<T>));
  auto* x = memory.as<ComplexVec<T>>();
  LoadComplex(lines, job.n, memory.as<T>());
  auto* result = plan->exec(x, x + n, static_cast<T>(job.scale), !job.inverse);
  StoreComplex(lines, job.n, reinterpret_cast<const T*>(result));
}

template <class T>
void TransformReal(const Job& job, const Lines& lines) {
  auto plan = FindPlan<ducc::pocketfft_r<T>>(job.n);
  size_t n = static_cast<size_t>(job.n);
  Scratch memory((n + plan->bufsize()) * sizeof(Vec<T>));
  auto* x = memory.as<Vec<T>>();
  bool back = job.kind == FftKind::real;
  if (back) LoadHalf(lines, job.n, memory.as<T>());
  else LoadReal(lines, job.n, memory.as<T>());
  auto* result = reinterpret_cast<const T*>(plan->exec(x, x + n, static_cast<T>(job.scale), !back));
  if (back) StoreReal(lines, job.n, result);
  else StoreSpectrum(job, lines, result);
}

void Transform(const Job& job, const Lines& lines) {
  bool wide = job.precision == Precision::wide;
  if (job.kind == FftKind::complex) TransformComplex<float>(job, lines);
  else if (wide) TransformReal<double>(job, lines);
  else TransformReal<float>(job, lines);
}

struct Forward : Roots {
  Forward(size_t n, bool) : Roots(static_cast<int64_t>(n), false) {}
};
struct Inverse : Roots {
  Inverse(size_t n, bool) : Roots(static_cast<int64_t>(n), true) {}
};

/// Multiplies element k of lane l by root (first + l) * k.
template <class T>
void Turn(const Roots& roots, int64_t n, int64_t first, int64_t rows, ComplexVec<T>* x) {
  constexpr int64_t fine_count = 32;
  const int64_t coarse_count = (rows - 1) / fine_count + 1;
  Scratch memory(static_cast<size_t>(fine_count + coarse_count) * sizeof(ComplexVec<T>));
  T* fine = memory.as<T>();
  T* coarse = At(fine, fine_count, 0);
  auto fill = [&](T* table, int64_t count, int64_t stride) {
    for (int64_t k = 0; k < count; ++k) {
      for (int lane = 0; lane < lanes<T>; ++lane) {
        auto root = roots[(first + lane) * k * stride % n];
        *At(table, k, lane) = static_cast<T>(root.real());
        *At(table, k, lanes<T> + lane) = static_cast<T>(root.imag());
      }
    }
  };
  fill(fine, std::min(fine_count, rows), 1);
  fill(coarse, coarse_count, fine_count);
  auto* fine_vectors = reinterpret_cast<const ComplexVec<T>*>(fine);
  auto* coarse_vectors = reinterpret_cast<const ComplexVec<T>*>(coarse);
  for (int64_t k = 0; k < rows; ++k) {
    x[k] = x[k] * (coarse_vectors[k / fine_count] * fine_vectors[k % fine_count]);
  }
}

/// The lanes of x to consecutive numbers, one lane after the other `stride` numbers apart.
template <class T>
void StoreLanes(const T* x, int64_t n, int count, int64_t stride, T* dst) {
  alignas(64) T block[tile * 2 * lanes<T>];
  for (int64_t begin = 0; begin < n; begin += tile) {
    int64_t points = std::min(tile, n - begin);
    for (int64_t i = 0; i < points; ++i) Gather(x, begin + i, block + i * 2 * lanes<T>);
    for (int lane = 0; lane < count; ++lane) {
      T* to = dst + 2 * (lane * stride + begin);
      for (int64_t i = 0; i < points; ++i) {
        std::memcpy(to + 2 * i, block + 2 * (i * lanes<T> + lane), 2 * sizeof(T));
      }
    }
  }
}

template <class T>
void ColumnsOf(const Split& split, int64_t begin, int64_t end) {
  const auto& [job, rows, columns, src, src_step, dst, dst_step, between] = split;
  auto plan = FindPlan<ducc::pocketfft_c<T>>(rows);
  std::shared_ptr<const Roots> roots;
  if (job.inverse) roots = FindPlan<Inverse>(job.n);
  else roots = FindPlan<Forward>(job.n);
  Scratch memory((static_cast<size_t>(rows) + plan->bufsize()) * sizeof(ComplexVec<T>));
  auto* x = memory.as<ComplexVec<T>>();
  for (int64_t column = begin; column < end; column += lanes<T>) {
    Lines lines;
    lines.count = static_cast<int>(std::min<int64_t>(lanes<T>, end - column));
    for (int lane = 0; lane < lines.count; ++lane) {
      lines.src[lane] = src + (column + lane) * src_step;
    }
    lines.src_step = columns * src_step;
    LoadComplex(lines, rows, memory.as<T>());
    auto* result = plan->exec(x, x + rows, T(1), !job.inverse);
    Turn<T>(*roots, job.n, column, rows, result);
    StoreLanes(reinterpret_cast<const T*>(result), rows, lines.count, rows,
               static_cast<T*>(between) + 2 * column * rows);
  }
}

template <class T>
void RowsOf(const Split& split, int64_t begin, int64_t end) {
  const auto& [job, rows, columns, src, src_step, dst, dst_step, between] = split;
  auto plan = FindPlan<ducc::pocketfft_c<T>>(columns);
  Scratch memory((static_cast<size_t>(columns) + plan->bufsize()) * sizeof(ComplexVec<T>));
  auto* x = memory.as<ComplexVec<T>>();
  for (int64_t row = begin; row < end; row += lanes<T>) {
    Lines lines;
    lines.count = static_cast<int>(std::min<int64_t>(lanes<T>, end - row));
    for (int lane = 0; lane < lines.count; ++lane) {
      lines.src[lane] =
          reinterpret_cast<const char*>(static_cast<const T*>(between) + 2 * (row + lane));
      lines.dst[lane] = dst + (row + lane) * dst_step;
    }
    lines.src_step = rows * 2 * static_cast<int64_t>(sizeof(T));
    lines.dst_step = rows * dst_step;
    LoadComplex(lines, columns, memory.as<T>());
    auto* result = plan->exec(x, x + columns, static_cast<T>(job.scale), !job.inverse);
    StoreComplex(lines, columns, reinterpret_cast<const T*>(result));
  }
}

void Columns(const Split& split, int64_t begin, int64_t end) {
  if (split.job.precision == Precision::wide) ColumnsOf<double>(split, begin, end);
  else ColumnsOf<float>(split, begin, end);
}
void Rows(const Split& split, int64_t begin, int64_t end) {
  if (split.job.precision == Precision::wide) RowsOf<double>(split, begin, end);
  else RowsOf<float>(split, begin, end);
}

Kernels FindKernels() { return {{lanes<float>, lanes<double>}, Transform, Columns, Rows}; }

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindKernels);

namespace fft_kernels {

const Kernels& kernels() {
  static const Kernels found = HWY_DYNAMIC_DISPATCH(FindKernels)();
  return found;
}

}  // namespace fft_kernels
}  // namespace rill
#endif
