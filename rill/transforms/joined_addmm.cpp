#include "rill/transforms/joined_addmm.h"

#include <algorithm>

#include "rill/graph/node_map.h"
#include "rill/graph/observer.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/matmul.h"
#include "rill/ops/shape.h"
#include "rill/ops/shape_attrs.h"

namespace rill {

namespace {

// Smaller results are in the second cache when the sum comes, and it costs next to nothing there.
constexpr int64_t least_size = int64_t{1} << 18;

bool is_reshaped_product(const Node& node) {
  return &node.op == &reshape_op && &node.inputs[0].node().op == &matmul_op;
}

/// Does the addend vary along the last axis alone?
bool is_row(const Array& addend) {
  const Shape& shape = addend.shape();
  return std::all_of(shape.begin(), shape.end() - std::min(shape.ssize(), 1),
                     [](int64_t size) { return size == 1; });
}

/// How often the products of a graph, and the other shapes that they are given, are read: by nodes
/// and as outputs.
NodeMap<uint32_t> reads_of_products(const Captured& graph) {
  NodeMap<uint32_t> reads;
  for (const Node* node : graph.nodes()) {
    if (&node->op == &matmul_op || is_reshaped_product(*node)) reads.emplace(node, 0);
  }
  if (reads.empty()) return reads;
  const auto read = [&](const Array& array) {
    if (uint32_t* count = reads.find(&array.node())) ++*count;
  };
  for (const Node* node : graph.nodes()) {
    for (const Array& input : node->inputs) read(input);
  }
  for (const Array& output : graph.outputs()) read(output);
  return reads;
}

/// The addmm that does what the addition `node` does; empty where there is none.
Array joined_addmm(const Node& node, const NodeMap<uint32_t>& reads) {
  const Output& out = node.output(0);
  if (node.op.row != Row::add || out.dtype != Dtype::float32 || out.size < least_size) return {};
  const auto once = [&](const Node& product) {
    const uint32_t* count = reads.find(&product);
    return count != nullptr && *count == 1 && product.stream == node.stream;
  };
  for (size_t i : {0, 1}) {
    const Node& made = node.inputs[i].node();
    const Array& addend = node.inputs[1 - i];
    const bool reshaped = is_reshaped_product(made);
    const Node& product = reshaped ? made.inputs[0].node() : made;
    if (!once(made) || !once(product) || &product.op != &matmul_op) continue;
    if (node.inputs[i].shape() != out.shape || node.inputs[i].dtype() != Dtype::float32) continue;
    if (addend.dtype() != Dtype::float32 || (reshaped && !is_row(addend))) continue;
    if (reshaped && node.inputs[i].shape().back() != product.output(0).shape.back()) continue;
    MadeFor place(&node);
    const Array c = reshaped ? reshape(addend, {addend.size()}, node.stream) : addend;
    const Array sum = addmm(c, product.inputs[0], product.inputs[1], 1, 1, node.stream);
    return reshape(sum, out.shape, node.stream);
  }
  return {};
}

}  // namespace

Captured with_joined_sums(Captured graph) {
  const NodeMap<uint32_t> reads = reads_of_products(graph);
  if (reads.empty()) return graph;
  NodeMap<Array> joined;
  const auto value_of = [&](const Array& array) {
    const Array* found = joined.find(&array.node());
    return found == nullptr ? array : *found;
  };
  for (Node* node : graph.nodes()) {
    for (Array& input : node->inputs) {
      if (Array value = value_of(input); !value.is(input)) input = std::move(value);
    }
    if (Array sum = joined_addmm(*node, reads)) joined.emplace(node, std::move(sum));
  }
  if (joined.empty()) return graph;
  Arrays outputs;
  for (const Array& output : graph.outputs()) outputs.push_back(value_of(output));
  return Captured(graph.placeholders(), std::move(outputs));
}

}  // namespace rill
