// The threads that run ready tasks and help with loops. Internal to the runtime.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "rill/base/function_ref.h"
#include "rill/runtime/processor_ranks.h"
#include "rill/runtime/task.h"

namespace rill::detail {

/// Work in chunks that other threads may join. It lies with the thread that opened it, which
/// closes it and then waits until no helper is inside.
struct Loop {
  void (*help)(Loop& loop);          // takes chunks until there are none
  uint32_t seats;                    // helpers that may still join; under the pool's mutex
  std::atomic<uint32_t> helpers{0};  // inside now; and `sleeping` while the opener sleeps
  Loop* next = nullptr;              // open loops with seats; under the pool's mutex
  Loop* previous = nullptr;

  static constexpr uint32_t sleeping = uint32_t{1} << 31;
};

/// A queue of ready tasks and up to `width` threads that do not wait. One mutex guards it: threads
/// come here only when they run out of successors to run. The one pool of a process is made at
/// first use and never destroyed; a forked child makes another.
class Pool {
 public:
  static Pool& get() {
    Pool* pool = instance_.load(std::memory_order_acquire);  // pairs with the making of it
    return pool ? *pool : make();
  }

  int width() const { return width_; }
  /// The place of this thread's processor among those that the pool was made for.
  int processor_rank() const { return ranks_[sched_getcpu()]; }

  void push(TaskList tasks);  // takes the mutex; owns the tasks' counts from here
  void open(Loop& loop);      // takes the mutex
  void close(Loop& loop);     // takes the mutex; returns when no helper is inside

  /// Every task is counted when it is submitted and when it has run and been released.
  void count_submitted() { count().submitted.fetch_add(1, std::memory_order_relaxed); }
  // Release: whoever reads the count sees all that the task did.
  void count_finished() { count().finished.fetch_add(1, std::memory_order_release); }

  /// Blocks until all tasks submitted before have run. With `unless_stuck` it gives up when
  /// nothing has moved for a second: then the rest waits for a task that was never submitted.
  /// Calls `between` about every millisecond of a long wait.
  void drain(bool unless_stuck, FunctionRef<void()> between = [] {});

 private:
  struct Worker {
    std::atomic<uint32_t> signal{0};  // 1: woken
    pid_t thread = 0;
    bool parked = false;        // under the pool's mutex
    cpu_set_t processors = {};  // that it may run on, as it found them before it parked
    cpu_set_t place = {};       // where it shall start or was last seen; empty: not known
    bool placed = false;        // who woke it has narrowed its processors to `place`
  };
  struct alignas(64) Count {
    std::atomic<uint64_t> submitted{0};
    std::atomic<uint64_t> finished{0};
  };
  struct Wakes {  // workers to wake once the mutex is free
    Worker* workers[2];
    int size = 0;
  };
  static constexpr unsigned count_slots = 16;

  explicit Pool(int width) : width_(width), worker_limit_(static_cast<size_t>(width)) {}
  static Pool& make();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  Count& count();
  uint64_t finished() const;
  uint64_t submitted() const;
  bool idle();  // takes the mutex

  void work(Worker& self);
  void run_chain(Task* task);
  void spin_or_park(Worker& self, bool& spun, std::unique_lock<std::mutex>& lock);
  Loop* take_seat_locked();
  Wakes wakes_locked();
  bool needs_another_locked() const;
  bool start_worker_locked();
  static void wake(const Wakes& wakes);
  void choose_processor_locked(Worker& worker);
  void change_running(int64_t& count, int64_t by);
  bool wait_for_helpers(Loop& loop, std::chrono::nanoseconds timeout = {});
  void unlink_locked(Loop& loop);
  void add_demand_locked(int64_t change);

  static std::atomic<Pool*> instance_;

  const int width_;
  const ProcessorRanks ranks_ = ProcessorRanks::usable_here();
  Count counts_[count_slots];

  // What could occupy another thread: queued tasks and free seats. Written under the mutex;
  // spinning threads read it without, as a hint.
  alignas(64) std::atomic<int64_t> demand_{0};

  alignas(64) std::mutex mutex_;  // guards all that follows
  TaskList queue_;
  Loop* loops_ = nullptr;        // the newest first
  int64_t searching_ = 0;        // workers awake that have no work: each will look again
  int64_t guests_ = 0;           // threads of the program that have a loop open
  int64_t waiting_ = 0;          // of workers and guests: asleep until helpers leave their loop
  std::deque<Worker> workers_;   // those started; a deque does not move them
  size_t worker_limit_;          // besides those waiting: width_, or what the system lets us have
  std::vector<Worker*> parked_;  // the latest to park is the first to be woken
};

/// The number of tasks on this thread's stack: a thread inside a task must not wait for others.
extern thread_local int tasks_on_this_thread;

}  // namespace rill::detail
