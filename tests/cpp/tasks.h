// What the tests of the task runtime share: tasks that call functions, threads, child processes.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "rill/runtime/task.h"

namespace rill {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// How many tasks of call() there are.
inline std::atomic<int64_t> live_tasks{0};

/// A task that calls a function.
class Call final : public Task {
 public:
  explicit Call(std::function<void()> body, uint64_t nanoseconds = 0) : body_(std::move(body)) {
    cost = nanoseconds;
    live_tasks.fetch_add(1, std::memory_order_relaxed);
  }
  ~Call() override { live_tasks.fetch_sub(1, std::memory_order_relaxed); }

 protected:
  void run() noexcept override { std::exchange(body_, nullptr)(); }

 private:
  std::function<void()> body_;
};

/// `nanoseconds`: the cost that the task announces.
inline Ref<Task> call(std::function<void()> body, uint64_t nanoseconds = 0) {
  return make_ref<Call>(std::move(body), nanoseconds);
}

constexpr auto never = [] {};

inline void wait_for_all(const std::vector<Ref<Task>>& tasks) {
  LocalQueue local;
  for (const auto& task : tasks) wait_for(*task, local, never);
}

inline void run_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (auto& thread : threads) thread.join();
}

inline double cpu_milliseconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto ms = [](timeval time) { return time.tv_sec * 1e3 + time.tv_usec * 1e-3; };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

/// The exit code of a child process that runs `body` and then calls exit(0).
inline int exit_code_of_child(const std::function<void()>& body) {
  pid_t child = fork();
  if (child == 0) {
    body();
    std::exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace rill
