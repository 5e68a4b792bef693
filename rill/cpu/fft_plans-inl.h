// DUCC's one-dimensional transforms, compiled for each of Highway's targets in a namespace of its
// own. DUCC decides at compile time what a vector is, from what the whole file is compiled for; so
// its vector header is replaced by ours, and its headers are read once for each target. Whatever
// they include must have been included before, outside of the target.
#if defined(RILL_CPU_FFT_PLANS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_FFT_PLANS_INL_H_
#undef RILL_CPU_FFT_PLANS_INL_H_
#else
#define RILL_CPU_FFT_PLANS_INL_H_
#endif

#include <hwy/highway.h>

#undef DUCC0_ALIGNED_ARRAY_H
#undef DUCC0_CMPLX_H
#undef DUCC0_ERROR_HANDLING_H
#undef DUCC0_FFT1D_IMPL_H
#undef DUCC0_FFT_H
#undef DUCC0_MAV_H
#undef DUCC0_MISC_UTILS_H
#undef DUCC0_THREADING_H
#undef DUCC0_UNITY_ROOTS_H
#undef DUCC0_USEFUL_MACROS_H
#define DUCC0_SIMD_H
#undef DUCC0_STDCXX_LOWLEVEL_THREADING

#undef DUCC0_NAMESPACE
#define DUCC0_NAMESPACE HWY_CONCAT(ducc_, HWY_NAMESPACE)

HWY_BEFORE_NAMESPACE();

namespace DUCC0_NAMESPACE {

inline constexpr size_t vector_bytes = HWY_TARGET == HWY_AVX3   ? 64
                                       : HWY_TARGET == HWY_AVX2 ? 32
                                                                : 16;

/// A vector of the target's full length, with what DUCC asks of one.
template <class T>
class Vector {
 public:
  using value_type = T;
  static constexpr size_t size() { return vector_bytes / sizeof(T); }

  Vector() = default;
  Vector(T x) : raw_(Raw{} + x) {}  // NOLINT(google-explicit-constructor): constants in formulas

  Vector operator-() const { return of(-raw_); }
  friend Vector operator+(Vector a, Vector b) { return of(a.raw_ + b.raw_); }
  friend Vector operator-(Vector a, Vector b) { return of(a.raw_ - b.raw_); }
  friend Vector operator*(Vector a, Vector b) { return of(a.raw_ * b.raw_); }
  Vector& operator+=(Vector b) { return *this = *this + b; }
  Vector& operator-=(Vector b) { return *this = *this - b; }
  Vector& operator*=(Vector b) { return *this = *this * b; }
  T& operator[](size_t i) { return reinterpret_cast<T*>(&raw_)[i]; }
  T operator[](size_t i) const { return raw_[i]; }

 private:
  typedef T Raw __attribute__((vector_size(vector_bytes)));  // NOLINT: GCC takes it no other way
  static Vector of(Raw raw) {
    Vector result;
    result.raw_ = raw;
    return result;
  }
  Raw raw_;
};

template <class T>
using native_simd = Vector<T>;
template <class T>
inline constexpr bool vectorizable = true;
template <class T, size_t count>
inline constexpr bool simd_exists = count == Vector<T>::size();
template <class T, size_t count>
struct simd_select {
  using type = Vector<T>;
};

}  // namespace DUCC0_NAMESPACE

#include <ducc0/fft/fft1d_impl.h>

// DUCC's parallel loops, run by the calling thread: we split the work above it.
namespace DUCC0_NAMESPACE {
namespace detail_threading {

class OneRange final : public Scheduler {
 public:
  explicit OneRange(size_t count) : rest_(0, count) {}
  size_t num_threads() const override { return 1; }
  size_t thread_num() const override { return 0; }
  Range getNext() override { return std::exchange(rest_, Range()); }

 private:
  Range rest_;
};

// DUCC declares these with functions by value.
// NOLINTBEGIN(performance-unnecessary-value-param)
inline void execStatic(size_t count, size_t, size_t, std::function<void(Scheduler&)> body) {
  OneRange all(count);
  body(all);
}
inline void execParallel(size_t begin, size_t end, size_t,
                         std::function<void(size_t, size_t)> body) {
  body(begin, end);
}
// NOLINTEND(performance-unnecessary-value-param)

}  // namespace detail_threading
}  // namespace DUCC0_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
