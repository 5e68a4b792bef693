// Convolutions.
#include "arguments.h"

namespace rill::python {

namespace {

auto stream_arg() { return nb::arg("stream") = nb::none(); }

/// An int, or `axes` of them.
Shape to_values(const ShapeArg& given, const char* operation, int axes) {
  Shape values = given;
  require(values.size() == 1 || values.ssize() == axes, "[{}] expected 1 or {} values, got {}",
          operation, axes, values);
  return values;
}

void require_axes(const char* operation, const Array& x, const Array& w, int axes) {
  require(x.ndim() == axes + 2 && w.ndim() == axes + 2,
          "[{}] expected {} axes, got an input of shape {} and a weight of shape {}", operation,
          axes + 2, x.shape(), w.shape());
}

void bind_conv(nb::module_& m, const char* name, int axes, const char* doc) {
  m.def(
      name,
      [name, axes](ArrayArg input, ArrayArg weight, ShapeArg stride, ShapeArg padding,
                   ShapeArg dilation, int64_t groups, StreamArg s) {
        Array x = to_array(input, name);
        Array w = to_array(weight, name);
        require_axes(name, x, w, axes);
        ConvGeometry geometry;
        geometry.stride = to_values(stride, name, axes);
        geometry.low = geometry.high = to_values(padding, name, axes);
        geometry.kernel_dilation = to_values(dilation, name, axes);
        geometry.groups = groups;
        return wrap(conv_general(x, w, geometry, s));
      },
      nb::arg("input"), nb::arg("weight"), nb::arg("stride") = 1, nb::arg("padding") = 0,
      nb::arg("dilation") = 1, nb::arg("groups") = 1, nb::kw_only(), stream_arg(), doc);
}

void bind_conv_transpose(nb::module_& m, const char* name, int axes, const char* doc) {
  m.def(
      name,
      [name, axes](ArrayArg input, ArrayArg weight, ShapeArg stride, ShapeArg padding,
                   ShapeArg dilation, ShapeArg output_padding, int64_t groups, StreamArg s) {
        Array x = to_array(input, name);
        Array w = to_array(weight, name);
        require_axes(name, x, w, axes);
        return wrap(conv_transpose(x, w, to_values(stride, name, axes),
                                   to_values(padding, name, axes), to_values(dilation, name, axes),
                                   to_values(output_padding, name, axes), groups, s));
      },
      nb::arg("input"), nb::arg("weight"), nb::arg("stride") = 1, nb::arg("padding") = 0,
      nb::arg("dilation") = 1, nb::arg("output_padding") = 0, nb::arg("groups") = 1, nb::kw_only(),
      stream_arg(), doc);
}

/// The padding of conv_general: an int, one for each axis, or a pair of those: before and after.
void set_padding(ConvGeometry& geometry, nb::handle padding) {
  if (nb::isinstance<nb::sequence>(padding) && nb::len(padding) == 2 &&
      nb::isinstance<nb::sequence>(padding[0])) {
    geometry.low = nb::borrow<ShapeArg>(nb::object(padding[0]));
    geometry.high = nb::borrow<ShapeArg>(nb::object(padding[1]));
  } else {
    geometry.low = geometry.high = nb::borrow<ShapeArg>(padding);
  }
}

void bind_conv_general(nb::module_& m) {
  m.def(
      "conv_general",
      [](ArrayArg input, ArrayArg weight, ShapeArg stride, nb::object padding,
         ShapeArg kernel_dilation, ShapeArg input_dilation, int64_t groups, bool flip,
         StreamArg s) {
        ConvGeometry geometry;
        geometry.stride = stride;
        set_padding(geometry, padding);
        geometry.kernel_dilation = kernel_dilation;
        geometry.input_dilation = input_dilation;
        geometry.groups = groups;
        geometry.flip = flip;
        return wrap(conv_general(to_array(input, "conv_general"), to_array(weight, "conv_general"),
                                 geometry, s));
      },
      nb::arg("input"), nb::arg("weight"), nb::arg("stride") = 1, nb::arg("padding") = 0,
      nb::arg("kernel_dilation") = 1, nb::arg("input_dilation") = 1, nb::arg("groups") = 1,
      nb::arg("flip") = false, nb::kw_only(), stream_arg(),
      "The convolution of an input (N, ..., C_in) with a weight (C_out, ..., C_in / groups) over 1 "
      "to 3 spatial axes; parameters are one number or one for each of them. `padding` may be a "
      "pair of lists, before and after; `input_dilation` - 1 zeros lie between the elements of the "
      "input; `flip` turns the kernel round.");
}

}  // namespace

void bind_convolutions(nb::module_& m) {
  bind_conv(m, "conv1d", 1,
            "The convolution of an input (N, L, C_in) with a weight (C_out, K, C_in / groups): "
            "(N, L', C_out) with L' = (L + 2 padding - dilation (K - 1) - 1) // stride + 1. Floats "
            "only; shapes that do not fit are ValueErrors.");
  bind_conv(m, "conv2d", 2,
            "The convolution of an input (N, H, W, C_in) with a weight (C_out, KH, KW, C_in / "
            "groups). Parameters are one number or one for each axis.");
  bind_conv(m, "conv3d", 3,
            "The convolution of an input (N, D, H, W, C_in) with a weight (C_out, KD, KH, KW, C_in "
            "/ groups). Parameters are one number or one for each axis.");
  bind_conv_transpose(m, "conv_transpose1d", 1,
                      "The transposed convolution of an input (N, L, C_in) with a weight (C_out, "
                      "K, C_in / groups): L' = (L - 1) stride - 2 padding + dilation (K - 1) + "
                      "output_padding + 1.");
  bind_conv_transpose(m, "conv_transpose2d", 2,
                      "The transposed convolution of an input (N, H, W, C_in) with a weight "
                      "(C_out, KH, KW, C_in / groups).");
  bind_conv_transpose(m, "conv_transpose3d", 3,
                      "The transposed convolution of an input (N, D, H, W, C_in) with a weight "
                      "(C_out, KD, KH, KW, C_in / groups).");
  bind_conv_general(m);
}

}  // namespace rill::python
