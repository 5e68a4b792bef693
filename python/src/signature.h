// What a trace of a function depends on: all of its arguments but the elements of arrays.
#pragma once

#include "common.h"

namespace rill::python {

/// Made for each call.
class Signature {
 public:
  /// `with_sizes`: of arrays; without them, their ranks are what counts.
  explicit Signature(bool with_sizes = true);
  /// Throws std::invalid_argument for a leaf that is neither an array nor a constant.
  void add_arguments(const nb::args& args, const nb::kwargs& kwargs);
  /// Structure and arrays; other leaves are passed over.
  void add_state(nb::handle tree) { add(tree, 0, true); }

  /// All arrays, in order.
  const Arrays& arrays() const { return arrays_; }

 private:
  friend class StoredSignature;
  void add(nb::handle tree, int depth, bool is_state);
  void add_array(const Array& array);
  void add_items(nb::handle items, Py_ssize_t count, int depth, bool is_state);
  void add_dict(nb::handle dict, int depth, bool is_state);
  void add_constant(nb::handle leaf);
  void add_object(nb::handle object);
  void add_word(uint64_t word);

  bool with_sizes_;
  uint64_t hash_ = 0;
  SmallVector<uint64_t, 32> words_;
  SmallVector<nb::object, 16> objects_;  // dict keys, and constants that are no numbers
  Arrays arrays_;
};

/// The same to be kept.
class StoredSignature {
 public:
  StoredSignature() = default;
  explicit StoredSignature(const Signature& signature);
  bool has_hash(const Signature& signature) const { return signature.hash_ == hash_; }
  bool equals(const Signature& signature) const;

 private:
  uint64_t hash_ = 0;
  std::vector<uint64_t> words_;
  std::vector<nb::object> objects_;
};

}  // namespace rill::python
