// Tasks, the edges between them, and strands: the CPU's queues and events.
//
// A task runs once, when everything it waits for has run. Inside a task nobody blocks: what it
// needs is an edge. The order of a strand is an edge too, from each task to the next.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "rill/base/function_ref.h"
#include "rill/base/ref.h"

namespace rill {

class LocalQueue;
class Task;

namespace detail {

/// "When `before` has run, `after` waits for one task less." Lies in `after`, is linked into the
/// list of `before`, and owns a count of `after` while it is there.
struct Edge {
  Edge* next;
  Task* after;
};
struct EdgeBlock;
struct TaskRunner;

/// Ready tasks in a row, linked through the tasks. Owns a count of each, by hand: whoever takes
/// one out owns its count.
class TaskList {
 public:
  uint32_t size() const { return size_; }
  void push_back(Task* task);
  void push_back(TaskList list);
  /// The first; in the sanitizer mode any. Null if there is none.
  Task* pop();
  /// Takes the first `count` out, in order.
  TaskList pop(uint32_t count);

 private:
  friend struct TaskRunner;
  Task* first_ = nullptr;
  Task* last_ = nullptr;
  uint32_t size_ = 0;
};

}  // namespace detail

/// A unit of work that runs once, when everything it waits for has run. Its completion is an
/// event. Life: make it, add edges and append it to a strand (one thread), submit it (that thread,
/// once); then it runs on some thread. A task that others wait for must be submitted.
class Task : public RefCounted {
 public:
  ~Task() override;

  /// Has it run? True also means that what it wrote is visible to the caller.
  bool done() const;

  /// Rough cost in nanoseconds on one thread: decides whether a waiting thread runs it itself
  /// or a worker does. 0 means "not worth a hand-over". Set before it is submitted.
  uint64_t cost = 0;

 protected:
  /// Does the work; errors are recorded by the subclass, nobody throws. It should also let go of
  /// what the task holds: a strand keeps its last task until the next one comes, and so does
  /// whoever keeps it as an event.
  virtual void run() noexcept = 0;

 private:
  friend struct detail::TaskRunner;
  friend class detail::TaskList;
  friend class Strand;
  friend void add_edge(Task& before, const Ref<Task>& after);

  detail::Edge* new_edge();
  void delete_edge_blocks();

  static constexpr uint32_t inline_edges = 3;  // the strand and the inputs of a binary operation

  std::atomic<uint32_t> waiting_{1};             // edges that have not fired, and construction
  uint32_t edge_count_ : 31 = 0;                 // edges made, by the thread that builds
  uint32_t in_place_ : 1 = false;                // run by whoever makes it ready, at once
  std::atomic<detail::Edge*> waiters_{nullptr};  // who waits for this, or "closed": it has run
  Task* next_ = nullptr;                         // in a list of ready tasks
  detail::EdgeBlock* more_edges_ = nullptr;      // beyond the inline ones
  detail::Edge edges_[inline_edges];
};

/// Makes `after` wait for `before`; nothing if `before` is done. Only until `after` is submitted,
/// by the thread that builds it; `before` may be at any stage.
void add_edge(Task& before, const Ref<Task>& after);

/// An in-order queue of tasks: at most one of them runs at a time. Eight bytes; ten thousand are
/// fine. Any thread may call append and last; they take no lock. It may be destroyed while its
/// tasks still run.
class Strand {
 public:
  Strand() = default;
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;
  ~Strand();

  /// `task` will run after everything appended before. Submit it after this.
  void append(const Ref<Task>& task);

  /// The task to wait for if everything appended so far shall have run; null if it has. A strand
  /// whose work is done lets go of its last task here.
  Ref<Task> last();

 private:
  std::atomic<uint64_t> tail_{0};  // the last task, counted; in the high bits, calls of last()
};

/// Tasks that this thread has made ready and that nobody else knows of yet. Used by one thread:
/// make one for an eval, submit to it, wait with it. Holds back only small tasks: large ones go to
/// the pool at once, and so does the pool's share of the others when waking a worker is worth it.
class LocalQueue {
 public:
  LocalQueue() = default;
  LocalQueue(const LocalQueue&) = delete;
  LocalQueue& operator=(const LocalQueue&) = delete;
  /// Gives what is left to the pool.
  ~LocalQueue();

  /// Gives everything to the pool.
  void hand_over();
  bool empty() const { return tasks_.size() == 0; }

 private:
  friend struct detail::TaskRunner;

  detail::TaskList tasks_;
  uint64_t cost_ = 0;  // of all of them, in nanoseconds
};

/// Ends the construction of `task`. Once it is ready it goes to `local` if that is given (eval:
/// the thread runs it itself when it waits) and the task is ready now, else to the pool.
void submit(Ref<Task> task, LocalQueue* local);

/// Returns when every target is done. Runs tasks of `local` meanwhile, and no others; hands
/// what is left of them to the pool. `interrupt` is called about every 50 ms, outside all locks
/// and with `local` handed over; it may throw, which ends the wait. Never called inside a task.
void wait_for(std::span<Task* const> targets, LocalQueue& local, FunctionRef<void()> interrupt);
void wait_for(Task& target, LocalQueue& local, FunctionRef<void()> interrupt);

/// Blocks until every task submitted before has run and has been released by who ran it. Never
/// called inside a task. Calls `between` about every millisecond of a long wait.
void drain(FunctionRef<void()> between = [] {});

/// The threads that run tasks, started when first needed: RILL_NUM_THREADS, or one for each
/// processor. (Threads that evaluate run small tasks besides.)
int worker_count();

}  // namespace rill
