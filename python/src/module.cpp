// The extension module rill.core.
#include <cstdlib>

#include "common.h"
#include "rill/cpu/target.h"

NB_MODULE(core, m) {
  using namespace rill::python;
  // What the user's modules hold may live until the interpreter has gone; that is no leak of ours.
  nb::set_leak_warnings(std::getenv("RILL_LEAK_WARNINGS") != nullptr);
  m.doc() = "Lazy arrays on streams: the names and behaviour of mlx.core.";
  nb::register_exception_translator([](const std::exception_ptr& error, void*) {
    // Exceptions that nanobind knows keep its translation; ours derive from them.
    try {
      std::rethrow_exception(error);
    } catch (const rill::type_error& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    } catch (const rill::axis_error& e) {
      PyErr_SetString(axis_error_type().ptr(), e.what());
    } catch (const nb::cast_error&) {
      PyErr_SetString(PyExc_TypeError, "an argument is of a type that the function does not take");
    } catch (const rill::OutOfMemory& e) {
      PyErr_SetString(PyExc_MemoryError, e.what());
    }
  });
  m.attr("AxisError") = axis_error_type();
  rill::limit_cpu_target_from_environment();
  bind_dtypes(m);
  bind_streams(m);
  nb::class_<rill::Array> array = bind_array(m);
  bind_conversion(m, array);
  bind_printing(m, array);
  bind_indexing(m, array);
  bind_elementwise(m, array);
  bind_operations(m, array);
  bind_random(m);
  bind_linalg(m);
  bind_fft(m);
  bind_convolutions(m);
  bind_fast(m);
  bind_quantized(m);
  bind_memory(m);
  bind_gpu_modules(m);
  bind_distributed(m);
  bind_array_api(m, array);
  bind_files(m);
  bind_eval(m);
  bind_transforms(m);
  bind_compile(m);
  bind_custom(m);
  bind_control(m);
  bind_debug(m);
  bind_function_export(m);
}
