// The callables that transformations of functions return.
#pragma once

#include <functional>

#include "common.h"

namespace rill::python {

/// Calls `fun` in another way. `options` is what the transformation was given with it.
using TransformedCall = std::function<nb::object(const nb::object& fun, const nb::object& options,
                                                 const nb::args&, const nb::kwargs&)>;

/// A Python callable that makes the call. It shows its function and options to the garbage
/// collector, so that a cycle through it (a closure that refers to its own gradient) is freed;
/// `call` itself must hold no Python objects.
nb::object make_transformed(const char* operation, nb::callable fun, nb::object options,
                            TransformedCall call);

void bind_transformed(nb::module_& m);

}  // namespace rill::python
