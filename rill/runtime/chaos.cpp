#include "rill/runtime/chaos.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace rill::chaos {
namespace {

uint64_t seed() {
  const char* text = std::getenv("RILL_CHAOS");
  return text ? std::strtoull(text, nullptr, 10) : 0;
}

uint64_t mixed(uint64_t x) {  // the finalizer of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::atomic<uint64_t> threads{0};

}  // namespace

const bool enabled = std::getenv("RILL_CHAOS") != nullptr;

uint32_t below(uint32_t bound) {
  constexpr uint64_t golden = 0x9e3779b97f4a7c15;
  thread_local uint64_t state =
      mixed(seed() + golden * (1 + threads.fetch_add(1, std::memory_order_relaxed)));
  state += golden;
  return static_cast<uint32_t>((mixed(state) >> 32) * bound >> 32);
}

void delay() {
  switch (below(16)) {
    case 0: {
      auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(below(50));
      while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
      break;
    }
    case 1: std::this_thread::yield(); break;
    default: break;
  }
}

}  // namespace rill::chaos
