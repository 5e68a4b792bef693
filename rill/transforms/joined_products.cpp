#include "rill/transforms/joined_products.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "rill/graph/node_map.h"
#include "rill/graph/observer.h"
#include "rill/ops/matmul.h"
#include "rill/ops/shape.h"
#include "rill/ops/shape_attrs.h"

namespace rill {

namespace {

constexpr size_t least_products = 4;
constexpr int64_t longest_sum = 512;                        // one block of depth in every kernel
constexpr int64_t most_multiplications = int64_t{1} << 20;  // of one: others are worth a call
constexpr int64_t most_numbers = int64_t{1} << 22;          // of all results, which live together

/// A product of one row of an array (what has one index along its first axis) and a matrix.
struct RowProduct {
  Node* node;
  int64_t row;
};

/// The slice of which `value` is another shape, if that is a row x[i] with the last axis of x.
const Node* row_slice(const Array& value) {
  const Node* node = &value.node();
  while (&node->op == &reshape_op) node = &node->inputs[0].node();
  if (&node->op != &slice_op) return nullptr;
  const Shape& of = node->inputs[0].shape();
  const Shape& size = node->output(0).shape;
  if (of.ssize() < 2 || size[0] != 1 || size.back() != value.shape().back()) return nullptr;
  const auto& [start, step] = node->attrs.as<SliceAttrs>();
  for (int i = 1; i < size.ssize(); ++i) {
    if (start[i] != 0 || step[i] != 1 || size[i] != of[i]) return nullptr;
  }
  return node;
}

/// Is it float32 with sums that all kernels add up alike, and small enough to be joined?
bool is_joinable(const Node& product) {
  const Array& a = product.inputs[0];
  const Array& b = product.inputs[1];
  if (product.output(0).dtype != Dtype::float32 || b.ndim() != 2 || a.ndim() < 2) return false;
  const int64_t k = b.shape()[0];
  const int64_t n = b.shape()[1];
  // Products of vectors add up in another order.
  const int64_t rows = a.shape()[a.ndim() - 2];
  return k > 0 && k <= longest_sum && rows > 1 && n > 1 && a.size() * n <= most_multiplications;
}

/// By the array, the matrix and the stream.
using Group = std::tuple<const Node*, int, const Node*, int, int>;

std::map<Group, std::vector<RowProduct>> groups_of(const Captured& graph) {
  std::map<Group, std::vector<RowProduct>> groups;
  for (Node* node : graph.nodes()) {
    if (&node->op != &matmul_op) continue;
    const Node* slice = row_slice(node->inputs[0]);
    if (slice == nullptr || !is_joinable(*node)) continue;
    const Array& x = slice->inputs[0];
    const Array& w = node->inputs[1];
    groups[{&x.node(), static_cast<int>(x.index()), &w.node(), static_cast<int>(w.index()),
            static_cast<int>(node->stream.index)}]
        .push_back({node, slice->attrs.as<SliceAttrs>().start[0]});
  }
  return groups;
}

/// What the products of a group are as parts of one; nothing where they leave rows out.
void join(std::vector<RowProduct> products, NodeMap<Array>& joined) {
  std::sort(products.begin(), products.end(),
            [](const RowProduct& a, const RowProduct& b) { return a.row < b.row; });
  const int64_t first = products.front().row;
  const auto count = static_cast<int64_t>(products.size());
  const Node& node = *products.front().node;
  if (products.size() < least_products || products.back().row - first + 1 != count ||
      count * node.output(0).size > most_numbers) {
    return;
  }
  const Stream stream = node.stream;
  const Array& x = row_slice(node.inputs[0])->inputs[0];
  Shape start(x.shape().size(), 0);
  const Shape step(x.shape().size(), 1);
  Shape size = x.shape();
  start[0] = first;
  size[0] = count;
  MadeFor place(&node);
  const Array product = matmul(slice(x, start, step, size, stream), node.inputs[1], stream);
  Shape part = product.shape();
  part[0] = 1;
  for (const RowProduct& each : products) {
    start[0] = each.row - first;
    const Array row = slice(product, start, step, part, stream);
    joined.emplace(each.node, reshape(row, each.node->output(0).shape, stream));
  }
}

/// The graph with joined products in the place of those that it reads; whether it read any.
bool replace(Captured& graph, const NodeMap<Array>& joined) {
  bool changed = false;
  const auto value_of = [&](const Array& array) {
    const Array* found = joined.find(&array.node());
    changed = changed || found != nullptr;
    return found == nullptr ? array : *found;
  };
  for (Node* node : graph.nodes()) {
    for (Array& input : node->inputs) {
      if (Array value = value_of(input); !value.is(input)) input = std::move(value);
    }
  }
  Arrays outputs;
  for (const Array& output : graph.outputs()) outputs.push_back(value_of(output));
  if (changed) graph = Captured(graph.placeholders(), std::move(outputs));
  return changed;
}

}  // namespace

Captured with_joined_products(Captured graph) {
  NodeMap<Array> joined;
  for (auto& [group, products] : groups_of(graph)) join(std::move(products), joined);
  // Joined products, which are new nodes, may read others.
  while (!joined.empty() && replace(graph, joined)) {
  }
  return graph;
}

}  // namespace rill
