// What the files of control flow share.
#pragma once

#include <algorithm>

#include "rill/ops/elementwise.h"
#include "rill/transforms/control.h"

namespace rill::control {

inline void append(Inputs& to, const Arrays& arrays) { to.append(arrays.begin(), arrays.end()); }
inline void append(Arrays& to, const Arrays& arrays) {
  to.insert(to.end(), arrays.begin(), arrays.end());
}

template <class List>
Arrays part(const List& list, int64_t from, int64_t count) {
  return Arrays(list.begin() + from, list.begin() + from + count);
}
template <class List>
Arrays rest(const List& list, int64_t from) {
  return Arrays(list.begin() + from, list.end());
}

/// A scan whose body is captured already; `outside` are its last arguments.
Arrays make_scan(ScanAttrs attrs, const Arrays& init, const Arrays& arrays, const Arrays& outside,
                 Stream stream);
/// The body with one more output for each carry: the carry before the step.
BodyRef with_history(const BodyRef& ref, int64_t carry);
/// The first output of a scan that gives what `scan` does but for the history.
Array without_history(const Node& scan);

}  // namespace rill::control
