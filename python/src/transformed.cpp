#include "transformed.h"

#include <nanobind/stl/string.h>

namespace rill::python {

namespace {

struct Transformed {
  const char* operation;
  nb::object fun;
  nb::object options;
  TransformedCall call;
};

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  const auto& inner = *nb::inst_ptr<Transformed>(self);
  Py_VISIT(inner.fun.ptr());
  Py_VISIT(inner.options.ptr());
  return 0;
}

int clear(PyObject* self) {
  if (!nb::inst_ready(self)) return 0;
  auto& inner = *nb::inst_ptr<Transformed>(self);
  inner.fun.reset();
  inner.options.reset();
  return 0;
}

PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

nb::object call_transformed(const Transformed& self, const nb::args& args,
                            const nb::kwargs& kwargs) {
  require<std::runtime_error>(self.fun.is_valid(), "[{}] the function has been collected",
                              self.operation);
  return self.call(self.fun, self.options, args, kwargs);
}

}  // namespace

nb::object make_transformed(const char* operation, nb::callable fun, nb::object options,
                            TransformedCall call) {
  return nb::cast(Transformed{operation, std::move(fun), std::move(options), std::move(call)});
}

void bind_transformed(nb::module_& m) {
  nb::class_<Transformed>(m, "TransformedFunction", nb::type_slots(slots),
                          "What grad, vmap and other transformations of a function return.")
      .def(
          "__call__",
          [](const Transformed& self, nb::args args, nb::kwargs kwargs) {
            return call_transformed(self, args, kwargs);
          },
          nb::sig("def __call__(self, *args: object, **kwargs: object) -> typing.Any"))
      .def_prop_ro(
          "__wrapped__", [](const Transformed& self) { return self.fun; },
          nb::sig("def __wrapped__(self) -> Callable"), "The function.")
      .def("__repr__", [](const Transformed& self) {
        return fmt::format("<{} of {}>", self.operation, nb::repr(self.fun).c_str());
      });
}

}  // namespace rill::python
