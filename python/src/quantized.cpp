// Quantised matrices, and products of gathered, masked and segmented ones.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

using MaybeInt = std::optional<int>;

auto optional_arg(const char* name) { return nb::arg(name) = nb::none(); }

/// The array of an argument that may be None: then an empty one.
Array to_optional(nb::handle object, const char* operation) {
  return object.is_none() ? Array() : to_array(object, operation);
}

void bind_conversions(nb::module_& m) {
  m.def(
      "quantize",
      [](ArrayArg w, MaybeInt group_size, MaybeInt bits, const std::string& mode,
         nb::object global_scale, StreamArg s) {
        const Quantization q = make_quantization("quantize", group_size, bits, mode);
        return array_tuple(
            quantize(to_array(w, "quantize"), q, to_optional(global_scale, "quantize"), s));
      },
      nb::arg("w"), optional_arg("group_size"), optional_arg("bits"), nb::arg("mode") = "affine",
      nb::kw_only(), optional_arg("global_scale"), stream_arg(),
      "Packs the rows of w, float32, float16 or bfloat16 of at least two dimensions, into codes "
      "of\n"
      "few bits: (words, scales, biases) for mode 'affine', (words, scales) for the others. The\n"
      "words are uint32, filled from the lowest bit on.\n\n"
      "    mode    group_size   bits             scales             default\n"
      "    affine  32, 64, 128  2, 3, 4, 5, 6, 8  as w, with biases  64, 4\n"
      "    mxfp4   32           4 (e2m1)         uint8 (e8m0)\n"
      "    mxfp8   32           8 (e4m3)         uint8 (e8m0)\n"
      "    nvfp4   16           4 (e2m1)         uint8 (e4m3)\n\n"
      "global_scale, a float32 scalar for nvfp4, is the largest magnitude to expect: scales are\n"
      "relative to it. ValueError for other sizes and modes, and for a last axis that is not a\n"
      "multiple of the group size.\n\n"
      "    w_q, scales, biases = mx.quantize(mx.random.normal((512, 512)), bits=4)");
  m.def(
      "dequantize",
      [](ArrayArg w, ArrayArg scales, nb::object biases, MaybeInt group_size, MaybeInt bits,
         const std::string& mode, nb::object global_scale, nb::object dtype, StreamArg s) {
        const char* name = "dequantize";
        std::optional<Dtype> type;
        if (!dtype.is_none()) type = static_cast<Dtype>(nb::borrow<DtypeArg>(dtype));
        return wrap(dequantize(to_array(w, name), to_array(scales, name), to_optional(biases, name),
                               make_quantization(name, group_size, bits, mode),
                               to_optional(global_scale, name), type, s));
      },
      nb::arg("w"), nb::arg("scales"), optional_arg("biases"), optional_arg("group_size"),
      optional_arg("bits"), nb::arg("mode") = "affine", optional_arg("global_scale"),
      optional_arg("dtype"), nb::kw_only(), stream_arg(),
      "The elements that quantize() packed: code * scale + bias. In `dtype`; by default that of\n"
      "scales and biases, for the small floats bfloat16 (float32 with a global_scale). ValueError\n"
      "when the arrays do not belong together.\n\n"
      "    w = mx.dequantize(w_q, scales, biases, bits=4)");
  m.def(
      "to_fp8", [](ArrayArg x, StreamArg s) { return wrap(to_fp8(to_array(x, "to_fp8"), s)); },
      nb::arg("x"), nb::kw_only(), stream_arg(),
      "x, of a floating dtype, as 8-bit floats (e4m3) in a uint8 array: rounded to the nearest,\n"
      "ties to even; 448 is the largest, for infinity and NaN too.");
  m.def(
      "from_fp8",
      [](ArrayArg x, DtypeArg dtype, StreamArg s) {
        return wrap(from_fp8(to_array(x, "from_fp8"), dtype, s));
      },
      nb::arg("x"), nb::arg("dtype") = m.attr("bfloat16"), nb::kw_only(), stream_arg(),
      "The 8-bit floats (e4m3) of a uint8 array in another floating dtype.");
}

void bind_quantized_products(nb::module_& m) {
  m.def(
      "quantized_matmul",
      [](ArrayArg x, ArrayArg w, ArrayArg scales, nb::object biases, bool transpose,
         MaybeInt group_size, MaybeInt bits, const std::string& mode, StreamArg s) {
        const char* name = "quantized_matmul";
        return wrap(quantized_matmul(to_array(x, name), to_array(w, name), to_array(scales, name),
                                     to_optional(biases, name), transpose,
                                     make_quantization(name, group_size, bits, mode), s));
      },
      nb::arg("x"), nb::arg("w"), nb::arg("scales"), optional_arg("biases"),
      nb::arg("transpose") = true, optional_arg("group_size"), optional_arg("bits"),
      nb::arg("mode") = "affine", nb::kw_only(), stream_arg(),
      "x @ W.T (with transpose=False x @ W) for the matrix W that w, scales and biases hold as\n"
      "quantize() made them; batches broadcast. Sums are in float32. ValueError when the operands\n"
      "do not fit.\n\n"
      "    w_q, scales, biases = mx.quantize(w, bits=8)\n"
      "    y = mx.quantized_matmul(x, w_q, scales, biases, bits=8)");
  m.def(
      "gather_qmm",
      [](ArrayArg x, ArrayArg w, ArrayArg scales, nb::object biases, nb::object lhs_indices,
         nb::object rhs_indices, bool transpose, MaybeInt group_size, MaybeInt bits,
         const std::string& mode, bool, StreamArg s) {
        const char* name = "gather_qmm";
        return wrap(gather_qmm(to_array(x, name), to_array(w, name), to_array(scales, name),
                               to_optional(biases, name), to_optional(lhs_indices, name),
                               to_optional(rhs_indices, name), transpose,
                               make_quantization(name, group_size, bits, mode), s));
      },
      nb::arg("x"), nb::arg("w"), nb::arg("scales"), optional_arg("biases"),
      optional_arg("lhs_indices"), optional_arg("rhs_indices"), nb::arg("transpose") = true,
      optional_arg("group_size"), optional_arg("bits"), nb::arg("mode") = "affine", nb::kw_only(),
      nb::arg("sorted_indices") = false, stream_arg(),
      "quantized_matmul() of the matrices at flat indices into the batches of x and of w, which\n"
      "broadcast together; None names all in order. Products with one w are done together, sorted\n"
      "or not. IndexError, on evaluation, for an index that is out of range.");
  m.def(
      "qqmm",
      [](ArrayArg x, ArrayArg w, nb::object scales, MaybeInt group_size, MaybeInt bits,
         const std::string& mode, nb::object global_scale_x, nb::object global_scale_w,
         StreamArg s) {
        const char* name = "qqmm";
        return wrap(qqmm(to_array(x, name), to_array(w, name), to_optional(scales, name),
                         make_quantization(name, group_size, bits, mode),
                         {to_optional(global_scale_x, name), to_optional(global_scale_w, name)},
                         s));
      },
      nb::arg("x"), nb::arg("w"), optional_arg("scales"), optional_arg("group_size"),
      optional_arg("bits"), nb::arg("mode") = "nvfp4", optional_arg("global_scale_x"),
      optional_arg("global_scale_w"), nb::kw_only(), stream_arg(),
      "x @ w.T with x rounded to the codes of `mode` on the fly, and w (2-d) likewise unless it "
      "is\n"
      "quantised and has scales. The result has the dtype of x. Derivatives are those of the\n"
      "product of the rounded operands.");
  m.def(
      "gather_qqmm",
      [](ArrayArg x, ArrayArg w, nb::object scales, nb::object lhs_indices, nb::object rhs_indices,
         MaybeInt group_size, MaybeInt bits, const std::string& mode, nb::object global_scale_x,
         nb::object global_scale_w, bool, StreamArg s) {
        const char* name = "gather_qqmm";
        return wrap(
            gather_qqmm(to_array(x, name), to_array(w, name), to_optional(scales, name),
                        to_optional(lhs_indices, name), to_optional(rhs_indices, name),
                        make_quantization(name, group_size, bits, mode),
                        {to_optional(global_scale_x, name), to_optional(global_scale_w, name)}, s));
      },
      nb::arg("x"), nb::arg("w"), optional_arg("scales"), optional_arg("lhs_indices"),
      optional_arg("rhs_indices"), optional_arg("group_size"), optional_arg("bits"),
      nb::arg("mode") = "nvfp4", optional_arg("global_scale_x"), optional_arg("global_scale_w"),
      nb::kw_only(), nb::arg("sorted_indices") = false, stream_arg(),
      "qqmm() of the matrices at flat indices into the batches of x and of w, as in gather_qmm().");
}

}  // namespace

void bind_quantized(nb::module_& m) {
  bind_conversions(m);
  bind_quantized_products(m);
  m.def(
      "gather_mm",
      [](ArrayArg a, ArrayArg b, nb::object lhs_indices, nb::object rhs_indices, bool,
         StreamArg s) {
        auto [x, y] = to_arrays(a, b, "gather_mm");
        return wrap(gather_mm(x, y, to_optional(lhs_indices, "gather_mm"),
                              to_optional(rhs_indices, "gather_mm"), s));
      },
      nb::arg("a"), nb::arg("b"), optional_arg("lhs_indices"), optional_arg("rhs_indices"),
      nb::kw_only(), nb::arg("sorted_indices") = false, stream_arg(),
      "a[lhs_indices] @ b[rhs_indices], the indices being flat ones into the batches of a and of "
      "b\n"
      "that broadcast together; None names all in order. Products with one b are done together,\n"
      "sorted or not. IndexError, on evaluation, for an index that is out of range.");
  m.def(
      "block_masked_mm",
      [](ArrayArg a, ArrayArg b, int block_size, nb::object mask_out, nb::object mask_lhs,
         nb::object mask_rhs, StreamArg s) {
        const char* name = "block_masked_mm";
        auto [x, y] = to_arrays(a, b, name);
        const BlockMasks masks{to_optional(mask_out, name), to_optional(mask_lhs, name),
                               to_optional(mask_rhs, name)};
        return wrap(block_masked_mm(x, y, block_size, masks, s));
      },
      nb::arg("a"), nb::arg("b"), nb::arg("block_size") = 64, optional_arg("mask_out"),
      optional_arg("mask_lhs"), optional_arg("mask_rhs"), nb::kw_only(), stream_arg(),
      "a @ b where each element of a mask stands for a block of block_size (32 or 64) elements a\n"
      "side of the result, of a or of b. A bool mask leaves blocks out, and their work; another\n"
      "multiplies them. Masks broadcast to the batch.");
  m.def(
      "segmented_mm",
      [](ArrayArg a, ArrayArg b, ArrayArg segments, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "segmented_mm");
        return wrap(segmented_mm(x, y, to_array(segments, "segmented_mm"), s));
      },
      nb::arg("a"), nb::arg("b"), nb::arg("segments"), nb::kw_only(), stream_arg(),
      "a[:, from:to] @ b[from:to] for each pair (from, to) in the last axis of `segments`: shape\n"
      "segments.shape[:-1] + (M, N). IndexError, on evaluation, for one that is out of range.");
}

}  // namespace rill::python
