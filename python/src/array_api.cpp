// What the Python array API standard asks beyond operations, and ArrayLike.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

/// What __array_namespace_info__() gives.
struct NamespaceInfo {};

/// An object that stands for an array because it offers one.
struct ArrayLike {
  nb::object object;
};

/// The dtypes of the standard that are of a kind, by name. It knows no half types.
nb::dict dtypes_of_kind(nb::handle kind) {
  nb::object is_dtype = nb::module_::import_("rill.core").attr("isdtype");
  nb::dict result;
  for (const DtypeInfo& row : dtype_table) {
    if (row.dtype == Dtype::float16 || row.dtype == Dtype::bfloat16) continue;
    nb::object dtype = dtype_object(row.dtype);
    if (kind.is_none() || nb::cast<bool>(is_dtype(dtype, kind))) result[row.name.data()] = dtype;
  }
  return result;
}

nb::dict default_dtypes() {
  nb::dict result;
  result["real floating"] = dtype_object(Dtype::float32);
  result["complex floating"] = dtype_object(Dtype::complex64);
  result["integral"] = dtype_object(Dtype::int32);
  result["indexing"] = dtype_object(Dtype::int64);
  return result;
}

nb::list devices() {
  nb::list result;
  for (DeviceType type : {DeviceType::cpu, DeviceType::gpu}) {
    for (int i = 0; i < device_count(type); ++i) result.append(nb::cast(Device{type, i}));
  }
  return result;
}

void check_device(nb::handle device) {
  if (device.is_none()) return;
  require_device("__array_namespace_info__", nb::borrow<DeviceArg>(device));
}

void bind_info(nb::module_& m) {
  nb::class_<NamespaceInfo>(
      m, "ArrayNamespaceInfo",
      "What the module can do, in the words of the Python array API standard.")
      .def(
          "capabilities",
          [](const NamespaceInfo&) {
            nb::dict result;
            result["boolean indexing"] = true;
            result["data-dependent shapes"] = true;
            result["max dimensions"] = nb::none();
            return result;
          },
          nb::sig("def capabilities(self) -> dict[str, bool | None]"),
          "Which optional parts of the standard there are.")
      .def(
          "default_device", [](const NamespaceInfo&) { return default_device(); },
          "The device on which operations run by default.")
      .def(
          "default_dtypes",
          [](const NamespaceInfo&, DeviceArg device) {
            check_device(device);
            return default_dtypes();
          },
          nb::kw_only(), nb::arg("device") = nb::none(),
          nb::sig("def default_dtypes(self, *, device: Device | DeviceType | None = None) -> "
                  "dict[str, Dtype]"),
          "The dtype of Python numbers of each kind, and of indices.")
      .def(
          "dtypes",
          [](const NamespaceInfo&, DeviceArg device, nb::object kind) {
            check_device(device);
            return dtypes_of_kind(kind);
          },
          nb::kw_only(), nb::arg("device") = nb::none(), nb::arg("kind") = nb::none(),
          nb::sig("def dtypes(self, *, device: Device | DeviceType | None = None, kind: str | "
                  "tuple[str, ...] | None = None) -> dict[str, Dtype]"),
          "The dtypes of a kind, or of a tuple of kinds (see isdtype), by name.")
      .def(
          "devices", [](const NamespaceInfo&) { return devices(); },
          nb::sig("def devices(self) -> list[Device]"), "The devices that there are.");
  m.def(
      "__array_namespace_info__", [] { return NamespaceInfo{}; },
      "What the module can do (Python array API standard).");
}

void bind_array_like(nb::module_& m) {
  nb::class_<ArrayLike>(m, "ArrayLike",
                        "Holds an object that offers an array by __rill_array__, __mlx_array__ or "
                        "another protocol that mx.array takes. Operations take it as an operand.")
      .def(
          "__init__",
          [](ArrayLike* self, nb::handle arg) { new (self) ArrayLike{nb::borrow(arg)}; },
          nb::arg("arg"))
      .def(
          "__rill_array__",
          [](const ArrayLike& self) { return wrap(to_array(self.object, "ArrayLike")); },
          "The array that the object offers.");
}

}  // namespace

nb::object named_tuple(nb::module_& m, const char* name, std::initializer_list<const char*> fields,
                       const char* doc) {
  nb::list names;
  for (const char* field : fields) names.append(field);
  nb::object make = nb::module_::import_("collections").attr("namedtuple");
  nb::object type = make(name, names, nb::arg("module") = m.attr("__name__"));
  type.attr("__doc__") = doc;
  m.attr(name) = type;
  return type;
}

void bind_array_api(nb::module_& m, nb::class_<Array>& array) {
  bind_info(m);
  bind_array_like(m);
  bind_array_api_functions(m);
  m.attr("__array_api_version__") = "2024.12";
  array.def(
      "__array_namespace__",
      [](nb::handle, std::optional<std::string> api_version) {
        constexpr const char* known[] = {"2021.12", "2022.12", "2023.12", "2024.12"};
        bool there = !api_version ||
                     std::find(std::begin(known), std::end(known), *api_version) != std::end(known);
        require(there, "[__array_namespace__] there is no version '{}'", api_version.value_or(""));
        return nb::module_::import_("rill.core");
      },
      nb::arg("api_version") = nb::none(),
      "The module whose functions take this array (Python array API standard).");
  array.def(
      "to_device",
      [](ArrayObject self, DeviceArg device, StreamArg) {
        require_device("to_device", device);
        return self;
      },
      nb::arg("device"), nb::kw_only(), stream_arg(),
      "The array itself: data travels to where it is used.");
}

}  // namespace rill::python
