// Dtypes, devices and streams.
#include "streams.h"

#include <nanobind/operators.h>
#include <nanobind/stl/string.h>
#include <sys/utsname.h>

#include <atomic>
#include <fstream>
#include <map>

#include "rill/cpu/target.h"

namespace rill::python {

namespace {

nb::handle dtype_objects[dtype_count];  // the module owns them

const char* attribute_name(Dtype dtype) {
  return dtype == Dtype::bool_ ? "bool_" : name_of(dtype).data();
}

/// What `with mx.stream(s):` enters. Contexts may nest and be entered again.
struct StreamContext {
  StreamOrDevice where;
  std::vector<std::shared_ptr<StreamScope>> scopes;
};

const char* type_name(DeviceType type) { return type == DeviceType::cpu ? "cpu" : "gpu"; }

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "cpu";
}

nb::dict device_info(const DeviceArg& given) {
  Device device = given.is_none() ? default_device() : static_cast<Device>(given);
  if (device.index < 0 || device.index >= device_count(device.type)) return {};
  utsname system{};
  uname(&system);
  nb::dict result;
  result["device_name"] = processor_name();
  result["architecture"] = std::string(system.machine);
  result["memory_size"] = Allocator::host().memory_limit();
  result["cores"] = worker_count();
  result["instructions"] = std::string(cpu_target());
  return result;
}

bool device_available(const DeviceArg& given) {
  Device device = given;
  return device.index >= 0 && device.index < device_count(device.type);
}

void bind_categories(nb::module_& m) {
  nb::enum_<Category>(m, "DtypeCategory", "An abstract set of dtypes, as in NumPy's hierarchy.")
      .value("complexfloating", Category::complexfloating)
      .value("floating", Category::floating)
      .value("inexact", Category::inexact)
      .value("signedinteger", Category::signedinteger)
      .value("unsignedinteger", Category::unsignedinteger)
      .value("integer", Category::integer)
      .value("number", Category::number)
      .value("generic", Category::generic)
      .export_values();
}

void bind_devices(nb::module_& m) {
  nb::enum_<DeviceType>(m, "DeviceType", "A kind of device: cpu or gpu.")
      .value("cpu", DeviceType::cpu)
      .value("gpu", DeviceType::gpu)
      .export_values();
  nb::class_<Device>(m, "Device", "A device: its type and its number.")
      .def(nb::init<DeviceType, int>(), nb::arg("type"), nb::arg("index") = 0)
      .def_ro("type", &Device::type)
      .def_ro("index", &Device::index)
      .def("__repr__", [](Device d) { return to_string(d); })
      .def("__hash__", [](Device d) { return static_cast<int>(d.type) * 64 + d.index; })
      .def("__reduce__",
           [](Device d) {
             return nb::make_tuple(nb::type<Device>(), nb::make_tuple(d.type, d.index));
           })
      .def("__eq__", [](Device d, nb::handle other) {
        if (nb::isinstance<Device>(other)) return d == nb::cast<Device>(other);
        return nb::isinstance<DeviceType>(other) && d.type == nb::cast<DeviceType>(other);
      });
  m.def("default_device", &default_device, "The device on which operations run by default.");
  m.def(
      "set_default_device", [](DeviceArg device) { set_default_device(device); }, nb::arg("device"),
      "Sets the default device of this thread.");
  m.def(
      "device_count", [](DeviceType type) { return device_count(type); }, nb::arg("device_type"),
      "The number of devices of this type.");
  m.def("is_available", &device_available, nb::arg("device"), "Whether the device can be used.");
  m.def("device_info", &device_info, nb::arg("d") = nb::none(),
        "What is known about a device: its name, architecture, memory and cores.");
}

Stream stream_of(nb::handle object, const char* operation) {
  if (nb::isinstance<Stream>(object)) return nb::cast<Stream>(object);
  if (nb::isinstance<ThreadLocalStream>(object)) return nb::cast<ThreadLocalStream>(object).here();
  throw_type_error(
      fmt::format("[{}] expected a Stream, got {}", operation, Py_TYPE(object.ptr())->tp_name));
}

/// A pickled stream is a name: it must be that of a stream of this process.
void set_stream_state(Stream& stream, const nb::tuple& state) {
  require(state.size() == 2, "[stream] expected a device and an index");
  auto device = nb::cast<Device>(state[0]);
  auto index = nb::cast<int>(state[1]);
  require_device("stream", device);
  require(index >= 0 && index < stream_count(), "[stream] there is no stream {} in this process",
          index);
  new (&stream) Stream{device, index};
}

void bind_stream_classes(nb::module_& m) {
  nb::class_<Stream>(m, "Stream",
                     "A queue of a device that runs its operations in order. Any thread may use "
                     "it. Made by new_stream.")
      .def_ro("device", &Stream::device)
      .def_ro("index", &Stream::index)
      .def("__repr__", [](Stream s) { return to_string(s); })
      .def("__hash__", [](Stream s) { return s.index; })
      .def("__getstate__", [](Stream s) { return nb::make_tuple(s.device, s.index); })
      .def("__setstate__", &set_stream_state)
      .def("__eq__", [](Stream s, nb::handle other) {
        return nb::isinstance<Stream>(other) && s == nb::cast<Stream>(other);
      });
  nb::class_<ThreadLocalStream>(m, "ThreadLocalStream",
                                "A name for one stream in each thread that uses it.")
      .def_ro("device", &ThreadLocalStream::device)
      .def("__repr__",
           [](const ThreadLocalStream& s) {
             return fmt::format("ThreadLocalStream({}, {})", to_string(s.device), s.index);
           })
      .def("__hash__", [](const ThreadLocalStream& s) { return s.index; })
      .def("__eq__", [](const ThreadLocalStream& s, nb::handle other) {
        return nb::isinstance<ThreadLocalStream>(other) &&
               nb::cast<ThreadLocalStream>(other).index == s.index;
      });
  nb::class_<StreamContext>(m, "StreamContext",
                            "Sets the default device and stream within a block.")
      .def(
          "__init__", [](StreamContext* self, StreamArg s) { new (self) StreamContext{s, {}}; },
          nb::arg("s"))
      .def("__enter__",
           [](StreamContext& self) {
             self.scopes.push_back(std::make_shared<StreamScope>(self.where));
           })
      .def(
          "__exit__", [](StreamContext& self, nb::args) { self.scopes.pop_back(); },
          nb::sig("def __exit__(self, exc_type: type | None = None, exc_value: object | None = "
                  "None, traceback: object | None = None) -> None"));
}

void bind_stream_functions(nb::module_& m) {
  m.def(
      "stream", [](StreamArg s) { return StreamContext{s, {}}; }, nb::arg("s"),
      "A context in which operations run on `s` by default.\n\n"
      ">>> with mx.stream(mx.new_stream(mx.cpu)):\n...     y = x + 1");
  m.def(
      "new_stream", [](DeviceArg d) { return new_stream(d); }, nb::arg("device"),
      "A new stream of the device.");
  m.def(
      "new_thread_unsafe_stream", [](DeviceArg d) { return new_stream(d); }, nb::arg("device"),
      "A new stream; in Rill every stream may be used by any thread.");
  m.def(
      "new_thread_local_stream",
      [](DeviceArg d) {
        static std::atomic<int> next{0};
        Device device = d;
        require_device("new_thread_local_stream", device);
        return ThreadLocalStream{device, next.fetch_add(1)};
      },
      nb::arg("device"), "A name for one stream in each thread that uses it.");
  m.def(
      "default_stream", [](DeviceArg d) { return default_stream(d); }, nb::arg("device"),
      "The default stream of the device on this thread.");
  m.def(
      "set_default_stream",
      [](nb::handle s) { set_default_stream(stream_of(s, "set_default_stream")); },
      nb::arg("stream"), nb::sig("def set_default_stream(stream: Stream) -> None"),
      "Sets the default stream of the stream's device on this thread.");
  m.def(
      "synchronize",
      [](StreamArg s) {
        Stream stream = to_stream(s);
        WithoutGil released;
        synchronize(stream);
      },
      nb::arg("stream") = nb::none(), "Waits until everything given to the stream has run.");
  m.def(
      "clear_streams",
      [] {
        WithoutGil released;
        synchronize_all([] {
          nb::gil_scoped_acquire acquire;
          if (PyErr_CheckSignals() != 0) throw nb::python_error();
        });
      },
      "Waits until all streams are idle. Idle streams cost nothing, so there is nothing to free.");
}

}  // namespace

Stream ThreadLocalStream::here() const {
  thread_local std::map<int, Stream> streams;
  auto found = streams.find(index);
  if (found == streams.end()) found = streams.emplace(index, new_stream(device)).first;
  return found->second;
}

std::string to_string(Device device) {
  return fmt::format("Device({}, {})", type_name(device.type), device.index);
}
std::string to_string(Stream stream) {
  return fmt::format("Stream({}, {})", to_string(stream.device), stream.index);
}

nb::object dtype_object(Dtype dtype) { return nb::borrow(dtype_objects[static_cast<int>(dtype)]); }

void bind_dtypes(nb::module_& m) {
  nb::class_<DtypeObject>(m, "Dtype", "The type of the elements of an array.")
      .def_prop_ro(
          "size", [](const DtypeObject& d) { return size_of(d.dtype); }, "Bytes of an element.")
      .def("__repr__",
           [](const DtypeObject& d) { return fmt::format("rill.core.{}", name_of(d.dtype)); })
      .def("__hash__", [](const DtypeObject& d) { return static_cast<int>(d.dtype); })
      .def("__eq__",
           [](const DtypeObject& d, nb::handle other) {
             return nb::isinstance<DtypeObject>(other) &&
                    nb::cast<DtypeObject&>(other).dtype == d.dtype;
           })
      // A string is the name of a global: pickles and copies give the one object of that name.
      .def("__reduce__", [](const DtypeObject& d) { return attribute_name(d.dtype); });
  for (const DtypeInfo& row : dtype_table) {
    nb::object object = nb::cast(DtypeObject{row.dtype});
    dtype_objects[static_cast<int>(row.dtype)] = object;
    m.attr(attribute_name(row.dtype)) = object;
  }
  bind_categories(m);
  bind_dtype_info(m);
}

void bind_streams(nb::module_& m) {
  bind_devices(m);
  bind_stream_classes(m);
  bind_stream_functions(m);
}

}  // namespace rill::python
