// Arrays from nested lists and tuples.
#include <utility>

#include "convert.h"

namespace rill::python {

namespace {

constexpr int deepest = 64;

Py_ssize_t length(PyObject* list) { return Py_SIZE(list); }
PyObject* item(PyObject* list, Py_ssize_t i) {
  return PyList_Check(list) ? PyList_GET_ITEM(list, i) : PyTuple_GET_ITEM(list, i);
}

/// The sizes along the first items. Also for what is no list: no sizes.
Shape sizes_of(nb::handle object, int depth) {
  Shape shape;
  while (is_list(object)) {
    require(depth + shape.ssize() < deepest,
            "[array] the lists are nested deeper than {}, or contain themselves", deepest);
    shape.push_back(length(object.ptr()));
    if (shape.back() == 0) break;
    object = item(object.ptr(), 0);
  }
  return shape;
}

[[noreturn]] void refuse_ragged(const Shape& expected, const Shape& actual) {
  throw std::invalid_argument(
      fmt::format("[array] the lists are ragged: expected items of shape {}, got one of shape {}",
                  expected, actual));
}

/// What became of filling an array of one element type.
enum class Outcome { done, wider, composed };

/// Writes the leaves of nested lists one after the other as elements of type T. Stops at a leaf
/// that is no scalar (`composed`) and, unless the dtype was asked for, at one that T cannot hold
/// (`wider`, and `needed` tells what can). No Python code runs until it stops: no list can change.
template <class T>
class Filler {
 public:
  Filler(const Shape& shape, T* out, bool asked) : shape_(shape), out_(out), asked_(asked) {}

  Dtype needed = dtype_of<T>();

  Outcome fill(PyObject* list, int axis = 0) {
    if (length(list) != shape_[axis]) refuse_item(list, axis - 1);
    if (axis + 1 == shape_.ssize()) return fill_leaves(list, axis);
    for (Py_ssize_t i = 0; i < shape_[axis]; ++i) {
      PyObject* row = item(list, i);
      if (!is_list(row)) return compose_or_refuse(row, axis);
      if (Outcome outcome = fill(row, axis + 1); outcome != Outcome::done) return outcome;
    }
    return Outcome::done;
  }

 private:
  Outcome fill_leaves(PyObject* list, int axis) {
    Py_ssize_t n = length(list);
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* leaf = item(list, i);
      if constexpr (std::is_floating_point_v<T>) {
        if (PyFloat_CheckExact(leaf)) {
          *out_++ = static_cast<T>(PyFloat_AS_DOUBLE(leaf));
          continue;
        }
      } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        if (PyLong_CheckExact(leaf)) {
          int overflow = 0;
          long long value = PyLong_AsLongLongAndOverflow(leaf, &overflow);
          if (overflow == 0 && (asked_ || std::in_range<T>(value))) {
            *out_++ = static_cast<T>(value);
            continue;
          }
        }
      }
      if (!is_python_scalar(leaf)) return compose_or_refuse(leaf, axis);
      Scalar scalar = read_scalar(leaf);
      if (!asked_ && !holds(scalar)) return Outcome::wider;
      *out_++ = convert<T>(scalar);
    }
    return Outcome::done;
  }

  Outcome compose_or_refuse(PyObject* object, int axis) {
    nb::object guard = nb::borrow(object);  // looking at it may run Python code that changes lists
    if (is_array(object) || is_foreign(object)) return Outcome::composed;
    refuse_item(object, axis);
  }

  bool holds(const Scalar& scalar) {
    constexpr Dtype own = dtype_of<T>();
    if (scalar.kind < kind_of(own)) return true;
    needed = scalar.dtype();
    if (scalar.kind == kind_of(own)) {
      if constexpr (own == Dtype::uint64) {
        require(scalar.width == Width::uint64 || scalar.integer >= 0,
                "[array] no integer dtype holds both {} and ints above 2**63", scalar.integer);
        return true;
      }
      constexpr Width width = own == Dtype::int32 ? Width::int32 : Width::int64;
      if (scalar.kind != Kind::integer || scalar.width <= width) return true;
    }
    return false;
  }

  /// A leaf of no kind that we know, or a list of another size than its siblings.
  [[noreturn]] void refuse_item(PyObject* object, int axis) {
    if (!is_list(object) && !is_python_scalar(object)) {
      throw std::invalid_argument(
          fmt::format("[array] cannot make an element of a {}", type_of(object)));
    }
    refuse_ragged(Shape(shape_.begin() + axis + 1, shape_.end()), sizes_of(object, axis + 1));
  }

  const Shape& shape_;
  T* out_;
  bool asked_;
};

/// The array of nested lists of Python scalars; nothing if other things are among them.
std::optional<Array> from_scalars(PyObject* list, const Shape& shape, std::optional<Dtype> asked) {
  Dtype dtype = asked ? *asked : element_count(shape) == 0 ? Dtype::float32 : Dtype::bool_;
  while (true) {
    Ref<Buffer> block =
        Buffer::allocate(static_cast<size_t>(element_count(shape)) * size_of(dtype));
    Dtype needed = dtype;
    Outcome outcome = visit_type(dtype, [&]<class T>(type_tag<T>) {
      Filler<T> filler(shape, static_cast<T*>(block->data()), asked.has_value());
      Outcome result = filler.fill(list);
      needed = filler.needed;
      return result;
    });
    if (outcome == Outcome::done) return make_computed(dtype, shape, std::move(block));
    if (outcome == Outcome::composed) return std::nullopt;
    dtype = needed;
  }
}

/// Makes an array of each item and stacks them.
Array compose(nb::handle list, std::optional<Dtype> asked, int depth) {
  Arrays parts;
  Dtype dtype = asked.value_or(Dtype::bool_);
  for (Py_ssize_t i = 0; i < length(list.ptr()); ++i) {  // foreign code may change the list
    nb::object part = nb::borrow(item(list.ptr(), i));
    parts.push_back(is_list(part) ? from_lists(part, asked, depth + 1)
                                  : make_from_python(part, asked));
    if (parts.back().shape() != parts.front().shape()) {
      refuse_ragged(parts.front().shape(), parts.back().shape());
    }
    if (!asked) dtype = promote(dtype, parts.back().dtype());
  }
  for (Array& part : parts) part = astype(part, dtype);
  return stack(parts);
}

}  // namespace

Array from_lists(nb::handle list, std::optional<Dtype> dtype, int depth) {
  Shape shape = sizes_of(list, depth);
  if (std::optional<Array> array = from_scalars(list.ptr(), shape, dtype)) return *array;
  return compose(list, dtype, depth);
}

}  // namespace rill::python
