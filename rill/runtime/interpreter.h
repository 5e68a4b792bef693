// Running a captured graph within a task, on the calling thread.
#pragma once

#include "rill/runtime/frame.h"
#include "rill/transforms/control.h"

namespace rill {

/// A computed array that shares the memory of `values`.
Array computed_view(const Output& values, Shape shape, Strides strides, int64_t offset);

/// The stored steps of a body. For one thread at a time.
class BodyRunner final : public RefCounted {
 public:
  explicit BodyRunner(const Captured& graph);

  /// The outputs for these arguments, all computed. The arguments are moved out: a block that
  /// nobody else refers to may become that of an output.
  Arrays run(std::span<Array> arguments);

 private:
  Arrays constants_;  // by output: where it is one
  GraphInstance instance_;
};

/// A runner of a body for the time of a kernel: an idle one, or a new one. If run() throws, it is
/// not used again.
class BorrowedRunner {
 public:
  explicit BorrowedRunner(const control::BodyRef& ref);
  ~BorrowedRunner();
  BorrowedRunner(const BorrowedRunner&) = delete;
  BorrowedRunner& operator=(const BorrowedRunner&) = delete;

  Arrays run(std::span<Array> arguments);

 private:
  const control::Body& body_;
  Ref<BodyRunner> runner_;
};

}  // namespace rill
