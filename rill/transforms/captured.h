// A function as a graph: what it computes from placeholders, to be applied to values later.
#pragma once

#include <functional>

#include "rill/graph/op.h"

namespace rill {

using ArrayFunction = std::function<Arrays(const Arrays&)>;

/// An array without a value; evaluating what depends on it is refused. What depends on it is marked
/// with placeholder_trace.
extern const OpInfo placeholder_op;
Array make_placeholder(Stream stream, Dtype dtype, Shape shape);
Array placeholder_like(const Array& array);

/// What a function computed from placeholders. Nodes that depend on none of them are not part of
/// it: they are its constants, and stay connected to whatever made them.
class Captured {
 public:
  /// Calls `f` with placeholders that have the dtypes, shapes and streams of `inputs`.
  static Captured of(const ArrayFunction& f, const Arrays& inputs);
  /// The part of a graph between placeholders and outputs.
  Captured(Arrays placeholders, Arrays outputs);

  const Arrays& placeholders() const { return placeholders_; }
  const Arrays& outputs() const { return outputs_; }
  /// The nodes between placeholders and outputs, producers first.
  const std::vector<Node*>& nodes() const { return nodes_; }

  /// The arrays that the nodes (and outputs) use and that depend on no placeholder, one for each
  /// node that made them.
  const Arrays& constants() const { return constants_; }

  /// The same operations on `inputs`, on the streams that they were given: new, pending nodes.
  /// Throws std::invalid_argument unless number, dtypes and shapes are those of the placeholders.
  Arrays apply(const Arrays& inputs) const;

 private:
  Arrays placeholders_;
  Arrays outputs_;
  std::vector<Node*> nodes_;  // held by outputs_
  Arrays constants_;
};

/// `node`'s operation on other inputs, of the same dtypes and shapes, on its stream.
Arrays apply_again(const Node& node, Inputs inputs);
Arrays apply_again(const Node& node, Inputs inputs, Stream stream);

/// All outputs of a node, in order.
Arrays outputs_of(Node& node);

}  // namespace rill
