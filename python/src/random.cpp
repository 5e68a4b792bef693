// rill.core.random.
#include <nanobind/stl/optional.h>

#include "arguments.h"
#include "state_trees.h"

namespace rill::python {

namespace {

auto key_arg() { return nb::arg("key") = nb::none(); }

/// A sequence of sizes; an int is refused, as in MLX.
class SizesArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(SizesArg, nb::object, "Sequence[int]", any)
  static bool any(nb::handle) { return true; }
  operator Shape() const {  // NOLINT(google-explicit-constructor)
    if (PyIndex_Check(ptr())) {
      throw_type_error("[random] shape must be a sequence of ints, got an int");
    }
    return nb::borrow<ShapeArg>(*this);
  }
  Shape value_or(const Shape& otherwise) const {
    return is_none() ? otherwise : static_cast<Shape>(*this);
  }
};

/// A key, or None.
class KeyArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(KeyArg, nb::object, "array", any)
  static bool any(nb::handle) { return true; }
  operator std::optional<Array>() const {  // NOLINT(google-explicit-constructor)
    if (is_none()) return std::nullopt;
    if (!is_array(*this)) {
      throw_type_error("[random] key must be an array or None, got " + type_of(*this));
    }
    return unwrap(*this);
  }
};

std::optional<Array> maybe_array(nb::handle object, const char* operation) {
  if (object.is_none()) return std::nullopt;
  return to_array(object, operation);
}

uint64_t to_seed(nb::handle seed) {
  if (!PyLong_Check(seed.ptr())) throw_type_error("[random] a seed must be an int");
  unsigned long long value = PyLong_AsUnsignedLongLong(seed.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    throw_type_error("[random] a seed must be an int from 0 to 2^64 - 1");
  }
  return value;
}

Shape common_shape(const Array& a, const Array& b) {
  return broadcast_shapes("random", a.shape(), b.shape());
}

void bind_state(nb::module_& m) {
  nb::class_<RandomState>(m, "RandomState",
                          "A container of one array: the key that the next draw splits.")
      .def("__len__", [](const RandomState&) { return 1; })
      .def(
          "__getitem__",
          [](const RandomState&, int64_t i) {
            if (i != 0 && i != -1) throw nb::index_error("the state is one key");
            return wrap(random::state());
          },
          nb::arg("index"))
      .def(
          "__setitem__",
          [](const RandomState&, int64_t i, ArrayArg key) {
            if (i != 0 && i != -1) throw nb::index_error("the state is one key");
            random::set_state(to_array(key, "random.state"));
          },
          nb::arg("index"), nb::arg("key"))
      .def("__iter__", [](const RandomState&) {
        nb::list items;
        items.append(wrap(random::state()));
        return nb::iter(items);
      });
  m.attr("state") = RandomState{};
}

void bind_keys(nb::module_& m) {
  m.def(
      "key", [](nb::handle seed) { return wrap(random::key(to_seed(seed))); }, nb::arg("seed"),
      nb::sig("def key(seed: int) -> array"), "The key of a seed: a uint32 array of shape (2,).");
  m.def(
      "seed", [](nb::handle seed) { random::seed(to_seed(seed)); }, nb::arg("seed"),
      nb::sig("def seed(seed: int) -> None"), "Sets the state that draws without a key use.");
  m.def(
      "split",
      [](ArrayArg key, int64_t num, StreamArg s) {
        return wrap(random::split(to_array(key, "random.split"), num, s));
      },
      nb::arg("key"), nb::arg("num") = 2, stream_arg(), "New keys from a key, shape (num, 2).");
  m.def(
      "bits",
      [](SizesArg shape, int width, KeyArg key, StreamArg s) {
        require(width == 4, "[random.bits] expected a width of 4 bytes, got {}", width);
        return wrap(random::bits(shape, key, s));
      },
      nb::arg("shape") = nb::tuple(), nb::arg("width") = 4, key_arg(), stream_arg(),
      "Random uint32 words.");
  m.def("_state", [] { return wrap(random::state()); }, "The key that the next draw splits.");
  m.def(
      "_set_state", [](ArrayArg key) { random::set_state(to_array(key, "random")); },
      nb::arg("key"), "Replaces the key that the next draw splits.");
}

void bind_floats(nb::module_& m) {
  m.def(
      "uniform",
      [](ArrayArg low, ArrayArg high, SizesArg shape, DtypeArg dtype, KeyArg key, StreamArg s) {
        return wrap(random::uniform(to_array(low, "random.uniform"),
                                    to_array(high, "random.uniform"), shape,
                                    dtype_or(dtype, Dtype::float32), key, s));
      },
      nb::arg("low") = 0, nb::arg("high") = 1, nb::arg("shape") = nb::tuple(),
      dtype_arg(Dtype::float32), key_arg(), stream_arg(), "Uniform numbers in [low, high).");
  m.def(
      "normal",
      [](SizesArg shape, DtypeArg dtype, ArrayArg loc, ArrayArg scale, KeyArg key, StreamArg s) {
        return wrap(random::normal(shape, dtype_or(dtype, Dtype::float32),
                                   maybe_array(loc, "random.normal"),
                                   maybe_array(scale, "random.normal"), key, s));
      },
      nb::arg("shape") = nb::tuple(), dtype_arg(Dtype::float32), nb::arg("loc") = nb::none(),
      nb::arg("scale") = nb::none(), key_arg(), stream_arg(),
      "Normal numbers with mean loc and standard deviation scale.");
  m.def(
      "gumbel",
      [](SizesArg shape, DtypeArg dtype, KeyArg key, StreamArg s) {
        return wrap(random::gumbel(shape, dtype_or(dtype, Dtype::float32), key, s));
      },
      nb::arg("shape") = nb::tuple(), dtype_arg(Dtype::float32), key_arg(), stream_arg(),
      "Standard Gumbel numbers.");
  m.def(
      "laplace",
      [](SizesArg shape, DtypeArg dtype, double loc, double scale, KeyArg key, StreamArg s) {
        return wrap(random::laplace(shape, dtype_or(dtype, Dtype::float32), loc, scale, key, s));
      },
      nb::arg("shape") = nb::tuple(), dtype_arg(Dtype::float32), nb::arg("loc") = 0.0,
      nb::arg("scale") = 1.0, key_arg(), stream_arg(), "Laplace numbers.");
  m.def(
      "truncated_normal",
      [](ArrayArg lower, ArrayArg upper, SizesArg shape, DtypeArg dtype, KeyArg key, StreamArg s) {
        Array low = to_array(lower, "random.truncated_normal");
        Array high = to_array(upper, "random.truncated_normal");
        return wrap(random::truncated_normal(low, high, shape.value_or(common_shape(low, high)),
                                             dtype_or(dtype, Dtype::float32), key, s));
      },
      nb::arg("lower"), nb::arg("upper"), nb::arg("shape") = nb::none(), dtype_arg(Dtype::float32),
      key_arg(), stream_arg(), "Normal numbers within (lower, upper).");
  m.def(
      "multivariate_normal",
      [](ArrayArg mean, ArrayArg cov, SizesArg shape, DtypeArg dtype, KeyArg key, StreamArg s) {
        return wrap(random::multivariate_normal(to_array(mean, "random.multivariate_normal"),
                                                to_array(cov, "random.multivariate_normal"), shape,
                                                dtype_or(dtype, Dtype::float32), key, s));
      },
      nb::arg("mean"), nb::arg("cov"), nb::arg("shape") = nb::tuple(), dtype_arg(Dtype::float32),
      key_arg(), stream_arg(), "Normal vectors of the given means and covariances.");
}

void bind_discrete(nb::module_& m) {
  m.def(
      "randint",
      [](ArrayArg low, ArrayArg high, SizesArg shape, DtypeArg dtype, KeyArg key, StreamArg s) {
        return wrap(random::randint(to_array(low, "random.randint"),
                                    to_array(high, "random.randint"), shape,
                                    dtype_or(dtype, Dtype::int32), key, s));
      },
      nb::arg("low"), nb::arg("high"), nb::arg("shape") = nb::tuple(), dtype_arg(Dtype::int32),
      key_arg(), stream_arg(), "Integers in [low, high).");
  m.def(
      "bernoulli",
      [](ArrayArg p, SizesArg shape, KeyArg key, StreamArg s) {
        Array chance = to_array(p, "random.bernoulli");
        return wrap(random::bernoulli(chance, shape.value_or(chance.shape()), key, s));
      },
      nb::arg("p") = 0.5, nb::arg("shape") = nb::none(), key_arg(), stream_arg(),
      "True with probability p.");
  m.def(
      "categorical",
      [](ArrayArg logits, int axis, SizesArg shape, nb::object num_samples, KeyArg key,
         StreamArg s) {
        Array x = to_array(logits, "random.categorical");
        std::optional<Array> drawn = key;
        require(shape.is_none() || num_samples.is_none(),
                "[random.categorical] give shape or num_samples, not both");
        if (!shape.is_none()) return wrap(random::categorical(x, axis, shape, drawn, s));
        if (!num_samples.is_none())
          return wrap(random::categorical(x, axis, to_int(num_samples, "num_samples"), drawn, s));
        return wrap(random::categorical(x, axis, drawn, s));
      },
      nb::arg("logits"), nb::arg("axis") = -1, nb::arg("shape") = nb::none(),
      nb::arg("num_samples") = nb::none(), key_arg(), stream_arg(),
      "Indices drawn with probabilities softmax(logits) along an axis.");
  m.def(
      "permutation",
      [](nb::object x, int axis, KeyArg key, StreamArg s) {
        std::optional<Array> drawn = key;
        if (PyLong_Check(x.ptr())) return wrap(random::permutation(to_int(x, "n"), drawn, s));
        return wrap(random::permutation(to_array(x, "random.permutation"), axis, drawn, s));
      },
      nb::arg("x"), nb::arg("axis") = 0, key_arg(), stream_arg(),
      "A random order of 0 .. x - 1, or of the slices of x along an axis.");
}

}  // namespace

void bind_random(nb::module_& m) {
  nb::module_ random =
      m.def_submodule("random", "Random numbers: the same for a key, wherever they are drawn.");
  bind_keys(random);
  bind_state(random);
  bind_floats(random);
  bind_discrete(random);
}

}  // namespace rill::python
