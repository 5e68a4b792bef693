#include "rill/transforms/simplify.h"

#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "rill/ops/elementwise.h"
#include "rill/transforms/vjp.h"

namespace rill {

namespace {

size_t hash_of(const Array& array) {
  return detail::mix(std::hash<const void*>{}(&array.node()), array.index());
}
struct ArrayHash {
  size_t operator()(const Array& array) const { return hash_of(array); }
};
struct SameArray {
  bool operator()(const Array& a, const Array& b) const { return a.is(b); }
};
using ArraySet = std::unordered_set<Array, ArrayHash, SameArray>;

/// A computed scalar that lies in its node.
bool is_plain_scalar(const Array& array) {
  return array.node().is_done() && array.ndim() == 0 && !array.output().buffer;
}

/// Whether every element of a computed real array is known to be `value`.
bool is_everywhere(const Array& array, double value) {
  const Output& out = array.output();
  if (!array.node().is_done() || out.size == 0 || is_complex(out.dtype)) return false;
  for (int i = 0; i < out.shape.ssize(); ++i) {
    if (out.shape[i] != 1 && out.strides[i] != 0) return false;
  }
  return visit_type(out.dtype, [&]<class T>(type_tag<T>) {
    if constexpr (std::is_same_v<T, complex64>) return false;
    else if constexpr (sizeof(T) == 2 && is_inexact(dtype_of<T>()))
      return static_cast<float>(*array.data<T>()) == static_cast<float>(value);
    else return static_cast<double>(*array.data<T>()) == value;
  });
}

/// The operand to which an application with these operands is equal in every bit, if there is one.
/// Adding zero is none: it makes +0 of -0.
const Array* unchanged_operand(const Node& node, const Inputs& inputs) {
  auto same_type = [&](const Array& x) {
    return x.dtype() == node.output(0).dtype && x.shape() == node.output(0).shape;
  };
  if (&node.op == &tracer_op) return &inputs[0];
  if (node.op.row == Row::multiply) {
    if (same_type(inputs[0]) && is_everywhere(inputs[1], 1)) return &inputs[0];
    if (same_type(inputs[1]) && is_everywhere(inputs[0], 1)) return &inputs[1];
  }
  if (node.op.row == Row::divide && same_type(inputs[0]) && is_everywhere(inputs[1], 1)) {
    return &inputs[0];
  }
  return nullptr;
}

/// Finds an earlier application of the same operation to the same operands.
class Applications {
 public:
  /// The node that stands for this application, or null if it is the first.
  Node* find(const Node& node, const Inputs& inputs, size_t hash) const {
    auto [begin, end] = by_hash_.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
      if (same(*at->second.first, at->second.second, node, inputs)) return at->second.first;
    }
    return nullptr;
  }
  void add(Node& node, Inputs inputs, size_t hash) {
    by_hash_.emplace(hash, std::pair(&node, std::move(inputs)));
  }

  static size_t hash(const Node& node, const Inputs& inputs) {
    size_t seed = detail::mix(std::hash<const void*>{}(&node.op), node.attrs.hash());
    seed = detail::mix(seed, static_cast<size_t>(node.stream.index));
    for (const Array& input : inputs) seed = detail::mix(seed, hash_of(input));
    return seed;
  }

 private:
  static bool same(const Node& a, const Inputs& a_inputs, const Node& b, const Inputs& b_inputs) {
    if (&a.op != &b.op || a.stream != b.stream || a.attrs != b.attrs ||
        a_inputs.size() != b_inputs.size() || a.output_count() != b.output_count()) {
      return false;
    }
    for (size_t i = 0; i < a_inputs.size(); ++i) {
      if (!a_inputs[i].is(b_inputs[i])) return false;
    }
    for (uint32_t i = 0; i < a.output_count(); ++i) {
      if (a.output(i).dtype != b.output(i).dtype || a.output(i).shape != b.output(i).shape)
        return false;
    }
    return true;
  }

  // The inputs are kept here too: those of a node may be emptied by the runtime.
  std::unordered_multimap<size_t, std::pair<Node*, Inputs>> by_hash_;
};

class Simplifier {
 public:
  explicit Simplifier(const Captured& graph) : graph_(graph) {}

  Captured run() {
    for (const Node* node : graph_.nodes()) add(*node);
    Arrays outputs;
    for (const Array& output : graph_.outputs()) outputs.push_back(value_of(output));
    return Captured(graph_.placeholders(), std::move(outputs));
  }

 private:
  Array value_of(const Array& array) {
    auto found = values_.find(&array.node());
    if (found != values_.end()) return found->second[array.index()];
    return is_plain_scalar(array) ? shared_scalar(array) : array;
  }

  /// Equal scalar constants are one: a fused program then reads one operand, not many.
  Array shared_scalar(const Array& array) {
    uint64_t bits = 0;
    std::memcpy(&bits, array.output().data, static_cast<size_t>(size_of(array.dtype())));
    size_t key = detail::mix(static_cast<size_t>(array.dtype()), std::hash<uint64_t>{}(bits));
    auto [begin, end] = scalars_.equal_range(key);
    for (auto at = begin; at != end; ++at) {
      const Array& other = at->second;
      if (other.dtype() == array.dtype() &&
          std::memcmp(other.output().data, array.output().data,
                      static_cast<size_t>(size_of(array.dtype()))) == 0) {
        return other;
      }
    }
    scalars_.emplace(key, array);
    return array;
  }

  void add(const Node& node) {
    Inputs inputs;
    for (const Array& input : node.inputs) inputs.push_back(value_of(input));
    if (const Array* same = unchanged_operand(node, inputs)) {
      values_[&node] = {*same};
      return;
    }
    size_t hash = Applications::hash(node, inputs);
    if (Node* earlier = applications_.find(node, inputs, hash)) {
      values_[&node] = outputs_of(*earlier);
      return;
    }
    Arrays outputs = apply_again(node, inputs);
    applications_.add(outputs[0].node(), std::move(inputs), hash);
    values_[&node] = std::move(outputs);
  }

  const Captured& graph_;
  std::unordered_map<const Node*, Arrays> values_;
  std::unordered_multimap<size_t, Array> scalars_;
  Applications applications_;
};

}  // namespace

Arrays constants_of(const Captured& graph) {
  std::unordered_set<const Node*> inside(graph.nodes().begin(), graph.nodes().end());
  for (const Array& placeholder : graph.placeholders()) inside.insert(&placeholder.node());
  ArraySet seen;
  Arrays constants;
  auto add = [&](const Array& array) {
    if (!inside.contains(&array.node()) && seen.insert(array).second) constants.push_back(array);
  };
  for (const Node* node : graph.nodes()) {
    for (const Array& input : node->inputs) add(input);
  }
  for (const Array& output : graph.outputs()) add(output);
  return constants;
}

Captured simplified(const Captured& graph) { return Simplifier(graph).run(); }

Arrays apply_on(const Captured& graph, const Arrays& inputs, Stream from, Stream to) {
  std::unordered_map<const Node*, Arrays> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    values[&graph.placeholders()[i].node()] = {inputs[i]};
  }
  auto value_of = [&](const Array& array) {
    auto found = values.find(&array.node());
    return found == values.end() ? array : found->second[array.index()];
  };
  for (const Node* node : graph.nodes()) {
    Inputs own;
    for (const Array& input : node->inputs) own.push_back(value_of(input));
    values[node] = apply_again(*node, std::move(own), node->stream == from ? to : node->stream);
  }
  Arrays results;
  for (const Array& output : graph.outputs()) results.push_back(value_of(output));
  return results;
}

}  // namespace rill
