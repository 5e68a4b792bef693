// Reverse and forward mode: from a graph to the graph of its derivatives.
#pragma once

#include <functional>
#include <utility>

#include "rill/transforms/captured.h"

namespace rill {

/// The identity: a new name for a value.
extern const OpInfo tracer_op;

/// Copies of `arrays` (sharing their values) from which a transformation can follow what is
/// computed. `trace` is the id of the TraceScope in progress.
Arrays make_tracers(const Arrays& arrays, uint32_t trace);

/// The cotangents of `primals`, given those of `outputs`: for each primal, zeros if nothing flows
/// to it. The backward operations run on the streams of the forward ones. Graphs of any depth.
/// Throws std::invalid_argument when an operation on the way has no derivative.
Arrays pull_back(const Arrays& outputs, const Arrays& cotangents, const Arrays& primals);

/// The tangents of `outputs`, given those of `primals`.
Arrays push_forward(const Arrays& outputs, const Arrays& primals, const Arrays& tangents);

/// The outputs of `f` at `primals`, and the pull-back of `cotangents`.
std::pair<Arrays, Arrays> vjp(const ArrayFunction& f, const Arrays& primals,
                              const Arrays& cotangents);
/// The outputs of `f` at `primals`, and the push-forward of `tangents`.
std::pair<Arrays, Arrays> jvp(const ArrayFunction& f, const Arrays& primals,
                              const Arrays& tangents);

/// The function that returns f(x)[0], a scalar, and its gradient by the arguments `argnums`:
///   auto f = [](const Arrays& x) { return Arrays{sum(square(x[0]))}; };
///   auto [value, gradient] = value_and_grad(f)({x});
std::function<std::pair<Arrays, Arrays>(const Arrays&)> value_and_grad(ArrayFunction f,
                                                                       std::vector<int> argnums = {
                                                                           0});
std::function<Arrays(const Arrays&)> grad(ArrayFunction f, std::vector<int> argnums = {0});

}  // namespace rill
