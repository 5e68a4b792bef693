#include "rill/runtime/walk.h"

#include <algorithm>
#include <span>

#include "rill/ops/elementwise.h"
#include "rill/ops/reduce_ops.h"
#include "rill/runtime/debug.h"
#include "rill/transforms/captured.h"

namespace rill {

uint64_t current_walk = 0;

const Shape& shape_of_group(const Node& last) {
  return last.op.is_elementwise() ? last.output(0).shape : last.inputs[0].shape();
}

namespace {

// Programs stay small enough that their tiles fit the first-level cache.
constexpr uint32_t most_instructions = 128;
constexpr uint32_t most_inputs = 24;  // that are more than one number
// What costs more than this is rather kept than computed again; an addition costs 1.
constexpr uint32_t most_cost = 16;
// Nodes between the readers of a value; it may be kept for fewer, in a cache perhaps.
constexpr uint32_t least_distance = 24;

/// Whether a node may end a program that computes its operand. (Complex numbers are reduced as
/// pairs, from memory.)
bool is_fusable_reduction(const Node& node) {
  return &node.op == &reduce_op && !is_complex(node.inputs[0].dtype());
}

uint32_t cost_of(Row row) {
  constexpr Row cheap[] = {Row::negative, Row::square, Row::add,     Row::subtract,
                           Row::multiply, Row::abs,    Row::maximum, Row::minimum};
  constexpr Row moderate[] = {Row::reciprocal, Row::sqrt, Row::rsqrt,   Row::exp,   Row::log,
                              Row::tanh,       Row::erf,  Row::sigmoid, Row::divide};
  auto among = [&](std::span<const Row> rows) {
    return std::find(rows.begin(), rows.end(), row) != rows.end();
  };
  RowKind kind = info(row).kind;
  bool test = kind == RowKind::compare || kind == RowKind::cast || kind == RowKind::select;
  return test || among(cheap) ? 1 : among(moderate) ? 8 : most_cost + 1;
}

}  // namespace

bool Walk::is_input(const Node& node) const {
  return !node.is_pending() || (placeholders_are_inputs_ && &node.op == &placeholder_op);
}

void Walk::push(Node* node) {
  require(&node->op != &placeholder_op,
          "[eval] cannot evaluate an array inside a transformation that has no values yet "
          "(a function given to compile, vmap or export must not evaluate, print or convert "
          "what it computes, and what it computes has a value outside only if it returns it or, "
          "with compile, lists it in `outputs`)");
  node->visit = current_walk;
  node->uses = 0;
  stack_.push_back({node, node->inputs.begin(), node->inputs.end()});
}

/// Depth first with a stack of its own: graphs may be a million deep.
void Walk::visit(Node* root) {
  push(root);
  while (!stack_.empty()) {
    Frame& top = stack_.back();
    if (top.next_input == top.inputs_end) {
      Node* node = top.node;
      node->position = static_cast<uint32_t>(order.size());
      most_bytes_ = std::max(most_bytes_, node->output(0).bytes());
      order.push_back(node);
      stack_.pop_back();
      continue;
    }
    Node* input = &(top.next_input++)->node();
    if (input->visit != current_walk) {
      if (is_input(*input)) continue;
      push(input);
    }
    input->uses += 1;
  }
}

void Walk::collect(const Arrays& outputs, bool placeholders_are_inputs) {
  placeholders_are_inputs_ = placeholders_are_inputs;
  order.clear();
  stack_.clear();  // an eval that was refused left its own
  most_bytes_ = 0;
  ++current_walk;
  for (const Array& output : outputs) {
    Node* node = &output.node();
    if (node->visit != current_walk && !is_input(*node)) visit(node);
  }
  wanted.assign(order.size(), false);
  for (const Array& output : outputs) {
    if (output.node().visit == current_walk) wanted[output.node().position] = true;
  }
}

inline bool Walk::is_known_input(const Node& input, uint32_t into) const {
  if (input.visit == current_walk) return consumer_[input.position] == into;
  return input.visit == ~current_walk && input.position == into;
}

/// How many operands of a node are no single numbers and, as far as is known, not read by a group.
inline uint32_t Walk::new_inputs(const Node& node, uint32_t into) const {
  uint32_t count = 0;
  for (const Array& input : node.inputs) {
    count += input.output().size > 1 && !is_known_input(input.node(), into) ? 1 : 0;
  }
  return count;
}

/// The number of inputs that a node brings to a group; none if it may not join.
std::optional<uint32_t> Walk::inputs_to_join(uint32_t position, uint32_t into) const {
  const Node& node = *order[position];
  if (into >= many || !node.op.is_elementwise() || fusion_is_off()) return std::nullopt;
  const Node& last = *order[into];
  if (group_size[into] >= most_instructions || node.stream != last.stream ||
      node.output(0).shape != shape_of_group(last)) {
    return std::nullopt;
  }
  uint32_t count = new_inputs(node, into);
  return group_inputs_[into] + count <= most_inputs ? std::optional(count) : std::nullopt;
}

void Walk::join(uint32_t position, uint32_t into, uint32_t new_inputs) {
  group_size[into] += 1;
  group_inputs_[into] += new_inputs - (order[position]->output(0).size > 1 ? 1 : 0);
}

void Walk::note_reader(const Node& producer, uint32_t reader) {
  uint32_t& known = consumer_[producer.position];
  if (known == none) known = reader;
  else if (known != reader) known = many;
  if (readers_.empty()) return;
  auto& [groups, count] = readers_[producer.position];
  auto end = groups.begin() + std::min<size_t>(count, groups.size());
  if (std::find(groups.begin(), end, reader) != end) return;
  if (reader == many) count = many;
  else if (count < groups.size()) groups[count++] = reader;
  else count = many;
}

Walk::Recipe Walk::recipe_of(const Array& input, const Node& reader) const {
  const Node& producer = input.node();
  bool fits = producer.visit == current_walk && producer.stream == reader.stream &&
              producer.output(0).shape == reader.output(0).shape;
  return fits ? recipes_[producer.position] : Recipe{&input.output(), 0};
}

/// What is held is its own source. Operands that are small beside the result are read again at no
/// price.
void Walk::find_recipes() {
  recipes_.assign(order.size(), {});
  for (uint32_t i = 0; i < order.size(); ++i) {
    const Node& node = *order[i];
    const Output& out = node.output(0);
    recipes_[i] = {&out, 0};
    if (!node.op.is_elementwise() || out.bytes() < large_bytes || is_held(i)) continue;
    Recipe own{nullptr, cost_of(node.op.row)};
    bool one_source = true;
    for (const Array& input : node.inputs) {
      if (input.size() <= out.size / 8) continue;
      Recipe before = recipe_of(input, node);
      own.cost += before.cost;
      one_source &= own.source == nullptr || own.source == before.source;
      own.source = before.source;
    }
    if (one_source && own.source != nullptr && own.cost <= most_cost) recipes_[i] = own;
  }
}

/// Whether all readers compute the node for themselves, from what is stored anyway.
bool Walk::is_computed_again(uint32_t position) const {
  if (recipes_.empty() || recipes_[position].cost == 0) return false;
  const auto& [groups, count] = readers_[position];
  if (count < 2 || count > groups.size()) return false;
  auto [first, last] = std::minmax_element(groups.begin(), groups.begin() + count);
  if (*last - *first < least_distance) return false;
  for (uint32_t i = 0; i < count; ++i) {
    if (!inputs_to_join(position, groups[i])) return false;
  }
  return true;
}

/// A node joins the group of its consumers if that is one group: then no path leaves the group
/// and comes back, so that it can run as one step. Consumers come before producers here.
///
/// Where large arrays are at hand, a cheap node that several groups read, much apart, is part of
/// each of them: it is computed again rather than kept in memory between them, as from the forward
/// to the backward pass. The operations are the same, and so are the bits.
void Walk::fuse() {
  size_t count = order.size();
  group.assign(count, none);
  consumer_.assign(count, none);
  next.assign(count, none);
  group_size.assign(count, 0);
  group_inputs_.assign(count, 0);
  again_.clear();
  recipes_.clear();
  readers_.clear();
  if (is_large()) {
    find_recipes();
    readers_.assign(count, {});
  }
  for (uint32_t i = static_cast<uint32_t>(count); i-- > 0;) {
    Node& node = *order[i];
    auto read_inputs = [&](uint32_t reader, uint32_t own) {
      for (const Array& input : node.inputs) {
        Node& producer = input.node();
        if (producer.visit == current_walk) {
          note_reader(producer, reader);
        } else {
          producer.visit = ~current_walk;  // read by this group, as far as this walk knows
          producer.position = own;
        }
      }
    };
    uint32_t into = consumer_[i];
    if (is_computed_again(i)) {
      group[i] = many;
      const Readers readers = readers_[i];
      for (uint32_t k = 0; k < readers.count; ++k) {
        again_[readers.groups[k]].push_back(i);
        join(i, readers.groups[k], new_inputs(node, readers.groups[k]));
        read_inputs(readers.groups[k], readers.groups[k]);
      }
      continue;
    }
    if (std::optional<uint32_t> inputs = inputs_to_join(i, into)) {
      group[i] = into;
      next[i] = next[into];
      next[into] = i;
      join(i, into, *inputs);
    } else {
      group[i] = i;
      group_size[i] = 1;
      group_inputs_[i] = new_inputs(node, i);
    }
    bool fusable = node.op.is_elementwise() || is_fusable_reduction(node);
    read_inputs(fusable ? group[i] : many, group[i]);
  }
}

SmallVector<uint32_t, 8> Walk::members_of(uint32_t last) const {
  SmallVector<uint32_t, 8> members;
  members.reserve(group_size[last]);
  // The list of the group begins at its last node and goes on with the first.
  for (uint32_t i = next[last]; i != none; i = next[i]) members.push_back(i);
  members.push_back(last);
  if (again_.empty()) return members;
  auto again = again_.find(last);
  if (again == again_.end()) return members;
  members.append(again->second.begin(), again->second.end());
  std::sort(members.begin(), members.end());
  return members;
}

}  // namespace rill
