// From graph to values.
#pragma once

#include <functional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

class Task;

/// Computes the arrays and waits for them. Rethrows the error of a failed operation that they
/// depend on. Any thread may call it, for any arrays; never called inside a task.
void eval(const Arrays& arrays);
inline void eval(const Array& array) { eval(Arrays{array}); }

/// Hands the arrays to their streams and returns at once.
void async_eval(const Arrays& arrays);

/// Waits for arrays that were handed over, and rethrows their errors.
void wait(const Arrays& arrays);

/// Waits until everything that was handed to a stream has run.
void synchronize(Stream stream);

/// Waits until a task has run.
void wait_for_task(Task& task);

/// Called about every 50 ms by a thread that waits, outside all locks; may throw to end the wait
/// (the work itself goes on).
void set_interrupt_check(std::function<void()> check);

/// The value of a computed or computable 0-d (or one-element) array; evaluates it.
template <class T>
T item(const Array& array);

}  // namespace rill
