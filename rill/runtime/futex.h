// Sleeping until a word in memory changes (Linux futex), and the pause of a spinning thread.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace rill::detail {

/// Sleeps while `word` is `value`, at most `timeout` if that is not zero. May return early.
inline void futex_wait(std::atomic<uint32_t>& word, uint32_t value,
                       std::chrono::nanoseconds timeout = {}) {
  timespec time{timeout.count() / 1'000'000'000, timeout.count() % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, timeout.count() > 0 ? &time : nullptr,
          nullptr, 0);
}

/// Wakes one thread that sleeps on `word`. The memory may be gone already: then a thread that
/// sleeps on what lies there now wakes for nothing, which futex_wait allows.
inline void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins until `ready()` or for about 20 us, which is less than sleeping and waking costs; says
/// whether it was ready.
template <class F>
bool spin_until(F ready) {
  constexpr auto limit = std::chrono::microseconds(20);
  if (ready()) return true;
  auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 16; ++i) {
      pause();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace rill::detail
