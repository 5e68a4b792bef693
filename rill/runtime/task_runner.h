// What the queues and the pool do with the insides of tasks. Internal to the runtime.
#pragma once

#include "rill/runtime/task.h"

namespace rill::detail {

struct TaskRunner {
  /// Runs a ready task and gives back its count; returns the tasks that this made ready, in the
  /// order in which they began to wait.
  static TaskList run(Task* task);

  /// One of the things that `after` waits for is there; says whether it was the last.
  static bool arrive(Task& after);
  static void expect_one_more(Task& after);

  /// A task of a few instructions for which nobody waits: who makes it ready runs it at once.
  static void set_in_place(Task& task) { task.in_place_ = true; }
  static bool in_place(const Task& task) { return task.in_place_; }

  /// Puts ready tasks before those that are there; owns their counts from here.
  static void add_first(LocalQueue& local, TaskList ready);
  static void add_last(LocalQueue& local, Task* task);
  static Task* take(LocalQueue& local);

 private:
  static bool admit(LocalQueue& local, Task* task);
  static void share(LocalQueue& local);
};

}  // namespace rill::detail
