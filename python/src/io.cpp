// load, save, savez, save_safetensors and save_gguf.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>

#include "files.h"

namespace rill::python {

namespace {

using io::NamedArrays;

/// A dict of arrays and, for some formats, of metadata.
struct Content {
  nb::object arrays;
  nb::object metadata;
};

// Strings in files are UTF-8 as a rule; other bytes survive a round trip through GGUF.
nb::object to_str(const std::string& text) {
  auto size = static_cast<Py_ssize_t>(text.size());
  auto object = nb::steal(PyUnicode_DecodeUTF8(text.data(), size, "surrogateescape"));
  if (!object.is_valid()) throw nb::python_error();
  return object;
}
std::string from_str(nb::handle object) {
  auto bytes =
      nb::steal<nb::bytes>(PyUnicode_AsEncodedString(object.ptr(), "utf-8", "surrogateescape"));
  if (!bytes.is_valid()) throw nb::python_error();
  return {bytes.c_str(), bytes.size()};
}

nb::object to_dict(const NamedArrays& arrays) {
  nb::dict dict;
  for (const auto& [name, array] : arrays) dict[to_str(name)] = wrap(array);
  return dict;
}

nb::object to_object(const Array& array) { return wrap(array); }
nb::object to_object(const std::string& text) { return to_str(text); }
nb::object to_object(const std::vector<std::string>& texts) {
  nb::list list;
  for (const std::string& text : texts) list.append(to_str(text));
  return list;
}

Content load_safetensors(const Ref<io::Source>& source, Stream stream) {
  io::Safetensors content = [&] {
    WithoutGil released;
    return io::load_safetensors(source, stream);
  }();
  nb::dict metadata;
  for (const auto& [key, value] : content.metadata) {
    metadata[to_str(key)] = to_str(value);
  }
  return {to_dict(content.arrays), metadata};
}

Content load_gguf(const Ref<io::Source>& source, Stream stream) {
  io::Gguf content = [&] {
    WithoutGil released;
    return io::load_gguf(source, stream);
  }();
  nb::dict metadata;
  for (const auto& [key, value] : content.metadata) {
    metadata[to_str(key)] = std::visit([](const auto& v) { return to_object(v); }, value);
  }
  return {to_dict(content.arrays), metadata};
}

Content load_npz(const Ref<io::Source>& source, Stream stream) {
  NamedArrays arrays = [&] {
    WithoutGil released;
    return io::load_npz(source, stream);
  }();
  return {to_dict(arrays), {}};
}

Ref<io::Source> to_source(nb::handle file) {
  if (!is_path(file)) return read_all(file);
  std::string path = to_path(file);
  WithoutGil released;
  return io::open_source(path);
}

/// Leaves the position of a file-like object behind the array, so that another may follow.
Array load_npy(nb::handle file, Stream stream) {
  if (is_path(file) || !can_seek(file)) {
    Ref<io::Source> source = to_source(file);
    WithoutGil released;
    return io::load_npy(source, stream);
  }
  PythonSource& source = *new PythonSource(nb::borrow(file));
  Ref<io::Source> keep(&source);
  io::NpyHeader header = io::read_npy_header(source);
  io::StoredArray& what = header.array;
  require<io::file_error>(what.bytes <= source.size() - what.offset,
                          "[load] {} is cut: {} bytes of {} are there", source.name(),
                          source.size() - what.offset, what.bytes);
  Ref<Buffer> block = Buffer::allocate(static_cast<size_t>(what.bytes));
  source.read(what.offset, what.bytes, block->data());
  source.seek(what.offset + what.bytes);
  what.offset = 0;
  return io::load_npy(io::memory_source(source.name(), std::move(block), what.bytes), header,
                      stream);
}

/// The format that is asked for, or the ending of the name.
std::string format_of(nb::handle file, const std::optional<std::string>& asked) {
  if (asked) return *asked;
  std::string name = is_path(file) ? to_path(file) : name_of_file(file);
  size_t dot = name.find_last_of("./");
  require(dot != std::string::npos && name[dot] == '.',
          "[load] Could not infer file format from extension of {}", name);
  return name.substr(dot + 1);
}

nb::object load(nb::object file, const std::optional<std::string>& asked, bool return_metadata,
                StreamArg s) {
  require(is_path(file) || nb::hasattr(file, "read"),
          "[load] Input must be a path or a file-like object opened in binary mode, got {}",
          type_of(file));
  std::string format = format_of(file, asked);
  Stream stream = to_stream(s);
  bool has_metadata = format == "safetensors" || format == "gguf";
  require(has_metadata || format == "npy" || format == "npz", "[load] Unknown file format {}",
          format);
  require(has_metadata || !return_metadata, "[load] metadata not supported for format {}", format);
  if (format == "npy") return wrap(load_npy(file, stream));
  Ref<io::Source> source = to_source(file);
  Content content = format == "npz"           ? load_npz(source, stream)
                    : format == "safetensors" ? load_safetensors(source, stream)
                                              : load_gguf(source, stream);
  return return_metadata ? nb::make_tuple(content.arrays, content.metadata) : content.arrays;
}

/// Calls `write(sink)` without the GIL, for a path (to which `ending` is added where it lacks it)
/// or a file-like object.
template <class F>
void save_to(nb::handle file, const char* operation, std::string_view ending, F write) {
  if (is_path(file)) {
    std::string path = to_path(file);
    if (!path.ends_with(ending)) path += ending;
    WithoutGil released;
    io::FileSink sink(path);
    write(sink);
    sink.commit();
    return;
  }
  require(nb::hasattr(file, "write"), "[{}] expected a path or a file-like object, got {}",
          operation, type_of(file));
  PythonSink sink{nb::borrow(file)};
  WithoutGil released;
  write(sink);
}

std::string to_name(nb::handle object, const char* what) {
  Py_ssize_t size = 0;
  if (!PyUnicode_Check(object.ptr())) {
    throw_type_error(fmt::format("{} must be a str, got {}", what, type_of(object)));
  }
  const char* text = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (text == nullptr) throw nb::python_error();
  return {text, static_cast<size_t>(size)};
}

Array to_saved(nb::handle object, const char* operation) {
  if (!is_array(object)) {
    throw_type_error(fmt::format("[{}] expected an array, got {}", operation, type_of(object)));
  }
  return unwrap(object);
}

Arrays values_of(const NamedArrays& named) {
  Arrays arrays;
  for (const auto& [name, array] : named) arrays.push_back(array);
  return arrays;
}

NamedArrays to_arrays(nb::handle dict, const char* operation) {
  if (!PyDict_Check(dict.ptr())) {
    throw_type_error(
        fmt::format("[{}] expected a dict of arrays, got {}", operation, type_of(dict)));
  }
  NamedArrays arrays;
  for (auto [key, value] : nb::borrow<nb::dict>(dict)) {
    arrays.emplace_back(to_name(key, "the name of an array"), to_saved(value, operation));
  }
  return arrays;
}

void savez(const char* operation, bool compressed, nb::handle file, nb::args args,
           const nb::kwargs& kwargs) {
  NamedArrays arrays;
  for (size_t i = 0; i < args.size(); ++i) {
    arrays.emplace_back(fmt::format("arr_{}", i), to_saved(args[i], operation));
  }
  for (auto [key, value] : kwargs) {
    std::string name = to_name(key, "a keyword");
    bool taken = std::any_of(arrays.begin(), arrays.end(),
                             [&](const auto& item) { return item.first == name; });
    require(!taken, "[{}] Cannot use un-named variables and keyword {}", operation, name);
    arrays.emplace_back(name, to_saved(value, operation));
  }
  eval_without_gil(values_of(arrays));
  save_to(file, operation, ".npz", [&](io::Sink& sink) { io::save_npz(sink, arrays, compressed); });
}

io::StringMetadata string_metadata(nb::handle object) {
  io::StringMetadata metadata;
  if (object.is_none()) return metadata;
  bool strings = PyDict_Check(object.ptr()) != 0;
  if (strings) {
    for (auto [key, value] : nb::borrow<nb::dict>(object)) {
      strings = strings && PyUnicode_Check(key.ptr()) && PyUnicode_Check(value.ptr());
      if (strings) metadata.emplace_back(to_name(key, "a key"), to_name(value, "a value"));
    }
  }
  require(strings, "[save_safetensors] Metadata must be a dictionary with string keys and values");
  return metadata;
}

io::GgufValue gguf_value(const std::string& key, nb::handle value) {
  if (PyUnicode_Check(value.ptr())) return from_str(value);
  if (is_array(value) || is_python_scalar(value)) return to_array(value, "save_gguf");
  bool list = PyList_Check(value.ptr()) || PyTuple_Check(value.ptr());
  std::vector<std::string> texts;
  if (list) {
    for (nb::handle item : nb::iter(value)) {
      list = list && PyUnicode_Check(item.ptr());
      if (list) texts.push_back(from_str(item));
    }
  }
  require(list, "[save_gguf] metadata '{}' must be an array, a str or a list of str, got {}", key,
          type_of(value));
  return texts;
}

io::GgufMetadata gguf_metadata(nb::handle object) {
  io::GgufMetadata metadata;
  if (object.is_none()) return metadata;
  if (!PyDict_Check(object.ptr())) {
    throw_type_error("[save_gguf] expected a dict of metadata, got " + type_of(object));
  }
  for (auto [key, value] : nb::borrow<nb::dict>(object)) {
    std::string name = to_name(key, "a key of metadata");
    metadata.emplace_back(name, gguf_value(name, value));
  }
  return metadata;
}

void bind_savez(nb::module_& m) {
  m.def(
      "savez",
      [](nb::object file, nb::args args, nb::kwargs kwargs) {
        savez("savez", false, file, args, kwargs);
      },
      nb::arg("file"), nb::arg("args"), nb::arg("kwargs"),
      "Writes arrays to an uncompressed .npz archive: those without a name as arr_0, arr_1, ..., "
      "the others under their keyword. The ending is added where a path lacks it.\n\n"
      ">>> mx.savez('weights.npz', x, bias=b)");
  m.def(
      "savez_compressed",
      [](nb::object file, nb::args args, nb::kwargs kwargs) {
        savez("savez_compressed", true, file, args, kwargs);
      },
      nb::arg("file"), nb::arg("args"), nb::arg("kwargs"),
      "Like savez, compressed (by all cores).");
}

void bind_saves(nb::module_& m) {
  m.def(
      "save",
      [](nb::object file, nb::object arr) {
        Array array = to_saved(arr, "save");
        eval_without_gil({array});
        save_to(file, "save", ".npy", [&](io::Sink& sink) { io::save_npy(sink, array); });
      },
      nb::arg("file"), nb::arg("arr"),
      "Writes an array in NumPy's .npy format, to a path (the ending is added where it lacks it) "
      "or a file-like object. An existing file is replaced when the new one is complete.");
  m.def(
      "save_safetensors",
      [](nb::object file, nb::object arrays, nb::object metadata) {
        NamedArrays named = to_arrays(arrays, "save_safetensors");
        io::StringMetadata strings = string_metadata(metadata);
        eval_without_gil(values_of(named));
        save_to(file, "save_safetensors", ".safetensors",
                [&](io::Sink& sink) { io::save_safetensors(sink, named, strings); });
      },
      nb::arg("file"), nb::arg("arrays"), nb::arg("metadata") = nb::none(),
      "Writes a dict of arrays, and one of strings as metadata, in the safetensors format.");
  m.def(
      "save_gguf",
      [](nb::object file, nb::object arrays, nb::object metadata) {
        NamedArrays named = to_arrays(arrays, "save_gguf");
        io::GgufMetadata values = gguf_metadata(metadata);
        eval_without_gil(values_of(named));
        save_to(file, "save_gguf", ".gguf",
                [&](io::Sink& sink) { io::save_gguf(sink, named, values); });
      },
      nb::arg("file"), nb::arg("arrays"), nb::arg("metadata") = nb::none(),
      "Writes a dict of arrays in the GGUF format (float16, bfloat16, float32, float64 and signed "
      "integers). Metadata are scalars, arrays of at most one dimension, strings or lists of "
      "strings. ValueError for other dtypes.");
}

}  // namespace

void bind_files(nb::module_& m) {
  m.def("load", &load, nb::arg("file"), nb::arg("format") = nb::none(),
        nb::arg("return_metadata") = false, nb::kw_only(), nb::arg("stream") = nb::none(),
        nb::sig("def load(file: object, format: str | None = None, return_metadata: bool = False, "
                "*, stream: StreamOrDevice = None) -> array | dict[str, array] | tuple[dict[str, "
                "array], dict[str, typing.Any]]"),
        "Reads an array (.npy) or a dict of arrays (.npz, .safetensors, .gguf) from a path or a "
        "file-like object. `format` is the ending of the name if it is None.\n\n"
        "Arrays of a path are read when they are evaluated, on the stream; those of a file-like "
        "object at once. With `return_metadata`, safetensors and gguf give (arrays, metadata). "
        "Arrays of GGUF in Q4_0, Q4_1 or Q8_0 become packed weights, scales and biases for "
        "dequantize with a group size of 32.\n\n"
        "RuntimeError for a file that is missing, cut or corrupt; ValueError for an unknown format "
        "and for dtypes that Rill lacks.\n\n"
        ">>> arrays, metadata = mx.load('model.safetensors', return_metadata=True)");
  bind_saves(m);
  bind_savez(m);
}

}  // namespace rill::python
