#include "rill/transforms/captured.h"

#include <unordered_map>

#include "rill/graph/context.h"
#include "rill/graph/node_map.h"
#include "rill/graph/observer.h"
#include "rill/graph/size_watch.h"
#include "rill/graph/tracing.h"

namespace rill {

const OpInfo placeholder_op{.name = "placeholder"};

Array make_placeholder(Stream stream, Dtype dtype, Shape shape) {
  lose_size_watch();
  Array placeholder = make_array(placeholder_op, stream, dtype, std::move(shape), {});
  placeholder.node().trace = placeholder_trace;
  return placeholder;
}

Array placeholder_like(const Array& array) {
  return make_placeholder(array.node().stream, array.dtype(), array.shape());
}

Arrays outputs_of(Node& node) {
  Arrays outputs;
  for (uint32_t i = 0; i < node.output_count(); ++i) outputs.push_back(Array::of(node, i));
  return outputs;
}

Arrays apply_again(const Node& node, Inputs inputs) {
  return apply_again(node, std::move(inputs), node.stream);
}

Arrays apply_again(const Node& node, Inputs inputs, Stream stream) {
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    outputs.emplace_back(node.output(i).dtype, node.output(i).shape);
  }
  MadeFor scope(&node);
  return make_arrays(node.op, stream, std::move(outputs), std::move(inputs), node.attrs);
}

namespace {

/// Finds the nodes that depend on placeholders, producers first, without recursion.
class Search {
 public:
  explicit Search(const Arrays& placeholders) {
    for (const Array& placeholder : placeholders) kinds_.emplace(&placeholder.node(), inside);
  }

  void visit(Node* root) {
    if (!kinds_.emplace(root, outside).second) return;
    stack_.push_back({root});
    while (!stack_.empty()) {
      Frame& top = stack_.back();
      if (top.next < top.node->inputs.size()) {
        Node* input = &top.node->inputs[top.next++].node();
        auto [kind, fresh] = kinds_.emplace(input, outside);
        if (fresh) stack_.push_back({input});
        else top.depends |= *kind == inside;
        continue;
      }
      Frame done = top;
      stack_.pop_back();
      if (!done.depends) continue;
      *kinds_.find(done.node) = inside;
      nodes.push_back(done.node);
      for (const Array& input : done.node->inputs) note_constant(input);
      if (!stack_.empty()) stack_.back().depends = true;
    }
  }

  /// To be called when all that `array` depends on has been visited.
  void note_constant(const Array& array) {
    Kind* kind = kinds_.find(&array.node());
    if (*kind != outside) return;
    *kind = constant;
    constants.push_back(array);
  }

  std::vector<Node*> nodes;
  Arrays constants;

 private:
  enum Kind : uint8_t { outside, inside, constant };
  struct Frame {
    Node* node;
    size_t next = 0;
    bool depends = false;
  };
  NodeMap<Kind> kinds_;
  std::vector<Frame> stack_;
};

}  // namespace

Captured::Captured(Arrays placeholders, Arrays outputs)
    : placeholders_(std::move(placeholders)), outputs_(std::move(outputs)) {
  Search search(placeholders_);
  for (const Array& output : outputs_) search.visit(&output.node());
  for (const Array& output : outputs_) search.note_constant(output);
  nodes_ = std::move(search.nodes);
  constants_ = std::move(search.constants);
}

Captured Captured::of(const ArrayFunction& f, const Arrays& inputs) {
  Arrays placeholders;
  for (const Array& input : inputs) {
    placeholders.push_back(make_placeholder(to_stream(), input.dtype(), input.shape()));
  }
  Arrays outputs = f(placeholders);
  return Captured(std::move(placeholders), std::move(outputs));
}

Arrays Captured::apply(const Arrays& inputs) const {
  require(inputs.size() == placeholders_.size(), "[apply] expected {} arrays, got {}",
          placeholders_.size(), inputs.size());
  std::unordered_map<const Node*, Arrays> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Array& like = placeholders_[i];
    require(inputs[i].shape() == like.shape() && inputs[i].dtype() == like.dtype(),
            "[apply] expected {} of shape {} for array {}, got {} of shape {}",
            name_of(like.dtype()), like.shape(), i, name_of(inputs[i].dtype()), inputs[i].shape());
    values[&like.node()] = {inputs[i]};
  }
  auto value_of = [&](const Array& array) {
    auto found = values.find(&array.node());
    return found == values.end() ? array : found->second[array.index()];
  };
  for (const Node* node : nodes_) {
    Inputs own;
    for (const Array& input : node->inputs) own.push_back(value_of(input));
    values[node] = apply_again(*node, std::move(own));
  }
  Arrays results;
  for (const Array& output : outputs_) results.push_back(value_of(output));
  return results;
}

}  // namespace rill
