// One operation on few elements: what small eager programs are made of.
#pragma once

#include <span>

#include "rill/runtime/program.h"

namespace rill {

/// Computes a program of one operation on few elements that lie in order, or are one number, by a
/// call of its kernel: nothing is prepared for tiles. False, and nothing done, for any other.
bool run_single_operation(const Program& program, std::span<Array> inputs,
                          std::span<Array> results);

}  // namespace rill
