// Measures what this machine allows: memory passes over 16M floats and the multiply-add rate.
// Usage: limits THREADS. For each line "KIND SECONDS" on standard input it measures for about that
// long and prints the samples on a line, a JSON list: milliseconds of a pass for add, copy, fill
// and sum, GFLOP/s for gflops.

#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
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

/// Runs `body(thread)` on every core at once, three times or more, for `seconds`; the time of each.
std::vector<double> timed(int threads, double seconds, const std::function<void(int)>& body) {
  std::vector<double> times;
  bool more = true;
  std::barrier sync(threads);
  const double end = milliseconds() + seconds * 1e3;
  auto work = [&](int self) {
    while (more) {
      sync.arrive_and_wait();
      const double start = milliseconds();
      body(self);
      sync.arrive_and_wait();
      if (self == 0) {
        times.push_back(milliseconds() - start);
        more = times.size() < 3 || milliseconds() < end;
      }
      sync.arrive_and_wait();
    }
  };
  std::vector<std::jthread> team;
  for (int self = 1; self < threads; ++self) team.emplace_back(work, self);
  work(0);
  return times;
}

/// Calls `step(thread, i)` for this thread's share of the floats, in blocks of four vectors.
template <class Step>
std::vector<double> pass(int threads, double seconds, Step step) {
  return timed(threads, seconds, [&](int self) {
    const size_t block = 4 * lanes, blocks = count / block;
    const size_t end = blocks * (self + 1) / threads * block;
    for (size_t i = blocks * self / threads * block; i < end; i += block) step(self, i);
    store_fence();
  });
}

/// The sums are named one by one: an array of them would stay in memory. They are equal, which the
/// compiler must not see.
std::vector<double> gflops(int threads, double seconds) {
  constexpr int chains = 12, steps = 200'000;
  std::vector<float> sinks(threads);
  auto samples = timed(threads, seconds, [&](int self) {
    const Vector a = Vector{} + 0.999f, b = Vector{} + 1e-3f;
    Vector s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a;
    Vector s6 = a, s7 = a, s8 = a, s9 = a, s10 = a, s11 = a;
    for (int i = 0; i < steps; ++i) {
      s0 = s0 * a + b, s1 = s1 * a + b, s2 = s2 * a + b, s3 = s3 * a + b;
      s4 = s4 * a + b, s5 = s5 * a + b, s6 = s6 * a + b, s7 = s7 * a + b;
      s8 = s8 * a + b, s9 = s9 * a + b, s10 = s10 * a + b, s11 = s11 * a + b;
#if defined(__SSE__)
      asm volatile("" : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5));
      asm volatile("" : "+x"(s6), "+x"(s7), "+x"(s8), "+x"(s9), "+x"(s10), "+x"(s11));
#endif
    }
    const Vector all = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11;
    sinks[self] += all[0];
  });
  for (const float sink : sinks) {
    if (!(sink > 0)) std::abort();
  }
  for (double& sample : samples) sample = 2.0 * chains * lanes * steps * threads / (sample * 1e6);
  return samples;
}

/// The arrays that are passed over, and the measurements by name.
class Machine {
 public:
  explicit Machine(int threads) : threads_(threads), sums_(threads) {}

  /// Empty for a name that is none.
  std::vector<double> measure(const std::string& kind, double seconds) {
    float *a = a_, *b = b_, *c = c_;
    if (kind == "add") {
      return pass(threads_, seconds, [=](int, size_t i) {
        for (size_t j = i; j < i + 4 * lanes; j += lanes) stream(c + j, load(a + j) + load(b + j));
      });
    }
    if (kind == "copy") {
      return pass(threads_, seconds, [=](int, size_t i) {
        for (size_t j = i; j < i + 4 * lanes; j += lanes) stream(c + j, load(a + j));
      });
    }
    if (kind == "fill") {
      return pass(threads_, seconds, [=](int, size_t i) {
        for (size_t j = i; j < i + 4 * lanes; j += lanes) stream(c + j, Vector{} + 3.0f);
      });
    }
    if (kind == "sum") return sum(seconds);
    if (kind == "gflops") return gflops(threads_, seconds);
    return {};
  }

 private:
  std::vector<double> sum(double seconds) {
    auto samples = pass(threads_, seconds, [this](int self, size_t i) {
      for (int j = 0; j < 4; ++j) sums_[self].parts[j] += load(a_ + i + j * lanes);
    });
    double total = 0;
    for (const Sum& s : sums_) total += s.parts[0][0];
    if (!(total > 0)) std::abort();
    return samples;
  }

  struct alignas(256) Sum {
    Vector parts[4] = {};
  };
  int threads_;
  std::vector<Sum> sums_;
  float *a_ = huge_floats(1), *b_ = huge_floats(2), *c_ = huge_floats(0);
};

}  // namespace

int main(int argc, char** argv) {
  const int wanted = argc > 1 ? std::atoi(argv[1]) : 0;
  Machine machine(wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency()));
  std::string kind;
  for (double seconds; std::cin >> kind >> seconds;) {
    std::cout << "[";
    const char* separator = "";
    for (const double sample : machine.measure(kind, seconds)) {
      std::cout << separator << sample;
      separator = ", ";
    }
    std::cout << "]" << std::endl;
  }
  return 0;
}
