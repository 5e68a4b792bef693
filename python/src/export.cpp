// Arrays as data of other libraries: the buffer protocol, DLPack, NumPy.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <utility>

#include "convert.h"
#include "rill/cpu/copy.h"

namespace rill::python {

namespace {

/// As in the struct module and PEP 3118, which know no bfloat16.
const char* format_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_: return "?";
    case Dtype::uint8: return "B";
    case Dtype::uint16: return "H";
    case Dtype::uint32: return "I";
    case Dtype::uint64: return "Q";
    case Dtype::int8: return "b";
    case Dtype::int16: return "h";
    case Dtype::int32: return "i";
    case Dtype::int64: return "q";
    case Dtype::float16: return "e";
    case Dtype::float32: return "f";
    case Dtype::float64: return "d";
    case Dtype::complex64: return "Zf";
    case Dtype::bfloat16: break;
  }
  return nullptr;
}

nb::dlpack::dtype dlpack_dtype(Dtype dtype) {
  using Code = nb::dlpack::dtype_code;
  Code code = Code::Float;
  if (dtype == Dtype::bool_) code = Code::Bool;
  if (dtype == Dtype::bfloat16) code = Code::Bfloat;
  if (is_unsigned(dtype)) code = Code::UInt;
  if (is_signed_integer(dtype)) code = Code::Int;
  if (is_complex(dtype)) code = Code::Complex;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(size_of(dtype) * 8), 1};
}

/// Whether others may write to the elements: memory of ours that holds each element once.
bool is_writable(const Output& values) {
  if (!values.buffer || !values.buffer->owned()) return false;
  for (int i = 0; i < values.shape.ssize(); ++i) {
    if (values.shape[i] > 1 && values.strides[i] == 0) return false;
  }
  return true;
}

bool is_column_major(const Output& values) {
  Shape shape(values.shape);
  Strides strides(values.strides);
  std::reverse(shape.begin(), shape.end());
  std::reverse(strides.begin(), strides.end());
  return is_row_major(shape, strides);
}

/// What an exported buffer keeps. The array is a handle of its own: that of the Python object
/// changes under `x += y`.
struct Exported {
  Array array;
  Shape shape;
  Strides strides;  // bytes
};

/// Whether `flags` of the buffer protocol accept this order of the elements.
bool accepts_layout(int flags, const Output& values) {
  auto asks = [&](int flag) { return (flags & flag) == flag; };
  if (values.row_major) return !asks(PyBUF_F_CONTIGUOUS) || is_column_major(values);
  if (!asks(PyBUF_STRIDES) || asks(PyBUF_C_CONTIGUOUS)) return false;
  return !(asks(PyBUF_F_CONTIGUOUS) || asks(PyBUF_ANY_CONTIGUOUS)) || is_column_major(values);
}

void fill_view(const Array& array, Py_buffer* view, int flags) {
  const Output& values = values_of(array);
  auto refuse = [](const char* reason) {
    PyErr_SetString(PyExc_BufferError, reason);
    throw nb::python_error();
  };
  if (format_of(values.dtype) == nullptr) {
    refuse("the buffer protocol knows no bfloat16: use astype(float32), or view(uint16)");
  }
  bool writable = is_writable(values);
  if ((flags & PyBUF_WRITABLE) != 0 && !writable) refuse("the array is read-only");
  if (!accepts_layout(flags, values)) refuse("the array is not contiguous in memory");

  auto exported = std::make_unique<Exported>(Exported{array, values.shape, values.strides});
  for (int64_t& stride : exported->strides) stride *= size_of(values.dtype);
  view->buf = values.data;
  view->len = static_cast<Py_ssize_t>(values.bytes());
  view->itemsize = size_of(values.dtype);
  view->readonly = !writable;
  view->ndim = values.shape.ssize();
  view->format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(format_of(values.dtype)) : nullptr;
  view->shape = (flags & PyBUF_ND) != 0 ? exported->shape.data() : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? exported->strides.data() : nullptr;
  view->suboffsets = nullptr;
  view->internal = exported.release();
}

/// The array whose buffer Ctrl-C kept this thread from. NumPy hides every error of a buffer and
/// goes on to __array__, which would wait again.
thread_local const Array* interrupted = nullptr;

void rethrow_interrupt(const Array& self) {
  if (std::exchange(interrupted, nullptr) != &self) return;
  PyErr_SetNone(PyExc_KeyboardInterrupt);
  throw nb::python_error();
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  interrupted = nullptr;
  try {
    fill_view(Array(unwrap(self)), view, flags);
    view->obj = Py_NewRef(self);
    return 0;
  } catch (...) {
    set_python_error();
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) interrupted = &unwrap(self);
    return -1;
  }
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Exported*>(view->internal); }

/// An object of nanobind that has __dlpack__ and __dlpack_device__.
template <class... Traits>
nb::object dlpack_producer(const Array& array) {
  const Output& values = values_of(array);
  std::vector<size_t> shape(values.shape.begin(), values.shape.end());
  nb::ndarray<nb::array_api, Traits...> tensor(values.data, shape.size(), shape.data(), wrap(array),
                                               values.strides.data(), dlpack_dtype(values.dtype),
                                               nb::device::cpu::value);
  return nb::cast(tensor);
}

nb::object dlpack(const Array& self, nb::handle stream, nb::handle max_version,
                  nb::handle dl_device, std::optional<bool> copy) {
  Array array = copy == true ? packed_copy(self) : self;
  nb::object producer =
      is_writable(values_of(array)) ? dlpack_producer<>(array) : dlpack_producer<nb::ro>(array);
  return producer.attr("__dlpack__")(nb::arg("stream") = stream,
                                     nb::arg("max_version") = max_version,
                                     nb::arg("dl_device") = dl_device);
}

/// A view where NumPy has the dtype; bfloat16 becomes float32.
nb::object to_numpy(const Array& self, nb::handle dtype, std::optional<bool> copy) {
  bool widened = self.dtype() == Dtype::bfloat16;
  Array array = widened ? astype(self, Dtype::float32) : self;
  values_of(array);
  nb::object view = steal_checked(PyMemoryView_FromObject(wrap(array).ptr()));
  nb::object result = nb::module_::import_("numpy").attr("asarray")(view);
  bool other = !dtype.is_none() &&
               !result.attr("dtype").equal(nb::module_::import_("numpy").attr("dtype")(dtype));
  require(copy != false || !(other || widened),
          "[array] cannot be a NumPy array of this dtype without a copy");
  if (other) return result.attr("astype")(dtype);
  return copy == true && !widened ? result.attr("copy")() : result;
}

}  // namespace

Array packed_copy(const Array& array) {
  const Output& values = values_of(array);
  Ref<Buffer> block = Buffer::allocate(values.bytes());
  if (values.size > 0) {
    copy_strided(static_cast<int>(size_of(values.dtype)), values.data, values.shape, values.strides,
                 block->data());
  }
  return make_computed(values.dtype, values.shape, std::move(block));
}

std::vector<PyType_Slot> buffer_slots() {
  return {
      {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
      {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
  };
}

void bind_export(nb::class_<Array>& array) {
  array.def(
      "__array__",
      [](const Array& self, nb::handle dtype, std::optional<bool> copy) {
        rethrow_interrupt(self);
        return to_numpy(self, dtype, copy);
      },
      nb::arg("dtype") = nb::none(), nb::arg("copy") = nb::none(),
      nb::sig("def __array__(self, dtype: object | None = None, copy: bool | None = None) -> "
              "numpy.ndarray"),
      "A NumPy array over the same memory where it can be. bfloat16 becomes float32.");
  array.def("__dlpack__", &dlpack, nb::kw_only(), nb::arg("stream") = nb::none(),
            nb::arg("max_version") = nb::none(), nb::arg("dl_device") = nb::none(),
            nb::arg("copy") = nb::none(),
            nb::sig("def __dlpack__(self, *, stream: object | None = None, max_version: tuple[int, "
                    "int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | "
                    "None = None) -> Any"),
            "A DLPack capsule over the memory of the array, which it keeps alive.");
  array.def(
      "__dlpack_device__",
      [](const Array&) { return nb::make_tuple(static_cast<int>(nb::device::cpu::value), 0); },
      nb::sig("def __dlpack_device__(self) -> tuple[int, int]"), "The device (CPU, 0) of DLPack.");
}

}  // namespace rill::python
