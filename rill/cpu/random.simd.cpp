#include <algorithm>
#include <cstring>

#include "rill/base/half.h"
#include "rill/cpu/random_kernels.h"
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/random.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace rill::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using random_kernels::Blocks;
using random_kernels::Output;

constexpr int64_t line = 64;   // bytes of a cache line
constexpr int64_t tile = 512;  // blocks that pass through the first-level cache at a time
// Vectors of blocks in flight: one block is a chain of 70 steps. As many as there are registers
// for.
constexpr int batch = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

constexpr hn::ScalableTag<uint32_t> words{};
constexpr hn::ScalableTag<float> floats{};
constexpr hn::Rebind<uint16_t, decltype(words)> halves{};
using Words = hn::Vec<decltype(words)>;
using Floats = hn::Vec<decltype(floats)>;
using Halves = hn::Vec<decltype(halves)>;

/// The key schedule: what is added to both words before round 4 i.
struct Schedule {
  uint32_t add0[6];
  uint32_t add1[6];

  Schedule(uint32_t key0, uint32_t key1) {
    const uint32_t key[3] = {key0, key1, key0 ^ key1 ^ 0x1bd11bda};
    for (uint32_t i = 0; i < 6; ++i) {
      add0[i] = key[i % 3];
      add1[i] = key[(i + 1) % 3] + i;
    }
  }
};

template <int left>
HWY_INLINE Words RotateLeft(Words x) {
#if HWY_TARGET > HWY_AVX3 && HWY_TARGET != HWY_SCALAR
  // Whole bytes by one shuffle: otherwise a rotation takes three instructions.
  if constexpr (left % 8 == 0) {
    constexpr uint8_t k = 4 - left / 8;
    alignas(16) static constexpr uint8_t from[16] = {
        k % 4,      (k + 1) % 4,      (k + 2) % 4,      (k + 3) % 4,      //
        4 + k % 4,  4 + (k + 1) % 4,  4 + (k + 2) % 4,  4 + (k + 3) % 4,  //
        8 + k % 4,  8 + (k + 1) % 4,  8 + (k + 2) % 4,  8 + (k + 3) % 4,  //
        12 + k % 4, 12 + (k + 1) % 4, 12 + (k + 2) % 4, 12 + (k + 3) % 4};
    const hn::Repartition<uint8_t, decltype(words)> bytes;
    return hn::BitCast(words,
                       hn::TableLookupBytes(hn::BitCast(bytes, x), hn::LoadDup128(bytes, from)));
  }
#endif
  return hn::RotateRight<32 - left>(x);
}

template <int left>
HWY_INLINE void Round(Words* x0, Words* x1) {
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) x0[v] = hn::Add(x0[v], x1[v]);
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) x1[v] = RotateLeft<left>(x1[v]);
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) x1[v] = hn::Xor(x1[v], x0[v]);
}

HWY_INLINE void Inject(const Schedule& schedule, int i, Words* x0, Words* x1) {
  const Words add0 = hn::Set(words, schedule.add0[i]);
  const Words add1 = hn::Set(words, schedule.add1[i]);
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) x0[v] = hn::Add(x0[v], add0);
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) x1[v] = hn::Add(x1[v], add1);
}

/// Threefry-2x32 with 20 rounds, in place.
HWY_INLINE void Threefry(const Schedule& schedule, Words* x0, Words* x1) {
  Inject(schedule, 0, x0, x1);
  for (int i = 1; i <= 5; i += 2) {
    Round<13>(x0, x1);
    Round<15>(x0, x1);
    Round<26>(x0, x1);
    Round<6>(x0, x1);
    Inject(schedule, i, x0, x1);
    if (i == 5) break;
    Round<17>(x0, x1);
    Round<29>(x0, x1);
    Round<16>(x0, x1);
    Round<24>(x0, x1);
    Inject(schedule, i + 1, x0, x1);
  }
}

/// float(w) * 2^-32, at most `below`.
HWY_INLINE Floats Unit(Words w, float below) {
#if HWY_TARGET > HWY_AVX3 && HWY_TARGET != HWY_SCALAR
  // There is no conversion of unsigned words. Both halves are exact, and their sum is rounded once.
  const hn::RebindToSigned<decltype(words)> ints;
  const Words low = hn::And(w, hn::Set(words, 0xffff));
  const Floats tail =
      hn::Mul(hn::ConvertTo(floats, hn::BitCast(ints, low)), hn::Set(floats, 0x1p-32f));
  const Floats head = hn::ConvertTo(floats, hn::BitCast(ints, hn::ShiftRight<16>(w)));
  const Floats u = hn::MulAdd(head, hn::Set(floats, 0x1p-16f), tail);
#else
  const Floats u = hn::Mul(hn::ConvertTo(floats, w), hn::Set(floats, 0x1p-32f));
#endif
  return hn::Min(u, hn::Set(floats, below));
}

// Each maker turns a vector of words into items of its type.

struct MakeBits {
  using Item = uint32_t;
  explicit MakeBits(const Blocks&) {}
  HWY_INLINE Words operator()(Words w) const { return w; }
};

template <bool scaled>
struct MakeFloat32 {
  using Item = float;
  float low, range;
  explicit MakeFloat32(const Blocks& job) : low(job.low), range(job.range) {}
  HWY_INLINE Floats operator()(Words w) const {
    const Floats u = Unit(w, 0x1.fffffep-1f);
    if constexpr (!scaled) return u;
    return hn::Add(hn::Mul(u, hn::Set(floats, range)), hn::Set(floats, low));
  }
};

struct Float16 {
  static constexpr float below_one = 0x1.ffcp-1f;
  static HWY_INLINE Halves Narrow(Floats v) {
#if HWY_TARGET == HWY_SCALAR  // Highway's own conversions lose infinity there
    return hn::Set(halves, float16::round(hn::GetLane(v)));
#else
    return hn::BitCast(halves, hn::DemoteTo(hn::Rebind<hwy::float16_t, decltype(floats)>(), v));
#endif
  }
  static HWY_INLINE Floats Widen(Halves v) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(floats, float16::widen(hn::GetLane(v)));
#else
    const hn::Rebind<hwy::float16_t, decltype(floats)> d;
    return hn::PromoteTo(floats, hn::BitCast(d, v));
#endif
  }
};

struct Bfloat16 {
  static constexpr float below_one = 0x1.fep-1f;
  static HWY_INLINE Halves Narrow(Floats v) {
    const Words bits = hn::BitCast(words, v);
    const Words odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1));
    const Words up = hn::Add(hn::Add(bits, hn::Set(words, 0x7fff)), odd);
    const Words nan = hn::Or(bits, hn::Set(words, 0x400000));
    const Words rounded = hn::IfThenElse(hn::RebindMask(words, hn::IsNaN(v)), nan, up);
    return hn::TruncateTo(halves, hn::ShiftRight<16>(rounded));
  }
  static HWY_INLINE Floats Widen(Halves v) {
    return hn::BitCast(floats, hn::ShiftLeft<16>(hn::PromoteTo(words, v)));
  }
};

template <class Half, bool scaled>
struct MakeHalf {
  using Item = uint16_t;
  float low, range;
  explicit MakeHalf(const Blocks& job) : low(job.low), range(job.range) {}
  HWY_INLINE Halves operator()(Words w) const {
    Halves half = Half::Narrow(Unit(w, Half::below_one));
    if constexpr (scaled) {
      half = Half::Narrow(hn::Mul(Half::Widen(half), hn::Set(floats, range)));
      half = Half::Narrow(hn::Add(Half::Widen(half), hn::Set(floats, low)));
    }
    return half;
  }
};

/// Copies out of the cache; `stream` writes whole lines by non-temporal stores, the ragged ends by
/// plain ones. The loop is spelled out as GCC makes a slow `rep movs` of a short memcpy.
template <bool stream>
void CopyOut(const uint8_t* src, uint8_t* dst, int64_t bytes) {
  const int64_t ragged = stream ? -reinterpret_cast<intptr_t>(dst) & (line - 1) : 0;
  int64_t i = std::min(bytes, ragged);
  std::memcpy(dst, src, i);
  const hn::CappedTag<uint8_t, line> d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  for (; i + line <= bytes; i += line) {
    for (int64_t k = i; k < i + line; k += step) {
      const auto v = hn::LoadU(d, src + k);
      if constexpr (stream) hn::Stream(v, d, dst + k);
      else hn::StoreU(v, d, dst + k);
    }
  }
  std::memcpy(dst + i, src + i, bytes - i);
}

HWY_INLINE void SetCounters(uint32_t first, uint32_t offset, Words* x0, Words* x1) {
  const uint32_t lanes = static_cast<uint32_t>(hn::Lanes(words));
#pragma GCC unroll 8
  for (uint32_t v = 0; v < batch; ++v) x0[v] = hn::Iota(words, first + v * lanes);
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) x1[v] = hn::Add(x0[v], hn::Set(words, offset));
}

/// Whether whole lines can be written there. Nowhere is not.
HWY_INLINE bool Aligned(const void* at) {
  return at && reinterpret_cast<uintptr_t>(at) % line == 0;
}

template <bool stream, class Maker>
HWY_INLINE void WriteBatch(const Maker& make, const Words* x, typename Maker::Item* out) {
  const hn::Rebind<typename Maker::Item, decltype(words)> d;
#pragma GCC unroll 8
  for (int v = 0; v < batch; ++v) {
    const auto items = hn::BitCast(d, make(x[v]));
    if constexpr (stream) hn::Stream(items, d, out + v * hn::Lanes(words));
    else hn::Store(items, d, out + v * hn::Lanes(words));
  }
}

/// Blocks [begin, end) of the job. They are whole batches, or `lower` and `upper` have room for one
/// more.
template <bool stream, class Maker>
HWY_INLINE void MakeBlocks(const Blocks& job, int64_t begin, int64_t end,
                           typename Maker::Item* lower, typename Maker::Item* upper) {
  const Maker make(job);
  const Schedule schedule(job.key0, job.key1);
  const int64_t step = batch * static_cast<int64_t>(hn::Lanes(words));
  for (int64_t i = begin; i < end; i += step) {
    Words x0[batch], x1[batch];
    SetCounters(static_cast<uint32_t>(job.first + i), job.offset, x0, x1);
    Threefry(schedule, x0, x1);
    WriteBatch<stream>(make, x0, lower + (i - begin));
    WriteBatch<stream>(make, x1, upper + (i - begin));
  }
}

template <class Maker>
void RunBlocks(const Blocks& job) {
  using Item = typename Maker::Item;
  alignas(line) Item lower[tile];
  alignas(line) Item upper[tile];
  const auto flush = [&](const Item* from, void* to, int64_t begin, int64_t count) {
    if (!to) return;
    const auto* src = reinterpret_cast<const uint8_t*>(from);
    auto* dst = static_cast<uint8_t*>(to) + begin * sizeof(Item);
    if (job.stream) CopyOut<true>(src, dst, count * sizeof(Item));
    else CopyOut<false>(src, dst, count * sizeof(Item));
  };
  int64_t begin = 0;
  if (job.stream && Aligned(job.lower) && Aligned(job.upper)) {
    // Arithmetic and memory overlap where words go there straight from the registers.
    begin = job.count / tile * tile;
    MakeBlocks<true, Maker>(job, 0, begin, static_cast<Item*>(job.lower),
                            static_cast<Item*>(job.upper));
  }
  for (; begin < job.count; begin += tile) {
    const int64_t count = std::min(tile, job.count - begin);
    MakeBlocks<false, Maker>(job, begin, begin + count, lower, upper);
    flush(lower, job.lower, begin, count);
    flush(upper, job.upper, begin, count);
  }
}

void Run(const Blocks& job) {
  const bool scaled = job.low != 0 || job.range != 1;
  switch (job.output) {
    case Output::bits: return RunBlocks<MakeBits>(job);
    case Output::float32:
      return scaled ? RunBlocks<MakeFloat32<true>>(job) : RunBlocks<MakeFloat32<false>>(job);
    case Output::float16:
      return scaled ? RunBlocks<MakeHalf<Float16, true>>(job)
                    : RunBlocks<MakeHalf<Float16, false>>(job);
    case Output::bfloat16:
      return scaled ? RunBlocks<MakeHalf<Bfloat16, true>>(job)
                    : RunBlocks<MakeHalf<Bfloat16, false>>(job);
  }
}

}  // namespace rill::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(Run);

void random_kernels::run(const Blocks& job) { HWY_DYNAMIC_DISPATCH(Run)(job); }

}  // namespace rill
#endif  // HWY_ONCE
