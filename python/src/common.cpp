#include "common.h"

#include <unistd.h>

#include <atomic>
#include <thread>

#include "rill/runtime/interrupt.h"
#include "streams.h"

namespace rill::python {

PyTypeObject* array_type = nullptr;

namespace {

std::atomic<bool> shutting_down{false};
std::thread::id last_thread;

}  // namespace

bool is_main_thread() { return gettid() == getpid(); }

WithoutGil::~WithoutGil() {
  const auto sleep = [] {
    for (;;) pause();
  };
  if (shutting_down && std::this_thread::get_id() != last_thread) sleep();
  try {
    PyEval_RestoreThread(state_);
  } catch (...) {
    // Shutting down has begun meanwhile, and Python ends the thread by unwinding it. That must not
    // leave this block.
    sleep();
  }
}

namespace {

/// Does the program end since nobody caught a Ctrl-C?
bool ended_by_interrupt() {
  PyObject* type = PySys_GetObject("last_type");
  return type != nullptr && PyErr_GivenExceptionMatches(type, PyExc_KeyboardInterrupt) != 0;
}

}  // namespace

void begin_shutdown() {
  last_thread = std::this_thread::get_id();
  shutting_down = true;
  if (ended_by_interrupt()) cancel_work();
  WithoutGil released;  // threads that wait for the GIL now pass; what is queued runs
  cancel_loops();       // but loops without an end
  synchronize_all([] {
    nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() == 0) return;
    PyErr_Clear();
    cancel_work();  // Ctrl-C: nobody wants to wait for the rest
  });
}

void throw_type_error(const std::string& message) { throw type_error(message); }

StreamArg::operator StreamOrDevice() const {
  if (is_none()) return {};
  if (nb::isinstance<Stream>(*this)) return nb::cast<Stream>(*this);
  if (nb::isinstance<Device>(*this)) return nb::cast<Device>(*this);
  if (nb::isinstance<DeviceType>(*this)) return Device{nb::cast<DeviceType>(*this), 0};
  if (nb::isinstance<ThreadLocalStream>(*this)) return nb::cast<ThreadLocalStream>(*this).here();
  throw_type_error("stream must be a Stream, a Device, a DeviceType or None, got " +
                   type_of(*this));
}

DtypeArg::operator Dtype() const {
  if (nb::isinstance<DtypeObject>(*this)) return nb::cast<DtypeObject&>(*this).dtype;
  throw_type_error("dtype must be a Dtype such as float32, got " + type_of(*this));
}

DeviceArg::operator Device() const {
  if (nb::isinstance<Device>(*this)) return nb::cast<Device>(*this);
  if (nb::isinstance<DeviceType>(*this)) return {nb::cast<DeviceType>(*this), 0};
  throw_type_error("expected a Device or a DeviceType, got " + type_of(*this));
}

int64_t to_int(nb::handle object, const char* what) {
  if (PyLong_Check(object.ptr()) == 0 && PyIndex_Check(object.ptr()) == 0) {
    throw_type_error(fmt::format("{} must be an int, got {}", what, type_of(object)));
  }
  auto index = nb::steal(PyNumber_Index(object.ptr()));
  if (!index.is_valid()) throw nb::python_error();
  int overflow = 0;
  long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  require(overflow == 0, "{} does not fit 64 bits", what);
  if (value == -1 && PyErr_Occurred()) throw nb::python_error();
  return value;
}

namespace {

/// The ints of an int or a sequence of ints.
template <class Vector>
Vector to_ints(nb::handle object, const char* what) {
  Vector values;
  auto add = [&](nb::handle item) {
    int64_t value = to_int(item, what);
    using Item = typename Vector::value_type;
    require(value == static_cast<Item>(value), "{} {} is too large", what, value);
    values.push_back(static_cast<Item>(value));
  };
  if (PyLong_Check(object.ptr()) ||
      (PyIndex_Check(object.ptr()) && !PySequence_Check(object.ptr()))) {
    add(object);
    return values;
  }
  if (!PyTuple_Check(object.ptr()) && !PyList_Check(object.ptr()) && !is_array(object) &&
      (!PySequence_Check(object.ptr()) || PyUnicode_Check(object.ptr()))) {
    throw_type_error(
        fmt::format("{} must be an int or a sequence of ints, got {}", what, type_of(object)));
  }
  for (nb::handle item : nb::iter(object)) add(item);
  return values;
}

}  // namespace

int to_small_int(nb::handle object, const char* what) {
  int64_t value = to_int(object, what);
  require(value == static_cast<int>(value), "{} {} is too large", what, value);
  return static_cast<int>(value);
}

AxisArg::operator std::optional<int>() const {
  if (is_none()) return std::nullopt;
  return to_small_int(*this, "axis");
}

ShapeArg::operator Shape() const { return to_ints<Shape>(*this, "shape"); }

AxesArg::operator std::optional<Axes>() const {
  if (is_none()) return std::nullopt;
  return to_ints<Axes>(*this, "axis");
}

ArrayObject wrap(Array array) {
  nb::object object = nb::inst_alloc(nb::handle(reinterpret_cast<PyObject*>(array_type)));
  new (nb::inst_ptr<Array>(object)) Array(std::move(array));
  nb::inst_mark_ready(object);
  return nb::steal<ArrayObject>(object.release());
}

void eval_without_gil(const Arrays& arrays) {
  bool done = true;
  for (const Array& array : arrays) done = done && array.node().is_done();
  if (done) return;
  WithoutGil released;
  eval(arrays);
}

nb::handle axis_error_type() {
  static const nb::handle type = [] {
    nb::tuple bases = nb::make_tuple(nb::handle(PyExc_ValueError), nb::handle(PyExc_IndexError));
    return nb::handle(PyErr_NewExceptionWithDoc(
        "rill.core.AxisError", "An axis that the array does not have.", bases.ptr(), nullptr));
  }();
  return type;
}

void set_python_error() {
  try {
    throw;
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const nb::cast_error&) {
    PyErr_SetString(PyExc_TypeError, "an operand is of a type that the operator does not take");
  } catch (const type_error& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
  } catch (const axis_error& error) {
    PyErr_SetString(axis_error_type().ptr(), error.what());
  } catch (const std::bad_alloc& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const std::out_of_range& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace rill::python
