// rill.core.fast.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

auto stream_arg() { return nb::arg("stream") = nb::none(); }

std::optional<Array> maybe_array(nb::handle object, const char* operation) {
  if (object.is_none()) return std::nullopt;
  return to_array(object, operation);
}

void bind_norms(nb::module_& m) {
  m.def(
      "rms_norm",
      [](ArrayArg x, nb::object weight, double eps, StreamArg s) {
        constexpr const char* name = "fast.rms_norm";
        return wrap(fast::rms_norm(to_array(x, name), maybe_array(weight, name), eps, s));
      },
      nb::arg("x"), nb::arg("weight").none(), nb::arg("eps"), nb::kw_only(), stream_arg(),
      nb::sig("def rms_norm(x: array, weight: array | None, eps: float, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(x / sqrt(mean(x * x) + eps) * weight, over the last axis.

Half types are computed in float32 and rounded once. The result has the promoted type of the
operands.

Args:
    x: Floats of at least one dimension.
    weight: One number for each feature, or None.
    eps: Added to the mean square.

Raises ValueError for other types, and a weight that is not of the size of the last axis.

>>> mx.fast.rms_norm(mx.array([3.0, 4.0]), None, 0.0)
array([0.848528, 1.13137], dtype=float32))");
  m.def(
      "layer_norm",
      [](ArrayArg x, nb::object weight, nb::object bias, double eps, StreamArg s) {
        constexpr const char* name = "fast.layer_norm";
        return wrap(fast::layer_norm(to_array(x, name), maybe_array(weight, name),
                                     maybe_array(bias, name), eps, s));
      },
      nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(), nb::arg("eps"), nb::kw_only(),
      stream_arg(),
      nb::sig("def layer_norm(x: array, weight: array | None, bias: array | None, eps: float, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"((x - mean(x)) / sqrt(var(x) + eps) * weight + bias, over the last axis.

Half types are computed in float32 and rounded once. The result has the promoted type of the
operands; without a weight that of x.

Args:
    x: Floats of at least one dimension.
    weight: One number for each feature, or None.
    bias: Likewise.
    eps: Added to the variance.

Raises ValueError for other types, and operands that are not of the size of the last axis.

>>> mx.fast.layer_norm(mx.array([1.0, 3.0]), None, None, 0.0)
array([-1, 1], dtype=float32))");
}

void bind_rope(nb::module_& m) {
  m.def(
      "rope",
      [](ArrayArg a, int64_t dims, bool traditional, std::optional<double> base, double scale,
         ArrayArg offset, nb::object freqs, StreamArg s) {
        constexpr const char* name = "fast.rope";
        return wrap(fast::rope(to_array(a, name), dims, traditional, base, scale,
                               to_array(offset, name), maybe_array(freqs, name), s));
      },
      nb::arg("a"), nb::arg("dims"), nb::kw_only(), nb::arg("traditional"), nb::arg("base").none(),
      nb::arg("scale"), nb::arg("offset"), nb::arg("freqs") = nb::none(), stream_arg(),
      nb::sig("def rope(a: array, dims: int, *, traditional: bool, base: float | None, "
              "scale: float, offset: int | array, freqs: array | None = None, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Rotary positions: turns pairs of features of a (B, ..., T, D) by their position.

Pair i of position t turns by ``(offset + t) * scale * base ** (-2 * i / dims)``, or by
``(offset + t) * scale / freqs[i]``.

Args:
    a: Floats of at least three dimensions.
    dims: How many features turn, an even number up to D; the others stay.
    traditional: Pairs are neighbours, features 2 i and 2 i + 1; else features i and i + dims / 2.
    base: Of the frequencies; None when freqs are given.
    scale: Of the positions.
    offset: The first position: an integer, or integers for each of B.
    freqs: dims / 2 numbers by which positions are divided.

Raises ValueError for other shapes and types, and unless one of base and freqs is given.

>>> mx.fast.rope(mx.ones((1, 2, 2)), 2, traditional=True, base=1.0, scale=1.0, offset=0)
array([[[1, 1],
        [-0.301169, 1.38177]]], dtype=float32))");
}

void bind_attention(nb::module_& m) {
  m.def(
      "scaled_dot_product_attention",
      [](ArrayArg q, ArrayArg k, ArrayArg v, double scale, nb::object mask, nb::object sinks,
         bool force_fused, StreamArg s) {
        constexpr const char* name = "fast.scaled_dot_product_attention";
        bool causal = false;
        std::optional<Array> scores;
        if (nb::isinstance<nb::str>(mask)) {
          auto option = nb::cast<std::string>(mask);
          require(option == "causal", "[{}] a mask is 'causal' or an array, got '{}'", name,
                  option);
          causal = true;
        } else {
          scores = maybe_array(mask, name);
        }
        Array queries = to_array(q, name);
        Array keys = to_array(k, name);
        Array values = to_array(v, name);
        Dtype dtype = promote(promote(queries.dtype(), keys.dtype()), values.dtype());
        require(!force_fused || dtype != Dtype::float64, "[{}] there is no fused kernel of {}",
                name, name_of(dtype));
        return wrap(fast::scaled_dot_product_attention(queries, keys, values, scale, causal, scores,
                                                       maybe_array(sinks, name), s));
      },
      nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::kw_only(), nb::arg("scale"),
      nb::arg("mask") = nb::none(), nb::arg("sinks") = nb::none(), nb::arg("force_fused") = false,
      stream_arg(),
      nb::sig("def scaled_dot_product_attention(q: array, k: array, v: array, *, scale: float, "
              "mask: None | str | array = None, sinks: array | None = None, "
              "force_fused: bool = False, stream: StreamOrDevice = None) -> array"),
      R"(softmax(scale * q @ k.T + mask) @ v, without the matrix of scores in memory.

Computed in float32 whatever the type, float64 in float64. Heads of keys and values may serve
several heads of queries, which follow one another: leave them as they are.

Args:
    q: (B, N_q, T_q, D).
    k: (B, N_kv, T_kv, D), where N_kv divides N_q.
    v: (B, N_kv, T_kv, D_v).
    scale: Of the scores, usually D ** -0.5.
    mask: None; "causal", where the last query sees all keys and each one before it one key less;
        booleans, true where a query sees a key; or numbers to add to the scores. Arrays are
        broadcast to (B, N_q, T_q, T_kv). A query that sees no key weighs all alike.
    sinks: (N_q,): a further score of each head, which takes weight but has no value.
    force_fused: Refuse what has no kernel of its own: float64.

Raises ValueError for other shapes and types, and a mask or sinks whose type does not promote to
that of the result.

>>> q = mx.ones((1, 2, 3, 4))
>>> mx.fast.scaled_dot_product_attention(q, q, q, scale=0.5, mask="causal").shape
(1, 2, 3, 4))");
}

void bind_cross_entropy(nb::module_& m) {
  m.def(
      "cross_entropy",
      [](ArrayArg logits, ArrayArg targets, StreamArg s) {
        constexpr const char* name = "fast.cross_entropy";
        return wrap(fast::cross_entropy(to_array(logits, name), to_array(targets, name), s));
      },
      nb::arg("logits"), nb::arg("targets"), nb::kw_only(), stream_arg(),
      nb::sig("def cross_entropy(logits: array, targets: array, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(logsumexp(logits, -1) - logits[..., target]: the loss of each row, in float32.

Args:
    logits: Floats (..., C).
    targets: Integers (...), from 0 to C - 1; negative ones count from the end.

Raises ValueError for other shapes and types, and IndexError for a target out of range.

>>> mx.fast.cross_entropy(mx.zeros((1, 4)), mx.array([2]))
array([1.38629], dtype=float32))");
}

[[noreturn]] void refuse(const char* operation, const char* backend) {
  throw std::runtime_error(
      fmt::format("[{}] custom kernels need {}, which this device has not", operation, backend));
}

/// Kernels in the language of another device: the names exist, so that programs can ask for them
/// where that device is there.
void bind_custom_kernels(nb::module_& m) {
  m.def(
      "metal_kernel",
      [](const std::string&, nb::handle, nb::handle, const std::string&, const std::string&, bool,
         bool, nb::handle) -> nb::object {
        return nb::cpp_function(
            [](const nb::args&, const nb::kwargs&) { refuse("metal_kernel", "Metal"); });
      },
      nb::arg("name"), nb::arg("input_names"), nb::arg("output_names"), nb::arg("source"),
      nb::arg("header") = "", nb::arg("ensure_row_contiguous") = true,
      nb::arg("atomic_outputs") = false, nb::arg("compile_options") = nb::none(),
      nb::sig(
          "def metal_kernel(name: str, input_names: Sequence[str], output_names: Sequence[str], "
          "source: str, header: str = '', ensure_row_contiguous: bool = True, atomic_outputs: "
          "bool = False, compile_options: object | None = None) -> Callable"),
      "A kernel in the Metal language. Calling it raises RuntimeError: there is no Metal here.");
  m.def(
      "cuda_kernel",
      [](const std::string&, nb::handle, nb::handle, const std::string&, const std::string&, bool,
         int) -> nb::object { refuse("cuda_kernel", "CUDA"); },
      nb::arg("name"), nb::arg("input_names"), nb::arg("output_names"), nb::arg("source"),
      nb::arg("header") = "", nb::arg("ensure_row_contiguous") = true, nb::arg("shared_memory") = 0,
      nb::sig("def cuda_kernel(name: str, input_names: Sequence[str], output_names: Sequence[str], "
              "source: str, header: str = '', ensure_row_contiguous: bool = True, shared_memory: "
              "int = 0) -> Callable"),
      "A kernel in CUDA. Raises RuntimeError without a CUDA device.");
  m.def(
      "precompiled_cuda_kernel",
      [](const nb::args&, const nb::kwargs&) -> nb::object {
        refuse("precompiled_cuda_kernel", "CUDA");
      },
      nb::sig("def precompiled_cuda_kernel(*, name: str, compiled_source: bytes, inputs: "
              "Sequence[scalar | array], output_shapes: Sequence[tuple[int, ...]], output_dtypes: "
              "Sequence[Dtype], scalars: Sequence[object], grid: tuple[int, int, int], "
              "threadgroup: tuple[int, int, int], shared_memory: int = 0, init_value: float | None "
              "= None, ensure_row_contiguous: bool = False, stream: StreamOrDevice = None) -> "
              "list[array]"),
      "A compiled CUDA kernel. Raises RuntimeError without a CUDA device.");
}

}  // namespace

void bind_fast(nb::module_& m) {
  nb::module_ sub = m.def_submodule("fast", "Compositions with kernels of their own.");
  bind_norms(sub);
  bind_rope(sub);
  bind_attention(sub);
  bind_cross_entropy(sub);
  bind_custom_kernels(sub);
}

}  // namespace rill::python
