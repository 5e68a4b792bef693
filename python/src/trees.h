// Nested lists, tuples and dicts of arrays.
#pragma once

#include <functional>

#include "common.h"

namespace rill::python {

/// Calls `f` with every leaf, in order; dicts by their own order; mx.random.state is a container of
/// its key. Refuses trees deeper than 1000.
void visit_leaves(nb::handle tree, const std::function<void(nb::handle)>& f);
/// A tree of the same structure with each leaf replaced.
nb::object map_leaves(nb::handle tree, const std::function<nb::object(nb::handle)>& f);
/// The arrays among the leaves; other leaves are passed over.
Arrays arrays_of(nb::handle tree);

}  // namespace rill::python
