#include "rill/transforms/simplify.h"

#include <bit>
#include <cstring>
#include <map>
#include <unordered_map>

#include "rill/graph/node_map.h"
#include "rill/ops/composed.h"
#include "rill/ops/elementwise.h"
#include "rill/transforms/control_parts.h"
#include "rill/transforms/joined_addmm.h"
#include "rill/transforms/joined_products.h"
#include "rill/transforms/vjp.h"

namespace rill {

namespace {

size_t hash_of(const Array& array) {
  return detail::mix(std::hash<const void*>{}(&array.node()), array.index());
}

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
  if (&node.op == &tracer_op || &node.op == &sized_op) return &inputs[0];
  if (node.op.row == Row::multiply) {
    if (same_type(inputs[0]) && is_everywhere(inputs[1], 1)) return &inputs[0];
    if (same_type(inputs[1]) && is_everywhere(inputs[0], 1)) return &inputs[1];
  }
  if (node.op.row == Row::divide && same_type(inputs[0]) && is_everywhere(inputs[1], 1)) {
    return &inputs[0];
  }
  return nullptr;
}

/// Applications seen, by what they apply to what.
class Applications {
 public:
  explicit Applications(size_t most) : slots_(std::bit_ceil(2 * most + 1)) {}

  /// The first node that does the same as `node`: perhaps itself, which is kept then.
  Node* first_like(Node* node) {
    size_t hash = hash_of(*node);
    size_t place = hash & (slots_.size() - 1);
    while (slots_[place].node != nullptr) {
      if (slots_[place].hash == hash && same(*slots_[place].node, *node)) break;
      place = (place + 1) & (slots_.size() - 1);
    }
    if (slots_[place].node == nullptr) slots_[place] = {hash, node};
    return slots_[place].node;
  }

 private:
  struct Slot {
    size_t hash = 0;
    Node* node = nullptr;
  };

  static size_t hash_of(const Node& node) {
    size_t seed = detail::mix(std::hash<const void*>{}(&node.op), node.attrs.hash());
    seed = detail::mix(seed, static_cast<size_t>(node.stream.index));
    for (const Array& input : node.inputs) seed = detail::mix(seed, rill::hash_of(input));
    return (seed * 0x9e3779b97f4a7c15) >> 20;
  }

  static bool same(const Node& a, const Node& b) {
    if (&a.op != &b.op || a.stream != b.stream || a.attrs != b.attrs ||
        a.inputs.size() != b.inputs.size() || a.output_count() != b.output_count()) {
      return false;
    }
    for (size_t i = 0; i < a.inputs.size(); ++i) {
      if (!a.inputs[i].is(b.inputs[i])) return false;
    }
    for (uint32_t i = 0; i < a.output_count(); ++i) {
      if (a.output(i).dtype != b.output(i).dtype || a.output(i).shape != b.output(i).shape)
        return false;
    }
    return true;
  }

  std::vector<Slot> slots_;
};

class Simplifier {
 public:
  explicit Simplifier(Captured graph)
      : graph_(std::move(graph)), applications_(graph_.nodes().size()) {}

  Captured run() {
    find_unread_histories();
    for (Node* node : graph_.nodes()) visit(node);
    if (replaced_.empty()) return std::move(graph_);
    Arrays outputs;
    for (const Array& output : graph_.outputs()) outputs.push_back(value_of(output));
    return Captured(graph_.placeholders(), std::move(outputs));
  }

 private:
  Array value_of(const Array& array) {
    if (!replaced_.empty()) {
      if (const Array* found = replaced_.find(&array.node())) {
        // Another node stands for all outputs of one; another array for its only output.
        return array.index() == 0 ? *found : Array::of(found->node(), array.index());
      }
    }
    return is_plain_scalar(array) ? shared_scalar(array) : array;
  }

  /// Equal scalar constants are one: a fused program then reads one operand, not many.
  Array shared_scalar(const Array& array) {
    auto size = static_cast<size_t>(size_of(array.dtype()));
    uint64_t bits = 0;
    std::memcpy(&bits, array.output().data, size);
    auto [place, fresh] = scalars_.emplace(std::pair(array.dtype(), bits), array);
    return place->second;
  }

  /// Of scans that keep the carry of each step, those where nothing reads it.
  void find_unread_histories() {
    for (Node* node : graph_.nodes()) {
      if (&node->op == &control::scan_op && node->attrs.as<control::ScanAttrs>().history) {
        unread_histories_.emplace(node, true);
      }
    }
    if (unread_histories_.empty()) return;
    auto read = [&](const Array& array) {
      bool* unread = unread_histories_.find(&array.node());
      if (unread == nullptr) return;
      const int64_t carry = array.node().attrs.as<control::ScanAttrs>().carry;
      if (array.index() >= array.node().output_count() - carry) *unread = false;
    };
    for (Node* node : graph_.nodes()) {
      for (const Array& input : node->inputs) read(input);
    }
    for (const Array& output : graph_.outputs()) read(output);
  }

  void visit(Node* node) {
    for (Array& input : node->inputs) {
      if (Array value = value_of(input); !value.is(input)) input = std::move(value);
    }
    if (!unread_histories_.empty()) {
      const bool* unread = unread_histories_.find(node);
      if (unread != nullptr && *unread) {
        replaced_.emplace(node, control::without_history(*node));
        return;
      }
    }
    if (const Array* same = unchanged_operand(*node, node->inputs)) {
      replaced_.emplace(node, *same);
      return;
    }
    Node* first = applications_.first_like(node);
    if (first != node) replaced_.emplace(node, Array::of(*first));
  }

  Captured graph_;  // keeps the nodes that are replaced until the end
  NodeMap<Array> replaced_;
  NodeMap<bool> unread_histories_;
  std::map<std::pair<Dtype, uint64_t>, Array> scalars_;
  Applications applications_;
};

}  // namespace

Captured simplified(Captured graph) {
  // Once equal products are one.
  return with_joined_sums(with_joined_products(Simplifier(std::move(graph)).run()));
}

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
