// Highway's sort of 32-bit keys with AVX2, for processors on which its AVX-512 form is slow.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/sort_words.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// The order of these two matters.
#include <hwy/contrib/sort/traits-inl.h>
#include <hwy/contrib/sort/vqsort-inl.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "rill/cpu/sort_kernels.h"

#if HWY_TARGET == HWY_AVX2
HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

template <class T>
void SortWords(T* keys, int64_t n) {
  using namespace hwy::HWY_NAMESPACE;  // NOLINT(google-build-using-namespace)
  const detail::SharedTraits<detail::TraitsLane<detail::OrderAscending<T>>> ascending;
  Sort(SortTag<T>(), ascending, keys, static_cast<size_t>(n), static_cast<T*>(nullptr));
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace rill::sort_kernels {

// The AVX-512 form stores through VPCOMPRESSD to memory, which Zen 4 (family 19h) does in
// microcode: 21 ns a key instead of 3.7.
bool prefers_avx2_words() {
#if (HWY_TARGETS & HWY_AVX2) && defined(__x86_64__)
  static const bool zen4 = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx) || ebx != signature_AMD_ebx) return false;
    __get_cpuid(1, &eax, &ebx, &ecx, &edx);
    const unsigned family = ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff);
    return family == 0x19 && (hwy::SupportedTargets() & HWY_AVX2) != 0;
  }();
  return zen4;
#else
  return false;
#endif
}

#if HWY_TARGETS & HWY_AVX2
void sort_words_avx2(int32_t* keys, int64_t n) { N_AVX2::SortWords(keys, n); }
void sort_words_avx2(uint32_t* keys, int64_t n) { N_AVX2::SortWords(keys, n); }
#else
void sort_words_avx2(int32_t*, int64_t) {}
void sort_words_avx2(uint32_t*, int64_t) {}
#endif

}  // namespace rill::sort_kernels
#endif
