// The sanitizer mode: RILL_CHAOS=<seed> makes tasks start late and in random legal orders, to
// show what relies on an order that no edge states.
#pragma once

#include <cstdint>

namespace rill::chaos {

/// Is the mode on? Constant once static variables are initialised.
extern const bool enabled;

/// A number below `bound`, from this thread's generator.
uint32_t below(uint32_t bound);

/// Sometimes waits up to about 50 us.
void delay();

}  // namespace rill::chaos
