// debug_nans and debug: switches, and context managers.
#include <nanobind/stl/string.h>

#include "common.h"

namespace rill::python {

namespace {

/// "file:line" of the innermost Python frame outside of this package; empty without the GIL.
std::string python_place() {
  if (!Py_IsInitialized() || !PyGILState_Check()) return "";
  static const std::string package = [] {
    nb::object file = nb::module_::import_("rill.core").attr("__file__");
    std::string path = nb::cast<std::string>(file);
    return path.substr(0, path.find_last_of('/') + 1);
  }();
  nb::object frame = nb::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  while (frame.is_valid() && !frame.is_none()) {
    std::string file = nb::cast<std::string>(frame.attr("f_code").attr("co_filename"));
    if (!file.starts_with(package)) {
      return fmt::format("{}:{}", file, nb::cast<int>(frame.attr("f_lineno")));
    }
    frame = frame.attr("f_back");
  }
  return "";
}

/// The mode was set when this was made; leaving it as a context sets it back.
struct DebugSwitch {
  DebugMode before;
};

DebugSwitch switched(DebugMode mode) {
  DebugSwitch result{debug_mode()};
  set_debug_mode(mode);
  return result;
}

}  // namespace

void bind_debug(nb::module_& m) {
  set_place_finder(python_place);
  nb::class_<DebugSwitch>(m, "DebugSwitch",
                          "What debug and debug_nans return: a context that ends by setting back "
                          "what was set before.")
      .def(
          "__enter__", [](nb::handle self) { return nb::borrow(self); },
          nb::sig("def __enter__(self) -> DebugSwitch"))
      .def(
          "__exit__",
          [](DebugSwitch& self, nb::handle, nb::handle, nb::handle) {
            set_debug_mode(self.before);
          },
          nb::arg("exc_type") = nb::none(), nb::arg("exc_value") = nb::none(),
          nb::arg("traceback") = nb::none());
  m.def(
      "debug_nans",
      [](bool enable) {
        DebugMode mode = debug_mode();
        mode.nans = enable;
        return switched(mode);
      },
      nb::arg("enable") = true,
      "From now on, or within a with statement, evaluating an operation that makes a NaN from "
      "operands without one raises RuntimeError with its name and the line of the program that "
      "built it (if it was built meanwhile). Slow: nothing is fused, all results are looked at. "
      "For all threads.\n\n>>> with mx.debug_nans():\n...     mx.eval(mx.log(mx.array(1.0)))");
  m.def(
      "debug",
      [](bool serial) {
        DebugMode mode = debug_mode();
        mode.serial = serial;
        return switched(mode);
      },
      nb::kw_only(), nb::arg("serial") = true,
      "From now on, or within a with statement, each operation of an evaluation runs by itself, in "
      "order, without fusion and without two streams side by side; async_eval waits. For all "
      "threads.\n\n>>> with mx.debug(serial=True):\n...     mx.eval(mx.exp(mx.array(1.0)) + 1)");
}

}  // namespace rill::python
