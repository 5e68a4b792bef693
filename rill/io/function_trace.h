// From a captured graph to the records of a file, and back to a graph.
#pragma once

#include "rill/io/export.h"
#include "rill/io/function_file.h"
#include "rill/transforms/control.h"

namespace rill::exported {

using StreamNumber = std::function<uint32_t(Stream)>;

/// The records of a captured graph, with its constants computed. Identities that only mattered to
/// transformations are left out. Throws std::invalid_argument when an operation has no row.
Trace record(const Captured& captured, const StreamNumber& number);

/// Marks the sizes of the inputs that do not matter: for which the trace of `f` stays the same. A
/// reshape whose shape follows such a size in one axis is recorded with -1 there.
void find_free_sizes(Trace& trace, const ArrayFunction& f, const Arrays& likes,
                     const StreamNumber& number);

/// Applies the operations of a trace to `inputs`. Throws what they throw.
Arrays replay(const Trace& trace, const Arrays& inputs, const std::vector<Stream>& streams);

/// Applies the operations to placeholders and compares dtypes and shapes with those recorded.
/// Throws std::runtime_error, naming the operation, when one is refused or they differ.
void check(const Trace& trace, const std::vector<Stream>& streams);

/// A trace as the body of a control flow operation; checked in the same way.
control::BodyRef body_of(const Trace& trace);

/// Whether a trace can be called with these arguments.
bool matches(const Trace& trace, const Arrays& args, const NamedArrays& kwargs);

/// The arguments in words, one a line.
std::string signature(const Trace& trace);
std::string signature(const Arrays& args, const NamedArrays& kwargs);

}  // namespace rill::exported
