#include "rill/runtime/pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <utility>

#include "rill/base/require.h"
#include "rill/runtime/futex.h"
#include "rill/runtime/interrupt.h"
#include "rill/runtime/signals_blocked.h"
#include "rill/runtime/task_runner.h"

namespace rill::detail {
namespace {

using Clock = std::chrono::steady_clock;

// A thread that waits longer than a chunk usually takes lets another have its processor.
constexpr auto replaced_after = std::chrono::microseconds(500);

int width_wanted() {
  const char* text = std::getenv("RILL_NUM_THREADS");
  if (!text) return std::max(1u, std::thread::hardware_concurrency());
  char* end = nullptr;
  long number = std::strtol(text, &end, 10);
  require(end != text && *end == '\0' && number >= 1 && number <= 4096,
          "[RILL_NUM_THREADS] expected a number from 1 to 4096, got \"{}\"", text);
  return static_cast<int>(number);
}

/// A chain of successors on one thread: over when others should have their turn.
class Budget {
 public:
  bool spent_after(uint64_t cost) {
    if (++tasks_ >= 256) return true;
    unseen_ += cost + 1'000'000 / 16;  // so that the clock is read once in 16 small tasks
    if (unseen_ < 1'000'000) return false;
    unseen_ = 0;
    return Clock::now() - start_ > std::chrono::milliseconds(1);
  }

 private:
  Clock::time_point start_ = Clock::now();
  uint64_t unseen_ = 0;
  int tasks_ = 0;
};

thread_local bool is_worker = false;
thread_local int open_loops = 0;  // of this thread

}  // namespace

std::atomic<Pool*> Pool::instance_{nullptr};

Pool& Pool::make() {
  static constinit std::mutex making;
  std::scoped_lock lock(making);
  // Relaxed: the mutex orders the makers.
  if (Pool* made = instance_.load(std::memory_order_relaxed)) return *made;
  auto* pool = new Pool(width_wanted());
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  std::atexit([] {
    cancel_loops();  // nobody will see what they compute, and some have no end
    if (tasks_on_this_thread == 0) get().drain(true);
  });
  instance_.store(pool, std::memory_order_release);
  return *pool;
}

// A child has one thread. So before a fork all work is done, and what the child does not share
// with its parent, it makes anew. (A task that forks cannot wait for itself.)
void Pool::before_fork() {
  Pool& pool = get();
  if (tasks_on_this_thread == 0) pool.drain(true);
  pool.mutex_.lock();
}

void Pool::after_fork_in_parent() { get().mutex_.unlock(); }

void Pool::after_fork_in_child() {
  instance_.store(new Pool(get().width_), std::memory_order_release);
}

Pool::Count& Pool::count() {
  static std::atomic<unsigned> threads{0};
  thread_local const unsigned slot = threads.fetch_add(1, std::memory_order_relaxed);
  return counts_[slot % count_slots];
}

uint64_t Pool::finished() const {
  uint64_t sum = 0;
  // Acquire: then submitted(), read later, includes at least these.
  for (const Count& count : counts_) sum += count.finished.load(std::memory_order_acquire);
  return sum;
}

uint64_t Pool::submitted() const {
  uint64_t sum = 0;
  for (const Count& count : counts_) sum += count.submitted.load(std::memory_order_relaxed);
  return sum;
}

bool Pool::idle() {
  std::scoped_lock lock(mutex_);
  return queue_.size() == 0 && parked_.size() == workers_.size();
}

void Pool::drain(bool unless_stuck, FunctionRef<void()> between) {
  // Equal sums, the finished ones read first, mean that there was a moment between with nothing
  // left. Such waits are rare, so nobody announces that moment: look a while, then nap, longer
  // each time.
  uint64_t now = 0;
  uint64_t seen = 0;
  auto all_done = [&] { return (now = finished()) >= submitted(); };
  auto moved = Clock::now();
  auto nap = std::chrono::microseconds(20);
  while (!spin_until(all_done)) {
    if (now != seen || !unless_stuck || !idle()) {
      seen = now;
      moved = Clock::now();
    } else if (Clock::now() - moved > std::chrono::seconds(1)) {
      return;
    }
    std::this_thread::sleep_for(nap);
    between();
    nap = std::min(nap * 2, std::chrono::microseconds(1000));
  }
}

void Pool::push(TaskList tasks) {
  if (tasks.size() == 0) return;
  std::unique_lock lock(mutex_);
  add_demand_locked(tasks.size());
  queue_.push_back(tasks);
  Wakes wakes = wakes_locked();
  lock.unlock();
  wake(wakes);
}

void Pool::open(Loop& loop) {
  const bool enters = open_loops++ == 0 && !is_worker;
  std::unique_lock lock(mutex_);
  guests_ += enters ? 1 : 0;
  add_demand_locked(loop.seats);
  loop.next = std::exchange(loops_, &loop);
  if (loop.next) loop.next->previous = &loop;
  Wakes wakes = wakes_locked();
  lock.unlock();
  wake(wakes);
}

void Pool::close(Loop& loop) {
  std::unique_lock lock(mutex_);
  if (loop.seats > 0) {
    add_demand_locked(-static_cast<int64_t>(loop.seats));
    loop.seats = 0;
    unlink_locked(loop);
  }
  lock.unlock();
  // Acquire, here and below: what the helpers wrote is visible to the opener.
  auto empty = [&] { return loop.helpers.load(std::memory_order_acquire) == 0; };
  if (!spin_until(empty) && !wait_for_helpers(loop, replaced_after)) {
    change_running(waiting_, 1);
    wait_for_helpers(loop);
    change_running(waiting_, -1);
  }
  if (--open_loops == 0 && !is_worker) change_running(guests_, -1);
}

/// Fewer running threads leave room for others.
void Pool::change_running(int64_t& count, int64_t by) {
  std::unique_lock lock(mutex_);
  count += by;
  const Wakes wakes = wakes_locked();
  lock.unlock();
  wake(wakes);
}

/// Whether all have left within `timeout`, if that is not zero.
bool Pool::wait_for_helpers(Loop& loop, std::chrono::nanoseconds timeout) {
  const auto end = Clock::now() + timeout;
  uint32_t inside = loop.helpers.fetch_or(Loop::sleeping, std::memory_order_acquire);
  for (inside |= Loop::sleeping; inside != Loop::sleeping;
       inside = loop.helpers.load(std::memory_order_acquire)) {
    if (timeout.count() > 0 && Clock::now() > end) return false;
    futex_wait(loop.helpers, inside, timeout);
  }
  return true;
}

void Pool::unlink_locked(Loop& loop) {
  (loop.previous ? loop.previous->next : loops_) = loop.next;
  if (loop.next) loop.next->previous = loop.previous;
}

void Pool::add_demand_locked(int64_t change) {
  // Relaxed, and no read-modify-write: the mutex orders the writers; readers take it as a hint.
  demand_.store(demand_.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

/// Takes a place in the newest loop that has one.
Loop* Pool::take_seat_locked() {
  Loop* loop = loops_;
  if (!loop) return nullptr;
  add_demand_locked(-1);
  loop->helpers.fetch_add(1, std::memory_order_relaxed);  // close() comes later, under the mutex
  if (--loop->seats == 0) unlink_locked(*loop);
  return loop;
}

/// More is to be done than the workers that are awake will take. A queued task has a worker come
/// even if every processor has a thread of ours; who opens a loop goes through it without help,
/// which one thread more than there are processors would only interrupt.
bool Pool::needs_another_locked() const {
  if (static_cast<int64_t>(queue_.size()) > searching_) return true;
  const auto awake = static_cast<int64_t>(workers_.size() - parked_.size());
  // Relaxed: under the mutex.
  return demand_.load(std::memory_order_relaxed) > searching_ &&
         awake + guests_ - waiting_ < width_;
}

/// Who should be woken. At most two: each of them comes here again when it takes something, so a
/// crowd wakes as a tree.
Pool::Wakes Pool::wakes_locked() {
  Wakes wakes;
  while (wakes.size < 2 && needs_another_locked()) {
    if (!parked_.empty()) {
      Worker& worker = *parked_.back();
      parked_.pop_back();
      worker.parked = false;
      choose_processor_locked(worker);
      wakes.workers[wakes.size++] = &worker;
      ++searching_;
    } else if (workers_.size() >= worker_limit_ + static_cast<size_t>(waiting_) ||
               !start_worker_locked()) {
      break;
    }
  }
  return wakes;
}

/// False if the system has no more threads for us; throws if it has none at all for a task. A loop
/// needs none.
bool Pool::start_worker_locked() {
  SignalsBlocked blocked;
  Worker& worker = workers_.emplace_back();
  parked_.reserve(workers_.size());
  try {
    std::thread thread([this, &worker] { work(worker); });
    pthread_setname_np(thread.native_handle(), "rill worker");
    thread.detach();
  } catch (const std::system_error&) {
    workers_.pop_back();
    if (workers_.empty() && queue_.size() > 0) throw;
    if (!workers_.empty()) worker_limit_ = workers_.size();
    return false;
  }
  ++searching_;  // under the mutex still, which the worker takes first
  return true;
}

void Pool::wake(const Wakes& wakes) {
  for (int i = 0; i < wakes.size; ++i) {
    Worker& worker = *wakes.workers[i];
    worker.placed = CPU_COUNT(&worker.place) > 0 &&
                    sched_setaffinity(worker.thread, sizeof(worker.place), &worker.place) == 0;
    // Release: pairs with the load in spin_or_park().
    worker.signal.store(1, std::memory_order_release);
    futex_wake(worker.signal);
  }
}

/// Makes a sleeping worker start on a processor where neither this thread nor another worker runs,
/// or on this one if there is no such: whoever wakes so many is about to wait. In a virtual machine
/// Linux often takes a halted processor for an occupied one and puts the worker behind the thread
/// that wakes it, for milliseconds; that thread would get no help from it.
void Pool::choose_processor_locked(Worker& worker) {
  CPU_ZERO(&worker.place);
  int here = sched_getcpu();
  if (here < 0 || here >= CPU_SETSIZE) return;
  cpu_set_t taken;
  CPU_ZERO(&taken);
  for (const Worker& other : workers_) {
    if (!other.parked && CPU_COUNT(&other.place) == 1) CPU_OR(&taken, &taken, &other.place);
  }
  bool shared = CPU_ISSET(here, &taken);  // a worker is on this processor, too
  CPU_SET(here, &taken);
  CPU_AND(&taken, &taken, &worker.processors);
  CPU_XOR(&worker.place, &worker.processors, &taken);
  bool full = CPU_COUNT(&worker.place) == 0;
  if (full && !shared && CPU_ISSET(here, &worker.processors)) CPU_SET(here, &worker.place);
}

void Pool::work(Worker& self) {
  self.thread = gettid();
  is_worker = true;
  tasks_on_this_thread = 1;  // in or between tasks: waiting for others is never right here
  bool spun = false;
  std::unique_lock lock(mutex_);  // whoever started or woke this thread counted it as searching
  for (;;) {
    Loop* loop = take_seat_locked();
    Task* task = loop ? nullptr : queue_.pop();
    if (!loop && !task) {
      spin_or_park(self, spun, lock);
      continue;
    }
    if (task) add_demand_locked(-1);
    --searching_;
    Wakes wakes = wakes_locked();
    lock.unlock();
    wake(wakes);
    if (task) {
      run_chain(task);
    } else {
      loop->help(*loop);
      // Release: the opener sees what was done here. It may be gone right after.
      uint32_t inside = loop->helpers.fetch_sub(1, std::memory_order_release) - 1;
      if (inside == Loop::sleeping) futex_wake(loop->helpers);
    }
    spun = false;
    lock.lock();
    ++searching_;
  }
}

void Pool::spin_or_park(Worker& self, bool& spun, std::unique_lock<std::mutex>& lock) {
  if (!spun) {
    lock.unlock();
    spun = !spin_until([this] { return demand_.load(std::memory_order_relaxed) > 0; });
    if (spun && sched_getaffinity(0, sizeof(self.processors), &self.processors) != 0) {
      CPU_ZERO(&self.processors);  // more processors than a cpu_set_t holds: then not placed
    }
    lock.lock();
    return;
  }
  --searching_;
  self.signal.store(0, std::memory_order_relaxed);  // published by the mutex to who wakes
  self.parked = true;
  parked_.push_back(&self);
  lock.unlock();
  while (self.signal.load(std::memory_order_acquire) == 0) futex_wait(self.signal, 0);
  if (std::exchange(self.placed, false)) {
    sched_setaffinity(0, sizeof(self.processors), &self.processors);
  }
  int here = sched_getcpu();
  lock.lock();
  CPU_ZERO(&self.place);
  if (here >= 0 && here < CPU_SETSIZE) CPU_SET(here, &self.place);
}

/// Runs `task` and then, one after the other, the first that each makes ready. A loop, not a
/// recursion, and not for ever: others in the queue have their turn.
void Pool::run_chain(Task* task) {
  Budget budget;
  while (task) {
    uint64_t cost = task->cost;
    TaskList ready = TaskRunner::run(task);
    task = ready.pop();
    push(ready);
    if (!task || !budget.spent_after(cost)) continue;
    if (demand_.load(std::memory_order_relaxed) > 0) {
      TaskList rest;
      rest.push_back(task);
      push(rest);
      return;
    }
    budget = Budget();
  }
}

}  // namespace rill::detail
