// The printed form of arrays.
#include <nanobind/stl/string.h>

#include <atomic>
#include <cmath>

#include "convert.h"

namespace rill::python {

namespace {

/// Digits after the point; the default asks for the shortest form of six digits.
struct PrintOptions {
  static constexpr int shortest = -1;
  int precision = shortest;
};

std::atomic<int> current_precision{PrintOptions::shortest};

/// What `with mx.printoptions(...)` enters: the options, and those to return to.
struct PrintOptionsContext {
  PrintOptions options;
  std::vector<int> outer;
};

constexpr int64_t longest_axis = 6;  // longer ones are printed as their ends
constexpr int64_t end_items = 3;
constexpr std::string_view opening = "array(";

/// Writes an array as text.
class Printer {
 public:
  explicit Printer(const Output& values) : values_(values), precision_(current_precision) {}

  std::string print() {
    text_ = opening;
    visit_type(values_.dtype, [&]<class T>(type_tag<T>) {
      print_axis(0, reinterpret_cast<const T*>(values_.data));
    });
    text_ += fmt::format(", dtype={})", name_of(values_.dtype));
    return std::move(text_);
  }

 private:
  template <class T>
  void print_axis(int axis, const T* data) {
    if (axis == values_.shape.ssize()) return print_element(*data);
    int64_t n = values_.shape[axis];
    bool innermost = axis + 1 == values_.shape.ssize();
    std::string separator = innermost ? ", " : ",\n" + std::string(opening.size() + axis + 1, ' ');
    text_ += '[';
    for (int64_t i = 0; i < n; ++i) {
      if (i > 0) text_ += separator;
      if (n > longest_axis && i == end_items) {
        text_ += "..." + separator;
        i = n - end_items;
      }
      print_axis(axis + 1, data + i * values_.strides[axis]);
    }
    text_ += ']';
  }

  template <class T>
  void print_element(T value) {
    if constexpr (std::is_same_v<T, bool>) {
      text_ += value ? "True" : "False";
    } else if constexpr (std::is_integral_v<T>) {
      fmt::format_to(std::back_inserter(text_), "{}", +value);
    } else if constexpr (std::is_same_v<T, complex64>) {
      print_real(value.real());
      if (value.imag() >= 0 || std::isnan(value.imag())) text_ += '+';
      print_real(value.imag());
      text_ += 'j';
    } else {
      print_real(static_cast<double>(value));
    }
  }

  void print_real(double value) {
    if (precision_ == PrintOptions::shortest) {
      fmt::format_to(std::back_inserter(text_), "{:g}", value);
    } else {
      fmt::format_to(std::back_inserter(text_), "{:.{}f}", value, precision_ < 0 ? 6 : precision_);
    }
  }

  const Output& values_;
  int precision_;
  std::string text_;
};

std::string to_text(const Array& array) { return Printer(values_of(array)).print(); }

nb::object format(const Array& array, const nb::str& spec) {
  if (array.ndim() == 0)
    return steal_checked(PyObject_Format(to_python_scalar(array).ptr(), spec.ptr()));
  if (nb::len(spec) > 0) {
    throw_type_error("unsupported format string passed to rill.core.array.__format__");
  }
  return nb::cast(to_text(array));
}

}  // namespace

void bind_printing(nb::module_& m, nb::class_<Array>& array) {
  array.def("__repr__", &to_text);
  array.def("__str__", &to_text);
  array.def("__format__", &format, nb::arg("format_spec"),
            nb::sig("def __format__(self, format_spec: str) -> str"));
  nb::class_<PrintOptions>(m, "PrintOptions", "How numbers are printed.")
      .def(nb::init<int>(), nb::arg("precision") = PrintOptions::shortest)
      .def_rw("precision", &PrintOptions::precision,
              "Digits after the point, or -1 for the shortest form of six digits.");
  nb::class_<PrintOptionsContext>(m, "_PrintOptionsContext", "Sets print options within a block.")
      .def("__enter__",
           [](nb::handle self) {
             auto& context = nb::cast<PrintOptionsContext&>(self);
             context.outer.push_back(current_precision.exchange(context.options.precision));
             return nb::borrow(self);
           })
      .def(
          "__exit__",
          [](PrintOptionsContext& self, nb::args) {
            require(!self.outer.empty(), "[printoptions] left a block that was not entered");
            current_precision = self.outer.back();
            self.outer.pop_back();
          },
          nb::sig("def __exit__(self, exc_type: type | None = None, exc_value: object | None = "
                  "None, traceback: object | None = None) -> None"));
  m.def(
      "get_printoptions", [] { return PrintOptions{current_precision}; },
      "The print options in force.");
  m.def(
      "set_printoptions", [](int precision) { current_precision = precision; },
      nb::arg("precision") = PrintOptions::shortest,
      "Sets the digits after the point of printed floats; -1 for the shortest form of six "
      "digits.");
  m.def(
      "printoptions",
      [](int precision) { return PrintOptionsContext{PrintOptions{precision}, {}}; },
      nb::arg("precision") = PrintOptions::shortest,
      "Sets print options within a block.\n\n"
      ">>> with mx.printoptions(precision=3):\n...     print(x)");
}

}  // namespace rill::python
