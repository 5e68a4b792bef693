// What is found out about a program before it runs, and may be kept for its next run.
#pragma once

#include "rill/base/ref.h"
#include "rill/cpu/chains.h"
#include "rill/cpu/lowered.h"

namespace rill {

/// A program as it runs on operands of which the same ones are single numbers.
struct ProgramCode : RefCounted {
  SmallVector<bool, 8> scalar;  // by input
  Lowered low;
  Chains chains;
};

/// The code for these operands: what `kept` refers to, if that fits them, or else new code, which
/// is left there. Without `kept` it is made in `own`. Its chains have machine code where that pays.
const ProgramCode& program_code(const Program& program, SmallVector<bool, 8> scalar,
                                ProgramCode& own, Ref<RefCounted>* kept);

}  // namespace rill
