#include "signature.h"

#include <cstring>

#include "state_trees.h"
#include "streams.h"

namespace rill::python {

namespace {

constexpr int deepest = 1000;

/// The kinds of leaves and containers, in the upper byte of a word.
enum class Tag : uint64_t {
  array = 1,
  none,
  boolean,
  integer,
  number,
  object,
  ignored,
  tuple,
  list,
  dict,
  end_of_arguments,
};
constexpr uint64_t word(Tag tag, uint64_t value = 0) {
  return static_cast<uint64_t>(tag) << 56 | value;
}

bool is_constant_object(nb::handle leaf) {
  return PyUnicode_Check(leaf.ptr()) || PyBytes_Check(leaf.ptr()) || PyComplex_Check(leaf.ptr()) ||
         nb::isinstance<Stream>(leaf) || nb::isinstance<Device>(leaf) ||
         nb::isinstance<DeviceType>(leaf) || nb::isinstance<DtypeObject>(leaf);
}

}  // namespace

Signature::Signature(bool with_sizes) : with_sizes_(with_sizes) {
  add_word(static_cast<uint64_t>(default_device().type));
}

void Signature::add_word(uint64_t word) {
  words_.push_back(word);
  hash_ = (hash_ ^ word) * 0x9e3779b97f4a7c15;
  hash_ ^= hash_ >> 29;
}

void Signature::add_object(nb::handle object) {
  Py_hash_t hash = PyObject_Hash(object.ptr());
  if (hash == -1) throw nb::python_error();
  add_word(static_cast<uint64_t>(hash));
  objects_.push_back(nb::borrow(object));
}

void Signature::add_array(const Array& array) {
  add_word(word(Tag::array,
                static_cast<uint64_t>(array.dtype()) << 32 | static_cast<uint64_t>(array.ndim())));
  if (with_sizes_) {
    for (int64_t size : array.shape()) add_word(static_cast<uint64_t>(size));
  }
  arrays_.push_back(array);
}

void Signature::add_constant(nb::handle leaf) {
  if (leaf.is_none()) return add_word(word(Tag::none));
  if (PyBool_Check(leaf.ptr())) return add_word(word(Tag::boolean, leaf.ptr() == Py_True));
  if (PyFloat_Check(leaf.ptr())) {
    double value = PyFloat_AS_DOUBLE(leaf.ptr());
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    add_word(word(Tag::number));
    return add_word(bits);
  }
  if (PyLong_Check(leaf.ptr())) {
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(leaf.ptr(), &overflow);
    add_word(word(Tag::integer, overflow != 0));
    if (overflow != 0) return add_object(leaf);
    return add_word(static_cast<uint64_t>(value));
  }
  require(is_constant_object(leaf),
          "[compile] arguments must be trees of arrays and of constants (None, bool, int, float, "
          "complex, str, bytes, dtypes, devices, streams), got {}",
          type_of(leaf));
  add_word(word(Tag::object));
  add_object(leaf);
}

void Signature::add_items(nb::handle items, Py_ssize_t count, int depth, bool is_state) {
  bool is_list = PyList_Check(items.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    require(!is_list || i < PyList_GET_SIZE(items.ptr()), "[compile] a list changed meanwhile");
    add(is_list ? PyList_GET_ITEM(items.ptr(), i) : PyTuple_GET_ITEM(items.ptr(), i), depth + 1,
        is_state);
  }
}

void Signature::add_dict(nb::handle dict, int depth, bool is_state) {
  add_word(word(Tag::dict, static_cast<uint64_t>(PyDict_Size(dict.ptr()))));
  Py_ssize_t at = 0;
  PyObject* key = nullptr;
  PyObject* item = nullptr;
  while (PyDict_Next(dict.ptr(), &at, &key, &item)) {
    nb::object held = nb::borrow(item);  // hashing a key may run Python code
    add_object(nb::borrow(key));
    add(held, depth + 1, is_state);
  }
}

void Signature::add(nb::handle tree, int depth, bool is_state) {
  require(depth < deepest, "[compile] arguments nested deeper than {} levels (or in themselves)",
          deepest);
  if (is_array(tree)) return add_array(unwrap(tree));
  if (PyDict_Check(tree.ptr())) return add_dict(tree, depth, is_state);
  if (PyList_Check(tree.ptr())) {
    Py_ssize_t count = PyList_GET_SIZE(tree.ptr());
    add_word(word(Tag::list, static_cast<uint64_t>(count)));
    return add_items(tree, count, depth, is_state);
  }
  if (PyTuple_Check(tree.ptr())) {
    Py_ssize_t count = PyTuple_GET_SIZE(tree.ptr());
    bool plain = PyTuple_CheckExact(tree.ptr());
    add_word(word(Tag::tuple, static_cast<uint64_t>(count) << 1 | static_cast<uint64_t>(plain)));
    if (!plain) add_object(reinterpret_cast<PyObject*>(Py_TYPE(tree.ptr())));
    return add_items(tree, count, depth, is_state);
  }
  if (!is_state) return add_constant(tree);
  if (is_random_state(tree)) return add_array(random::state());
  add_word(word(Tag::ignored));
}

void Signature::add_arguments(const nb::args& args, const nb::kwargs& kwargs) {
  add(args, 0, false);
  if (!kwargs.empty()) add_dict(kwargs, 0, false);
  add_word(word(Tag::end_of_arguments));
}

StoredSignature::StoredSignature(const Signature& signature)
    : hash_(signature.hash_), words_(signature.words_.begin(), signature.words_.end()) {
  objects_.assign(signature.objects_.begin(), signature.objects_.end());
}

bool StoredSignature::equals(const Signature& signature) const {
  if (words_.size() != signature.words_.size() || objects_.size() != signature.objects_.size() ||
      !std::equal(words_.begin(), words_.end(), signature.words_.begin())) {
    return false;
  }
  for (size_t i = 0; i < objects_.size(); ++i) {
    PyObject* mine = objects_[i].ptr();
    PyObject* other = signature.objects_[i].ptr();
    if (mine == other) continue;
    if (Py_TYPE(mine) != Py_TYPE(other)) return false;
    int equal = PyObject_RichCompareBool(mine, other, Py_EQ);
    if (equal < 0) throw nb::python_error();
    if (equal == 0) return false;
  }
  return true;
}

}  // namespace rill::python
