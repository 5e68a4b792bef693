#include "rill/transforms/joined_addmm.h"

#include <algorithm>

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

}  // namespace

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

Array joined_addmm(const Node& node, const Inputs& inputs, const NodeMap<uint32_t>& reads) {
  const Output& out = node.output(0);
  if (node.op.row != Row::add || out.dtype != Dtype::float32 || out.size < least_size) return {};
  const auto once = [&](const Node& product) {
    const uint32_t* count = reads.find(&product);
    return count != nullptr && *count == 1 && product.stream == node.stream;
  };
  for (size_t i : {0, 1}) {
    const Node& made = inputs[i].node();
    const Array& addend = inputs[1 - i];
    const bool reshaped = is_reshaped_product(made);
    const Node& product = reshaped ? made.inputs[0].node() : made;
    if (!once(made) || !once(product) || &product.op != &matmul_op) continue;
    if (inputs[i].shape() != out.shape || inputs[i].dtype() != Dtype::float32) continue;
    if (addend.dtype() != Dtype::float32 || (reshaped && !is_row(addend))) continue;
    if (reshaped && inputs[i].shape().back() != product.output(0).shape.back()) continue;
    MadeFor place(&node);
    const Array c = reshaped ? reshape(addend, {addend.size()}, node.stream) : addend;
    const Array sum = addmm(c, product.inputs[0], product.inputs[1], 1, 1, node.stream);
    return reshape(sum, out.shape, node.stream);
  }
  return {};
}

}  // namespace rill
