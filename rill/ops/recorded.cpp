#include "rill/ops/recorded.h"

#include <algorithm>

#include "rill/graph/tracing.h"
#include "rill/ops/composed.h"

namespace rill {

namespace {

bool is_traced(const Array& array) { return array.node().trace == placeholder_trace; }

}  // namespace

Arrays detail::recorded_call(Arrays inputs, std::function<Arrays(const Arrays&)> repeat) {
  auto traced = std::find_if(inputs.begin(), inputs.end(), is_traced);
  Stream stream = to_stream();
  Arrays results;
  try {
    SizeWatchSuspension suspension;
    results = repeat(inputs);
    if (traced == inputs.end()) return results;
    // One that depends on no placeholder has the size of one all the same; and one that was there
    // before, as an operand that is returned as it is, need not be the result for other sizes.
    for (Array& result : results) result = sized_by(result, *traced);
  } catch (...) {  // somebody may catch it, and go on in another way
    for (const Array& input : inputs) {
      if (is_traced(input)) SizeWatch::note_read(input);
    }
    throw;
  }
  SizeWatch::add({stream, std::move(inputs), std::move(repeat), results});
  return results;
}

}  // namespace rill
