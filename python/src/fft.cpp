// rill.core.fft.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"
#include "rill/ops/array_api.h"

namespace rill::python {

namespace {

auto stream_arg() { return nb::arg("stream") = nb::none(); }

fft::Norm to_norm(const char* operation, const std::string& name) {
  if (name == "backward") return fft::Norm::backward;
  if (name == "ortho") return fft::Norm::ortho;
  require(name == "forward", "[{}] norm must be 'backward', 'ortho' or 'forward', got '{}'",
          operation, name);
  return fft::Norm::forward;
}

std::optional<Shape> to_sizes(nb::handle sizes) {
  if (sizes.is_none()) return std::nullopt;
  return static_cast<Shape>(nb::borrow<ShapeArg>(sizes));
}

/// fft.name(a, n, axis, norm, stream)
template <auto f>
void bind_line(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name,
      [name](ArrayArg a, std::optional<int64_t> n, int axis, const std::string& norm, StreamArg s) {
        std::optional<Shape> sizes;
        if (n) sizes = Shape{*n};
        return wrap(f(to_array(a, name), sizes, Axes{axis}, to_norm(name, norm), s));
      },
      nb::arg("a"), nb::arg("n") = nb::none(), nb::arg("axis") = -1, nb::arg("norm") = "backward",
      stream_arg(), doc);
}

/// fft.name(a, s, axes, norm, stream); two-dimensional ones have the last two axes by default.
template <auto f>
void bind_axes(nb::module_& m, const char* name, bool two, const char* doc) {
  nb::object axes = nb::none();
  if (two) {
    nb::list last;
    last.append(-2);
    last.append(-1);
    axes = last;
  }
  m.def(
      name,
      [name](ArrayArg a, nb::object s, AxesArg along, const std::string& norm, StreamArg stream) {
        return wrap(f(to_array(a, name), to_sizes(s), along, to_norm(name, norm), stream));
      },
      nb::arg("a"), nb::arg("s") = nb::none(), nb::arg("axes").none() = axes,
      nb::arg("norm") = "backward", stream_arg(), doc);
}

template <auto f>
void bind_frequencies(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name,
      [](int64_t n, double d, StreamArg s, DtypeArg dtype, StreamArg device) {
        return wrap(f(n, d, place_of(s, device), dtype_or(dtype, Dtype::float32)));
      },
      nb::arg("n"), nb::arg("d") = 1.0, stream_arg(), nb::kw_only(), nb::arg("dtype") = nb::none(),
      device_arg(), doc);
}

template <auto f>
void bind_shift(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name,
      [name](ArrayArg a, AxesArg axes, StreamArg s) { return wrap(f(to_array(a, name), axes, s)); },
      nb::arg("a"), nb::arg("axes") = nb::none(), stream_arg(), doc);
}

}  // namespace

void bind_fft(nb::module_& m) {
  nb::module_ sub = m.def_submodule(
      "fft",
      "Discrete Fourier transforms. Results are complex64, those of the irfft family float32; "
      "float64 operands are computed in double precision. An axis is cut or padded with zeros to "
      "the size that is given. `norm` says which direction divides by the number of points: "
      "'backward', 'forward', or both by its square root, 'ortho'. A 0-d operand, a size below 1 "
      "and an axis that is out of range or given twice are ValueErrors.");
  bind_line<fft::fftn>(sub, "fft",
                       "The transform along an axis: sum over j of a[j] exp(-2 pi i j k / n).");
  bind_line<fft::ifftn>(sub, "ifft", "The inverse of fft.");
  bind_line<fft::rfftn>(sub, "rfft",
                        "The first n // 2 + 1 frequencies of the transform of real numbers.");
  bind_line<fft::irfftn>(sub, "irfft",
                         "The inverse of rfft: n real numbers, by default 2 (a.shape[axis] - 1).");
  bind_line<fft::hfft>(
      sub, "hfft",
      "The transform of a signal with Hermitian symmetry, of which the first half is given: n real "
      "numbers.");
  bind_line<fft::ihfft>(sub, "ihfft", "The inverse of hfft.");
  for (bool two : {true, false}) {
    bind_axes<fft::fftn>(sub, two ? "fft2" : "fftn", two, "The transform along several axes.");
    bind_axes<fft::ifftn>(sub, two ? "ifft2" : "ifftn", two, "The inverse transform.");
    bind_axes<fft::rfftn>(
        sub, two ? "rfft2" : "rfftn", two,
        "The transform of real numbers along several axes; half of the last of them.");
    bind_axes<fft::irfftn>(sub, two ? "irfft2" : "irfftn", two,
                           "The inverse transform to real numbers; `s` are their sizes.");
  }
  bind_frequencies<fft::fftfreq>(
      sub, "fftfreq", "The frequencies of an fft of n points that are d apart: float32.");
  bind_frequencies<fft::rfftfreq>(
      sub, "rfftfreq", "The frequencies of an rfft of n points that are d apart: float32.");
  bind_shift<fft::fftshift>(sub, "fftshift", "Moves frequency 0 to the middle.");
  bind_shift<fft::ifftshift>(sub, "ifftshift", "Moves frequency 0 back to the front.");
}

}  // namespace rill::python
