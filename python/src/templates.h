// The structure of a tree without its arrays.
#pragma once

#include "trees.h"

namespace rill::python {

/// A tree whose arrays have been taken out, so that others may be put in. Holds Python objects:
/// made, used and destroyed with the GIL.
class Template {
 public:
  /// Remembers the structure of `tree`; returns its arrays, in order.
  Arrays take(nb::handle tree);
  /// The same with Python scalars among the leaves as arrays.
  Arrays take_scalars_too(nb::handle tree, const char* operation);
  size_t count() const { return count_; }
  /// Whether the structure is the same, with equal leaves that are no arrays.
  bool is_like(const Template& other) const { return tree_.equal(other.tree_); }

  /// The tree with the first arrays of `arrays`; None for an empty one.
  nb::object fill(const Arrays& arrays) const;
  nb::object fill_with(const std::function<nb::object()>& next) const;
  /// The arrays of a tree of the same structure (tuple or list as it likes, either or none around
  /// a single one), in order: empty where it has None. Throws std::invalid_argument for another
  /// structure; `what` names the tree.
  Arrays match(nb::handle tree, const char* what) const;

 private:
  nb::object tree_;
  size_t count_ = 0;
};

}  // namespace rill::python
