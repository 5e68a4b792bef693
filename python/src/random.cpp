// rill.core.random.
#include <nanobind/stl/optional.h>

#include "arguments.h"
#include "state_trees.h"

namespace rill::python {

namespace {

auto stream_arg() { return nb::arg("stream") = nb::none(); }
auto key_arg() { return nb::arg("key") = nb::none(); }

/// A sequence of sizes; an int is refused, as in MLX.
Shape sizes(nb::handle shape) {
  if (PyIndex_Check(shape.ptr())) {
    throw_type_error("[random] shape must be a sequence of ints, got an int");
  }
  return nb::borrow<ShapeArg>(shape);
}

std::optional<Array> maybe_array(nb::handle object, const char* operation) {
  if (object.is_none()) return std::nullopt;
  return to_array(object, operation);
}

std::optional<Array> maybe_key(nb::handle object, const char* operation) {
  if (object.is_none()) return std::nullopt;
  if (!is_array(object))
    throw_type_error(
        fmt::format("[{}] key must be an array or None, got {}", operation, type_of(object)));
  return unwrap(object);
}

Dtype dtype_or(const DtypeArg& dtype, Dtype otherwise) {
  return dtype.is_none() ? otherwise : static_cast<Dtype>(dtype);
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
      "The key of a seed: a uint32 array of shape (2,).");
  m.def(
      "seed", [](nb::handle seed) { random::seed(to_seed(seed)); }, nb::arg("seed"),
      "Sets the state that draws without a key use.");
  m.def(
      "split",
      [](ArrayArg key, int64_t num, StreamArg s) {
        return wrap(random::split(to_array(key, "random.split"), num, s));
      },
      nb::arg("key"), nb::arg("num") = 2, stream_arg(), "New keys from a key, shape (num, 2).");
  m.def(
      "bits",
      [](nb::object shape, int width, nb::object key, StreamArg s) {
        require(width == 4, "[random.bits] expected a width of 4 bytes, got {}", width);
        return wrap(random::bits(sizes(shape), maybe_key(key, "random.bits"), s));
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
      [](ArrayArg low, ArrayArg high, nb::object shape, DtypeArg dtype, nb::object key,
         StreamArg s) {
        return wrap(random::uniform(
            to_array(low, "random.uniform"), to_array(high, "random.uniform"), sizes(shape),
            dtype_or(dtype, Dtype::float32), maybe_key(key, "random.uniform"), s));
      },
      nb::arg("low") = 0, nb::arg("high") = 1, nb::arg("shape") = nb::tuple(),
      nb::arg("dtype") = nb::none(), key_arg(), stream_arg(), "Uniform numbers in [low, high).");
  m.def(
      "normal",
      [](nb::object shape, DtypeArg dtype, nb::object loc, nb::object scale, nb::object key,
         StreamArg s) {
        return wrap(random::normal(
            sizes(shape), dtype_or(dtype, Dtype::float32), maybe_array(loc, "random.normal"),
            maybe_array(scale, "random.normal"), maybe_key(key, "random.normal"), s));
      },
      nb::arg("shape") = nb::tuple(), nb::arg("dtype") = nb::none(), nb::arg("loc") = nb::none(),
      nb::arg("scale") = nb::none(), key_arg(), stream_arg(),
      "Normal numbers with mean loc and standard deviation scale.");
  m.def(
      "gumbel",
      [](nb::object shape, DtypeArg dtype, nb::object key, StreamArg s) {
        return wrap(random::gumbel(sizes(shape), dtype_or(dtype, Dtype::float32),
                                   maybe_key(key, "random.gumbel"), s));
      },
      nb::arg("shape") = nb::tuple(), nb::arg("dtype") = nb::none(), key_arg(), stream_arg(),
      "Standard Gumbel numbers.");
  m.def(
      "laplace",
      [](nb::object shape, DtypeArg dtype, double loc, double scale, nb::object key, StreamArg s) {
        return wrap(random::laplace(sizes(shape), dtype_or(dtype, Dtype::float32), loc, scale,
                                    maybe_key(key, "random.laplace"), s));
      },
      nb::arg("shape") = nb::tuple(), nb::arg("dtype") = nb::none(), nb::arg("loc") = 0.0,
      nb::arg("scale") = 1.0, key_arg(), stream_arg(), "Laplace numbers.");
  m.def(
      "truncated_normal",
      [](ArrayArg lower, ArrayArg upper, nb::object shape, DtypeArg dtype, nb::object key,
         StreamArg s) {
        Array low = to_array(lower, "random.truncated_normal");
        Array high = to_array(upper, "random.truncated_normal");
        return wrap(random::truncated_normal(
            low, high, shape.is_none() ? common_shape(low, high) : sizes(shape),
            dtype_or(dtype, Dtype::float32), maybe_key(key, "random.truncated_normal"), s));
      },
      nb::arg("lower"), nb::arg("upper"), nb::arg("shape") = nb::none(),
      nb::arg("dtype") = nb::none(), key_arg(), stream_arg(),
      "Normal numbers within (lower, upper).");
  m.def(
      "multivariate_normal",
      [](ArrayArg mean, ArrayArg cov, nb::object shape, DtypeArg dtype, nb::object key,
         StreamArg s) {
        return wrap(random::multivariate_normal(to_array(mean, "random.multivariate_normal"),
                                                to_array(cov, "random.multivariate_normal"),
                                                sizes(shape), dtype_or(dtype, Dtype::float32),
                                                maybe_key(key, "random.multivariate_normal"), s));
      },
      nb::arg("mean"), nb::arg("cov"), nb::arg("shape") = nb::tuple(),
      nb::arg("dtype") = nb::none(), key_arg(), stream_arg(),
      "Normal vectors of the given means and covariances.");
}

void bind_discrete(nb::module_& m) {
  m.def(
      "randint",
      [](ArrayArg low, ArrayArg high, nb::object shape, DtypeArg dtype, nb::object key,
         StreamArg s) {
        return wrap(random::randint(
            to_array(low, "random.randint"), to_array(high, "random.randint"), sizes(shape),
            dtype_or(dtype, Dtype::int32), maybe_key(key, "random.randint"), s));
      },
      nb::arg("low"), nb::arg("high"), nb::arg("shape") = nb::tuple(),
      nb::arg("dtype") = nb::none(), key_arg(), stream_arg(), "Integers in [low, high).");
  m.def(
      "bernoulli",
      [](ArrayArg p, nb::object shape, nb::object key, StreamArg s) {
        Array chance = to_array(p, "random.bernoulli");
        return wrap(random::bernoulli(chance, shape.is_none() ? chance.shape() : sizes(shape),
                                      maybe_key(key, "random.bernoulli"), s));
      },
      nb::arg("p") = 0.5, nb::arg("shape") = nb::none(), key_arg(), stream_arg(),
      "True with probability p.");
  m.def(
      "categorical",
      [](ArrayArg logits, int axis, nb::object shape, nb::object num_samples, nb::object key,
         StreamArg s) {
        Array x = to_array(logits, "random.categorical");
        std::optional<Array> drawn = maybe_key(key, "random.categorical");
        require(shape.is_none() || num_samples.is_none(),
                "[random.categorical] give shape or num_samples, not both");
        if (!shape.is_none()) return wrap(random::categorical(x, axis, sizes(shape), drawn, s));
        if (!num_samples.is_none())
          return wrap(random::categorical(x, axis, to_int(num_samples, "num_samples"), drawn, s));
        return wrap(random::categorical(x, axis, drawn, s));
      },
      nb::arg("logits"), nb::arg("axis") = -1, nb::arg("shape") = nb::none(),
      nb::arg("num_samples") = nb::none(), key_arg(), stream_arg(),
      "Indices drawn with probabilities softmax(logits) along an axis.");
  m.def(
      "permutation",
      [](nb::object x, int axis, nb::object key, StreamArg s) {
        std::optional<Array> drawn = maybe_key(key, "random.permutation");
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
