// The pending graph below some outputs, and which of its nodes run as one step. For the planner.
#pragma once

#include <array>
#include <optional>
#include <unordered_map>
#include <vector>

#include "rill/graph/op.h"

namespace rill {

/// The number of the walk at hand: what it has seen carries it in `Node::visit`. Guarded by the
/// scheduling lock.
extern uint64_t current_walk;

/// The shape over which a group runs, from its last node.
const Shape& shape_of_group(const Node& last);

/// Producers come first. A group of nodes has the position of its last node as its number. Scratch
/// is kept between evals.
class Walk {
 public:
  static constexpr uint32_t none = ~0u;
  static constexpr uint32_t many = none - 1;

  std::vector<Node*> order;
  std::vector<uint32_t> group;           // by position; `many` for what its readers compute again
  std::vector<uint32_t> next;            // by position: the next node of the group
  std::vector<uint32_t> group_size;      // by position of the last node
  std::vector<bool> wanted;              // by position: is an output of the eval
  std::vector<uint32_t> lane_of_stream;  // by the index of a stream; may be out of date

  // For who makes steps of the groups, by position: the task of a stored node; the group and, in
  // that, the register of a node.
  std::vector<uint32_t> task_of;
  std::vector<uint32_t> member_of;
  std::vector<uint16_t> registers;

  void collect(const Arrays& outputs, bool placeholders_are_inputs);
  void fuse();

  /// The nodes of a group, producers first.
  SmallVector<uint32_t, 8> members_of(uint32_t last) const;
  /// Whether the value is needed beyond the nodes of the walk that read it.
  bool is_held(uint32_t position) const {
    return wanted[position] || order[position]->use_count() > order[position]->uses;
  }
  /// Whether some array is so large that its memory is worth a thought.
  bool is_large() const { return most_bytes_ >= large_bytes; }

 private:
  static constexpr size_t large_bytes = size_t{1} << 20;

  struct Frame {
    Node* node;
    const Array* next_input;
    const Array* inputs_end;
  };
  /// How an elementwise node follows from one array that is stored, of its own size.
  struct Recipe {
    const Output* source = nullptr;
    uint32_t cost = 0;
  };
  /// The groups that read a node; more than fit are too many.
  struct Readers {
    std::array<uint32_t, 3> groups;
    uint32_t count = 0;
  };

  bool is_input(const Node& node) const;
  void visit(Node* node);
  void push(Node* node);
  std::optional<uint32_t> inputs_to_join(uint32_t position, uint32_t into) const;
  uint32_t new_inputs(const Node& node, uint32_t into) const;
  bool is_known_input(const Node& input, uint32_t into) const;
  void join(uint32_t position, uint32_t into, uint32_t new_inputs);
  void note_reader(const Node& producer, uint32_t reader);
  void find_recipes();
  Recipe recipe_of(const Array& input, const Node& reader) const;
  bool is_computed_again(uint32_t position) const;

  std::vector<Frame> stack_;
  std::vector<uint32_t> consumer_;  // by position: the one group that reads it, or many
  std::vector<uint32_t> group_inputs_;
  std::vector<Recipe> recipes_;   // by position; of a large walk, as the following
  std::vector<Readers> readers_;  // by position
  std::unordered_map<uint32_t, SmallVector<uint32_t, 8>> again_;  // by group: nodes computed again
  size_t most_bytes_ = 0;
  bool placeholders_are_inputs_ = false;
};

}  // namespace rill
