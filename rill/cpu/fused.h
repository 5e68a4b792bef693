// Running a fused program on the CPU.
#pragma once

#include <span>

#include "rill/runtime/program.h"

namespace rill {

/// Computes and places the stored results of `program`: tile by tile, so that what passes between
/// instructions stays in the first-level cache, on all cores when that pays. A last use of an
/// operand gives its block to a result. Results are those of the single operations, bit for bit.
/// With `kept`, what was found out about the program is left there for its next run; it must be
/// null at first, and used by one thread at a time.
void run_program(const Program& program, std::span<Array> inputs, std::span<Array> results,
                 Ref<RefCounted>* kept = nullptr);

}  // namespace rill
