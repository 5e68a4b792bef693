// Measures what this machine allows: memory passes over 16M floats and the multiply-add rate.
// Prints one JSON object: add, copy, fill, sum in milliseconds (medians) and gflops (best).

#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif
typedef float Vector __attribute__((vector_size(lanes * sizeof(float)), may_alias));

constexpr size_t count = size_t{1} << 24;
constexpr int rounds = 41;

/// Writes past the caches where the instruction set can.
inline void stream(float* to, Vector value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, reinterpret_cast<__m512>(value));
#elif defined(__AVX__)
  _mm256_stream_ps(to, reinterpret_cast<__m256>(value));
#elif defined(__SSE__)
  _mm_stream_ps(to, reinterpret_cast<__m128>(value));
#else
  *reinterpret_cast<Vector*>(to) = value;
#endif
}

inline void store_fence() {
#if defined(__SSE__)
  _mm_sfence();
#endif
}

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }

/// Memory on huge pages, touched; lives until the process ends.
float* huge_floats(float value) {
  constexpr size_t page = size_t{1} << 21;
  void* block = std::aligned_alloc(page, count * sizeof(float));
  if (block == nullptr) std::abort();
  madvise(block, count * sizeof(float), MADV_HUGEPAGE);
  float* floats = static_cast<float*>(block);
  std::fill(floats, floats + count, value);
  return floats;
}

double milliseconds() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

/// Runs `body(thread)` on every core at once, `rounds` times; the times of all rounds, sorted.
std::vector<double> timed(int threads, const std::function<void(int)>& body) {
  std::vector<double> times;
  std::barrier sync(threads);
  auto work = [&](int self) {
    for (int round = 0; round < rounds; ++round) {
      sync.arrive_and_wait();
      const double start = milliseconds();
      body(self);
      sync.arrive_and_wait();
      if (self == 0) times.push_back(milliseconds() - start);
    }
  };
  std::vector<std::jthread> team;
  for (int self = 1; self < threads; ++self) team.emplace_back(work, self);
  work(0);
  team.clear();
  std::sort(times.begin(), times.end());
  return times;
}

/// Calls `step(i)` for this thread's share of the floats, in blocks of four vectors.
template <class Step>
double pass(int threads, Step step) {
  const auto times = timed(threads, [&](int self) {
    const size_t block = 4 * lanes, blocks = count / block;
    const size_t end = blocks * (self + 1) / threads * block;
    for (size_t i = blocks * self / threads * block; i < end; i += block) step(self, i);
    store_fence();
  });
  return times[times.size() / 2];
}

/// The sums are named one by one: an array of them would stay in memory.
double gflops(int threads) {
  constexpr int chains = 12, steps = 200'000;
  std::vector<float> sinks(threads);
  const auto times = timed(threads, [&](int self) {
    const Vector a = Vector{} + 0.999f, b = Vector{} + 1e-3f;
    Vector s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a;
    Vector s6 = a, s7 = a, s8 = a, s9 = a, s10 = a, s11 = a;
    for (int i = 0; i < steps; ++i) {
      s0 = s0 * a + b, s1 = s1 * a + b, s2 = s2 * a + b, s3 = s3 * a + b;
      s4 = s4 * a + b, s5 = s5 * a + b, s6 = s6 * a + b, s7 = s7 * a + b;
      s8 = s8 * a + b, s9 = s9 * a + b, s10 = s10 * a + b, s11 = s11 * a + b;
#if defined(__AVX512F__)
      asm volatile("" : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5));
      asm volatile("" : "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9), "+v"(s10), "+v"(s11));
#endif
    }
    const Vector all = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11;
    sinks[self] += all[0];
  });
  for (const float sink : sinks) {
    if (!(sink > 0)) std::abort();
  }
  return 2.0 * chains * lanes * steps * threads / (times.front() * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const int wanted = argc > 1 ? std::atoi(argv[1]) : 0;
  const int threads = wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency());
  float *a = huge_floats(1), *b = huge_floats(2), *c = huge_floats(0);
  struct alignas(256) Sum {
    Vector parts[4] = {};
  };
  std::vector<Sum> sums(threads);

  const double add = pass(threads, [&](int, size_t i) {
    for (size_t j = i; j < i + 4 * lanes; j += lanes) stream(c + j, load(a + j) + load(b + j));
  });
  const double copy = pass(threads, [&](int, size_t i) {
    for (size_t j = i; j < i + 4 * lanes; j += lanes) stream(c + j, load(a + j));
  });
  const double fill = pass(threads, [&](int, size_t i) {
    for (size_t j = i; j < i + 4 * lanes; j += lanes) stream(c + j, Vector{} + 3.0f);
  });
  const double sum = pass(threads, [&](int self, size_t i) {
    for (int j = 0; j < 4; ++j) sums[self].parts[j] += load(b + i + j * lanes);
  });
  const double rate = gflops(threads);
  double total = 0;
  for (const Sum& s : sums) total += s.parts[0][0];
  if (!(total > 0)) return 1;
  std::printf(
      "{\"add\": %.4f, \"copy\": %.4f, \"fill\": %.4f, \"sum\": %.4f, \"gflops\": %.1f, "
      "\"threads\": %d}\n",
      add, copy, fill, sum, rate, threads);
  return 0;
}
