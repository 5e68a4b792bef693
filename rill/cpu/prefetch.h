// Reading memory once, from end to end.
#pragma once

namespace rill {

/// Asks for the lines of `bytes` bytes from `p` on, which will be read soon. Any address is
/// allowed. Always inlined: GCC takes a function that only prefetches to have no effect, and drops
/// calls of it.
template <int bytes>
[[gnu::always_inline]] inline void prefetch_lines(const void* p) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(p) + i);
}

/// Asks for a line that will be read after some thousand cycles: it comes into the second cache.
[[gnu::always_inline]] inline void prefetch_later(const void* p) { __builtin_prefetch(p, 0, 2); }

/// The same for the lines of `bytes` bytes.
template <int bytes>
[[gnu::always_inline]] inline void prefetch_lines_later(const void* p) {
  for (int i = 0; i < bytes; i += 64) prefetch_later(static_cast<const char*>(p) + i);
}

/// For a pass over memory that is about to read `bytes` bytes at `p`: asks for those that it reads
/// 4 KiB later. The processor's own prefetching begins anew at every page, which costs a third of
/// the bandwidth.
template <int bytes>
[[gnu::always_inline]] inline void prefetch_lines_ahead(const void* p) {
  prefetch_lines<bytes>(static_cast<const char*>(p) + 4096);
}

}  // namespace rill
