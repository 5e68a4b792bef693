// Trees of state: containers whose arrays a compiled function reads and replaces.
#pragma once

#include "trees.h"

namespace rill::python {

/// mx.random.state: a container of one array, the key that the next draw splits.
struct RandomState {};
inline bool is_random_state(nb::handle object) { return nb::isinstance<RandomState>(object); }

/// What an array of a state tree was before, and where.
class StateBackup {
 public:
  /// Notes every array of `tree`; puts what `replacement` returns in its place, if that is another
  /// object. Lists, dicts and mx.random.state are changed in place; a tuple is replaced.
  void visit(nb::handle tree, const std::function<nb::object(nb::handle)>& replacement);
  /// Puts every array back.
  void restore() const;

  struct Slot {
    nb::object container;  // a list, a dict, or mx.random.state
    nb::object key;
    nb::object value;
  };
  const std::vector<Slot>& slots() const { return slots_; }
  /// What stands in a slot now; null if nothing does.
  static nb::object current(const Slot& slot);
  static void put(const Slot& slot, nb::handle value);

 private:
  nb::object visit_child(nb::handle child, const std::function<nb::object(nb::handle)>& f,
                         int depth);
  void visit_slot(nb::handle container, nb::object key, nb::handle child,
                  const std::function<nb::object(nb::handle)>& f, int depth);
  std::vector<Slot> slots_;
};

/// The structure of a tree, its arrays left out.
class TreeTemplate {
 public:
  TreeTemplate() = default;
  explicit TreeTemplate(nb::handle tree);

  /// A tree with the arrays of `next()` in place of those left out.
  nb::object build(const std::function<nb::object()>& next) const;
  /// Writes them into `tree`, which has the structure or nearly so: containers that are there are
  /// changed in place, others are made.
  void write(nb::handle tree, const std::function<nb::object()>& next) const;

  const nb::object& object() const { return tree_; }
  nb::object& object() { return tree_; }

 private:
  nb::object tree_;
};

}  // namespace rill::python
