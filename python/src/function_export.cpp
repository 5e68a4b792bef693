// Functions as files: export_function, exporter, import_function; and graphs as pictures.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <fstream>

#include "arguments.h"
#include "rill/io/export.h"
#include "rill/io/function_file.h"
#include "streams.h"
#include "trees.h"

namespace rill::python {

namespace {

constexpr const char* inputs_message =
    "[{}] inputs are positional and keyword arrays, or one tuple of arrays, one dict of arrays by "
    "name, or both";

struct Arguments {
  Arrays args;
  NamedArrays kwargs;
};

void add_sequence(const char* operation, nb::handle items, Arrays& to) {
  for (nb::handle item : items) {
    require(is_array(item), fmt::runtime(inputs_message), operation);
    to.push_back(unwrap(item));
  }
}

void add_named(const char* operation, nb::handle dict, NamedArrays& to) {
  for (auto [key, item] : nb::borrow<nb::dict>(dict)) {
    require(PyUnicode_Check(key.ptr()) && is_array(item), fmt::runtime(inputs_message), operation);
    to[nb::cast<std::string>(key)] = unwrap(item);
  }
}

Arguments parse(const char* operation, const nb::args& args, const nb::kwargs& kwargs) {
  Arguments result;
  auto is_sequence = [](nb::handle x) { return PyTuple_Check(x.ptr()) || PyList_Check(x.ptr()); };
  size_t count = args.size();
  bool trees = count > 0 && !is_array(args[0]);
  if (!trees) {
    add_sequence(operation, args, result.args);
  } else {
    bool dict_last = PyDict_Check(nb::object(args[count - 1]).ptr());
    bool fits = count == 1 ? is_sequence(args[0]) || dict_last
                           : count == 2 && is_sequence(args[0]) && dict_last;
    require(fits, fmt::runtime(inputs_message), operation);
    if (is_sequence(args[0])) add_sequence(operation, args[0], result.args);
    if (dict_last) add_named(operation, args[count - 1], result.kwargs);
  }
  add_named(operation, kwargs, result.kwargs);
  return result;
}

/// A Python function, called with the GIL, whose results are an array or a flat list of arrays.
NamedFunction python_function(nb::callable fun) {
  return [fun = std::move(fun)](const Arrays& args, const NamedArrays& kwargs) {
    nb::dict named;
    for (const auto& [name, array] : kwargs) named[name.c_str()] = wrap(array);
    nb::object result = fun(*array_tuple(args), **named);
    if (is_array(result)) return Arrays{unwrap(result)};
    bool flat = PyTuple_Check(result.ptr()) || PyList_Check(result.ptr());
    Arrays outputs;
    if (flat) {
      for (nb::handle item : result) {
        flat = flat && is_array(item);
        if (flat) outputs.push_back(unwrap(item));
      }
    }
    require(flat && !outputs.empty(),
            "[export_function] the function must return an array, or a tuple or list of arrays, "
            "got {}",
            type_of(result));
    return outputs;
  };
}

std::string path_of(nb::handle file) {
  nb::object path = nb::module_::import_("os").attr("fspath")(file);
  require<type_error>(PyUnicode_Check(path.ptr()), "[export] expected a path, got {}",
                      type_of(file));
  return nb::cast<std::string>(path);
}

nb::object attr_object(const AttrValue& value) {
  return std::visit(
      [](const auto& v) -> nb::object {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) return nb::bool_(v);
        else if constexpr (std::is_same_v<T, int64_t>) return nb::int_(v);
        else if constexpr (std::is_same_v<T, double>) return nb::float_(v);
        else if constexpr (std::is_same_v<T, std::string>) return nb::str(v.c_str());
        else if constexpr (std::is_same_v<T, control::BodyRef>)
          return nb::str(fmt::format("{}", v).c_str());
        else {
          nb::list items;
          for (int64_t item : v) items.append(item);
          return nb::tuple(items);
        }
      },
      value);
}

/// Tells a callback what a trace is made of, as dicts with a "type".
class Teller {
 public:
  Teller(const nb::callable& callback, const exported::Trace& trace)
      : callback_(callback), trace_(trace) {
    for (const exported::Input& input : trace.inputs) values_.push_back(input.like);
    for (const Array& constant : trace.constants) {
      values_.push_back({constant.dtype(), constant.shape()});
    }
    for (const exported::NodeRecord& node : trace.nodes) {
      values_.insert(values_.end(), node.outputs.begin(), node.outputs.end());
    }
  }

  void tell() const {
    auto inputs = static_cast<uint32_t>(trace_.inputs.size());
    auto constants = static_cast<uint32_t>(trace_.constants.size());
    send("inputs", "inputs", range(0, inputs));
    nb::list keywords;
    for (uint32_t i = 0; i < inputs; ++i) {
      const std::string& name = trace_.inputs[i].name;
      if (!name.empty()) keywords.append(nb::make_tuple(name, name_of_value(i)));
    }
    send("keyword_inputs", "keywords", keywords);
    send("outputs", "outputs", described(trace_.outputs));
    nb::list values;
    for (uint32_t i = 0; i < constants; ++i) {
      values.append(nb::make_tuple(name_of_value(inputs + i), wrap(trace_.constants[i])));
    }
    send("constants", "constants", values);
    uint32_t next = inputs + constants;
    for (const exported::NodeRecord& node : trace_.nodes) {
      auto outputs = static_cast<uint32_t>(node.outputs.size());
      nb::dict record;
      nb::list arguments;
      for (const AttrValue& value : node.attrs) arguments.append(attr_object(value));
      record["type"] = "primitive";
      record["name"] = node.op;
      record["inputs"] = described(node.inputs);
      record["outputs"] = range(next, outputs);
      record["arguments"] = arguments;
      callback_(record);
      next += outputs;
    }
  }

 private:
  static std::string name_of_value(uint32_t number) {
    std::string letters;
    for (uint64_t n = uint64_t{number} + 1; n > 0; n = (n - 1) / 26) {
      letters.insert(letters.begin(), static_cast<char>('A' + (n - 1) % 26));
    }
    return letters;
  }
  nb::list described(const std::vector<uint32_t>& numbers) const {
    nb::list list;
    for (uint32_t i : numbers) {
      list.append(nb::make_tuple(name_of_value(i), to_tuple(values_[i].shape),
                                 dtype_object(values_[i].dtype)));
    }
    return list;
  }
  nb::list range(uint32_t first, uint32_t count) const {
    std::vector<uint32_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), first);
    return described(numbers);
  }
  void send(const char* type, const char* key, const nb::object& value) const {
    nb::dict message;
    message["type"] = type;
    message[key] = value;
    callback_(message);
  }

  const nb::callable& callback_;
  const exported::Trace& trace_;
  std::vector<exported::Value> values_;
};

void bind_exporter(nb::module_& m) {
  nb::class_<FunctionExporter>(m, "FunctionExporter",
                               "Collects traces of a function for one file; see exporter.")
      .def(
          "__call__",
          [](FunctionExporter& self, nb::args args, nb::kwargs kwargs) {
            Arguments given = parse("export_function", args, kwargs);
            self.add(given.args, given.kwargs);
          },
          nb::arg("args"), nb::arg("kwargs"), "Traces the function with arguments like these.")
      .def("close", &FunctionExporter::close, "Writes the file.")
      .def(
          "__enter__", [](nb::handle self) { return nb::borrow(self); },
          nb::sig("def __enter__(self) -> FunctionExporter"))
      .def(
          "__exit__",
          [](FunctionExporter& self, nb::handle type, nb::handle, nb::handle) {
            if (type.is_none()) self.close();
          },
          nb::arg("exc_type") = nb::none(), nb::arg("exc_value") = nb::none(),
          nb::arg("traceback") = nb::none(), "Writes the file, unless an exception passes by.");
  m.def(
      "exporter",
      [](nb::object file, nb::callable fun, bool shapeless, std::optional<std::string> metadata) {
        return FunctionExporter(path_of(file), python_function(std::move(fun)), shapeless,
                                metadata.value_or(""));
      },
      nb::arg("file"), nb::arg("fun"), nb::kw_only(), nb::arg("shapeless") = false,
      nb::arg("metadata") = nb::none(),
      "An object that traces a function for each set of arguments with which it is called, and "
      "writes all traces to one file at the end.\n\n"
      ">>> with mx.exporter('sum.rill', lambda *args: sum(args)) as export:\n"
      "...     export(mx.array(1))\n...     export(mx.array(1), mx.array(2))");
}

void bind_export(nb::module_& m) {
  m.def(
      "export_function",
      [](nb::object file, nb::callable fun, nb::args args, bool shapeless,
         std::optional<std::string> metadata, nb::kwargs kwargs) {
        Arguments given = parse("export_function", args, kwargs);
        bool calls_back = PyCallable_Check(file.ptr()) != 0;
        require(!calls_back || !metadata, "[export_function] metadata needs a file");
        FunctionExporter exporter(calls_back ? "" : path_of(file), python_function(fun), shapeless,
                                  metadata.value_or(""));
        exporter.add(given.args, given.kwargs);
        if (!calls_back) return exporter.close();
        Teller(nb::borrow<nb::callable>(file), exporter.file().traces[0]).tell();
      },
      nb::arg("file_or_callback"), nb::arg("fun"), nb::arg("args"), nb::kw_only(),
      nb::arg("shapeless") = false, nb::arg("metadata") = nb::none(), nb::arg("kwargs"),
      "Traces a function with example arguments and writes it to a file, with everything that it "
      "depends on. Arguments are positional and keyword arrays, or a tuple and a dict of arrays; "
      "the function returns an array, or a tuple or list of arrays.\n\n"
      "With shapeless=True, sizes that do not matter to the graph may differ when the imported "
      "function is called; to find out which, the function is traced a few times more. A callback "
      "in place of a file gets the parts of the graph as dicts. ValueError when an operation "
      "cannot be exported.\n\n"
      ">>> mx.export_function('f.rill', lambda x, y: x + y, mx.array(1.0), y=mx.array(2.0))\n"
      ">>> mx.import_function('f.rill')(mx.array(3.0), y=mx.array(4.0))[0]");
}

void bind_import(nb::module_& m) {
  nb::class_<ImportedFunction>(m, "ImportedFunction", "A function read from a file.")
      .def(
          "__call__",
          [](const ImportedFunction& self, nb::args args, nb::kwargs kwargs) {
            Arguments given = parse("import_function", args, kwargs);
            return array_tuple(self(given.args, given.kwargs));
          },
          nb::arg("args"), nb::arg("kwargs"), "The outputs, as a tuple of arrays.")
      .def("__repr__", [](const ImportedFunction& self) {
        return "ImportedFunction, called with one of\n" + self.signatures();
      });
  m.def(
      "import_function",
      [](nb::object file, bool return_metadata, nb::object streams) -> nb::object {
        std::vector<Stream> own;
        if (!streams.is_none()) {
          for (nb::handle stream : streams) own.push_back(to_stream(nb::borrow<StreamArg>(stream)));
        }
        ImportedFunction function = import_function(path_of(file), own);
        nb::object result = nb::cast(function);
        if (!return_metadata) return result;
        return nb::make_tuple(result, function.metadata());
      },
      nb::arg("file"), nb::arg("return_metadata") = false, nb::kw_only(),
      nb::arg("streams") = nb::none(),
      nb::sig("def import_function(file: object, return_metadata: bool = False, *, streams: "
              "Sequence[StreamOrDevice] | None = None) -> Callable | tuple[Callable, str]"),
      "Reads a function that export_function or exporter wrote. It is called with arrays like "
      "those "
      "of one of its traces, and returns a tuple of arrays. What ran on the exporter's default "
      "stream runs on the caller's; other streams are new ones, or those given in `streams`. "
      "RuntimeError for a file that cannot be read, is damaged, or holds a graph that is not "
      "valid.\n\n>>> f, text = mx.import_function('f.rill', return_metadata=True)");
}

void bind_dot(nb::module_& m) {
  m.def(
      "export_to_dot",
      [](nb::object file, nb::args args, nb::kwargs kwargs) {
        NamedArrays names;
        for (auto [key, item] : kwargs) {
          require(is_array(item), "[export_to_dot] expected arrays by name, got {}", type_of(item));
          names[nb::cast<std::string>(key)] = unwrap(item);
        }
        std::string text = to_dot(arrays_of(args), names);
        if (nb::hasattr(file, "write")) {
          file.attr("write")(text);
          return;
        }
        std::string path = path_of(file);
        std::ofstream out(path);
        out << text;
        out.close();
        require<std::runtime_error>(bool(out), "[export_to_dot] cannot write {}", path);
      },
      nb::arg("file"), nb::arg("args"), nb::arg("kwargs"),
      "Writes the graph of what is not computed yet below some arrays, in the language of "
      "Graphviz. Keyword arguments name arrays in the picture.\n\n"
      ">>> mx.export_to_dot('graph.dot', x + y, x=x, y=y)");
}

}  // namespace

void bind_function_export(nb::module_& m) {
  bind_exporter(m);
  bind_export(m);
  bind_import(m);
  bind_dot(m);
}

}  // namespace rill::python
