// Quantised matrices: from nodes to kernels.
#include <algorithm>
#include <cstring>

#include "rill/cpu/backend.h"
#include "rill/cpu/gather_groups.h"
#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/quantized_matrix.h"
#include "rill/ops/quantized_parts.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using quantized_kernels::Format;
using quantized_kernels::Scale;

constexpr int64_t task_elements = 32768;

/// What scales are multiplied by, beside a global scale or 1 without one: once encoded, and before.
struct GlobalFactors {
  float decode = 1;
  float encode = 1;

  GlobalFactors(const Launch& launch, size_t input) {
    if (launch.inputs.size() <= input) return;
    const float global = *reinterpret_cast<const float*>(launch.in(input).data);
    decode = global / largest_relative_scale;
    encode = largest_relative_scale / global;
  }
};

void store(Dtype dtype, float value, char* at) {
  if (dtype == Dtype::float16) *reinterpret_cast<float16*>(at) = float16(value);
  else if (dtype == Dtype::bfloat16) *reinterpret_cast<bfloat16*>(at) = bfloat16(value);
  else *reinterpret_cast<float*>(at) = value;
}

/// Encodes groups one after the other: where they and their codes lie.
struct Encoder {
  Format format;
  Scale scale;
  GlobalFactors factors;
  Dtype dtype;
  const char* from;

  int64_t code_bytes() const { return format.group * format.bits / 8; }
  const char* group(int64_t i) const { return from + i * format.group * size_of(dtype); }
  int64_t grain() const { return std::max<int64_t>(1, task_elements / format.group); }

  uint8_t encode_floats(int64_t i, uint8_t* codes) const {
    return quantized_kernels::quantize_floats(format, scale, factors.encode, dtype, group(i),
                                              codes);
  }
};

Encoder encoder_of(const Launch& launch, const Quantization& q, const RowMajor& in) {
  return {format_of(q), scale_of(q.mode), GlobalFactors(launch, 1), launch.in(0).dtype,
          in.as<char>()};
}

void run_quantize(const Launch& launch) {
  const auto& q = launch.attrs<Quantization>();
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) allocate(launch.out(i));
  const RowMajor in(launch.in(0));
  const Encoder encoder = encoder_of(launch, q, in);
  uint8_t* codes = reinterpret_cast<uint8_t*>(launch.out(0).data);
  char* scales = launch.out(1).data;
  const int item = size_of(launch.out(1).dtype);
  parallel_for(launch.out(1).size, encoder.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint8_t* to = codes + i * encoder.code_bytes();
      if (encoder.scale != Scale::floating) {
        scales[i] = static_cast<char>(encoder.encode_floats(i, to));
        continue;
      }
      auto [scale, bias] =
          quantized_kernels::quantize_integers(encoder.format, encoder.dtype, encoder.group(i), to);
      store(encoder.dtype, scale, scales + i * item);
      store(encoder.dtype, bias, launch.out(2).data + i * item);
    }
  });
}

// Each group goes through codes in the first cache.
void run_round_to_codes(const Launch& launch) {
  const auto& q = launch.attrs<Quantization>();
  allocate(launch.out());
  const RowMajor in(launch.in(0));
  const Encoder encoder = encoder_of(launch, q, in);
  float* out = reinterpret_cast<float*>(launch.out().data);
  const Format& format = encoder.format;
  parallel_for(launch.out().size / format.group, encoder.grain(), [&](int64_t begin, int64_t end) {
    uint8_t codes[128 + quantized_kernels::spare_bytes];
    for (int64_t i = begin; i < end; ++i) {
      float scale;
      float bias = 0;
      if (encoder.scale == Scale::floating) {
        auto group =
            quantized_kernels::quantize_integers(format, encoder.dtype, encoder.group(i), codes);
        scale = group.scale;
        bias = group.bias;
      } else {
        const uint8_t code = encoder.encode_floats(i, codes);
        quantized_kernels::widen(encoder.scale, Dtype::uint8, &code, 1, &scale);
        scale *= encoder.factors.decode;
      }
      quantized_kernels::dequantize(format, {codes, &scale, &bias, format.group}, format.group,
                                    Dtype::float32, out + i * format.group);
    }
  });
}

/// The arrays of a quantised matrix, as many matrices as the leading axes say, in order.
class Weights {
 public:
  Weights(const Launch& launch, size_t first, const Quantization& q)
      : words_(launch.in(first)), scales_(launch.in(first + 1)) {
    const bool biased = q.mode == QuantizationMode::affine;
    if (biased) biases_.emplace(launch.in(first + 2));
    const Output& scales = launch.in(first + 1);
    const int ndim = scales.shape.ssize();
    matrix_.format = format_of(q);
    matrix_.scale = scale_of(q.mode);
    matrix_.rows = scales.shape[ndim - 2];
    matrix_.cols = scales.shape[ndim - 1] * q.group_size;
    matrix_.scale_dtype = scales.dtype;
    matrix_.bias_dtype = biased ? launch.in(first + 2).dtype : scales.dtype;
  }

  QuantizedMatrix matrix(int64_t index) const {
    QuantizedMatrix w = matrix_;
    const int64_t first = index * w.rows * w.groups();
    w.codes = words_.as<uint8_t>() + index * w.rows * w.row_bytes();
    w.scales = scales_.as<char>() + first * size_of(w.scale_dtype);
    w.biases = biases_ ? biases_->as<char>() + first * size_of(w.bias_dtype) : nullptr;
    return w;
  }

  /// All matrices as one.
  QuantizedMatrix rows(int64_t count) const {
    QuantizedMatrix w = matrix(0);
    w.rows = count;
    return w;
  }

 private:
  RowMajor words_;
  RowMajor scales_;
  std::optional<RowMajor> biases_;
  QuantizedMatrix matrix_{};
};

void run_dequantize(const Launch& launch) {
  const auto& attrs = launch.attrs<DequantizeAttrs>();
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  const Weights weights(launch, 0, {attrs.group_size, attrs.bits, attrs.mode});
  const float factor = attrs.mode == QuantizationMode::affine ? 1 : GlobalFactors(launch, 2).decode;
  const int64_t cols = out.shape.back();
  const QuantizedMatrix w = weights.rows(out.size / cols);
  parallel_for(w.rows, std::max<int64_t>(1, task_elements / cols), [&](int64_t begin, int64_t end) {
    RowReader reader(w);
    for (int64_t i = begin; i < end; ++i) {
      quantized_kernels::dequantize(w.format, reader.row(i, factor), cols, out.dtype,
                                    out.data + i * cols * size_of(out.dtype));
    }
  });
}

Quantization quantization_of(const QuantizedProductAttrs& attrs) {
  return {attrs.group_size, attrs.bits, attrs.mode};
}

void widen(Dtype dtype, const char* in, int64_t count, float* out) {
  quantized_kernels::widen(Scale::floating, dtype, in, count, out);
}

void narrow(Dtype dtype, const float* in, int64_t count, char* out) {
  if (is_half(dtype)) return gemm_kernel::narrow(dtype, in, count, out);
  std::memcpy(out, in, static_cast<size_t>(count) * sizeof(float));
}

size_t float_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

void run_quantized_matmul(const Launch& launch) {
  const auto& attrs = launch.attrs<QuantizedProductAttrs>();
  const Output& x = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  const RowMajor in(x);
  const Weights weights(launch, 1, quantization_of(attrs));
  const QuantizedMatrix w = weights.matrix(0);
  const int64_t n = out.shape[1];
  if (x.dtype == Dtype::float32) {
    return multiply_quantized(w, attrs.transposed, in.as<float>(), x.shape[0],
                              reinterpret_cast<float*>(out.data), n);
  }
  Scratch memory(float_bytes(x.size + out.size));
  float* values = memory.as<float>();
  widen(x.dtype, in.as<char>(), x.size, values);
  multiply_quantized(w, attrs.transposed, values, x.shape[0], values + x.size, n);
  narrow(out.dtype, values + x.size, out.size, out.data);
}

void run_gather_qmm(const Launch& launch) {
  const auto& attrs = launch.attrs<QuantizedProductAttrs>();
  const Output& x = launch.in(0);
  const size_t indices = launch.inputs.size() - 2;
  Output& out = launch.out();
  allocate(out);
  const GatherGroups groups("gather_qmm", launch.in(indices), x.shape[0], launch.in(indices + 1),
                            launch.in(1).shape[0]);
  if (out.size == 0) return;
  const RowMajor in(x);
  const Weights weights(launch, 1, quantization_of(attrs));
  const int64_t m = x.shape[1];
  const int64_t k = x.shape[2];
  const int64_t n = out.shape[2];
  const int item = size_of(x.dtype);
  // A group that is worth a task may still split inside.
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 18) / std::max<int64_t>(1, n * k));
  parallel_for(groups.count(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::span<const int64_t> group = groups.group(i);
      const int64_t rows = static_cast<int64_t>(group.size()) * m;
      Scratch memory(float_bytes(rows * (k + n)));
      float* values = memory.as<float>();
      float* sums = values + rows * k;
      for (size_t j = 0; j < group.size(); ++j) {
        widen(x.dtype, in.as<char>() + groups.lhs[group[j]] * m * k * item, m * k,
              values + static_cast<int64_t>(j) * m * k);
      }
      multiply_quantized(weights.matrix(groups.rhs[group[0]]), attrs.transposed, values, rows, sums,
                         n);
      for (size_t j = 0; j < group.size(); ++j) {
        narrow(out.dtype, sums + static_cast<int64_t>(j) * m * n, m * n,
               out.data + group[j] * m * n * item);
      }
    }
  });
}

void run_to_fp8(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  const RowMajor in(launch.in(0));
  const Dtype dtype = launch.in(0).dtype;
  parallel_for(out.size, task_elements, [&](int64_t begin, int64_t end) {
    quantized_kernels::to_fp8(dtype, in.as<char>() + begin * size_of(dtype), end - begin,
                              reinterpret_cast<uint8_t*>(out.data) + begin);
  });
}

void run_from_fp8(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  const RowMajor in(launch.in(0));
  parallel_for(out.size, task_elements, [&](int64_t begin, int64_t end) {
    quantized_kernels::from_fp8(out.dtype, in.as<uint8_t>() + begin, end - begin,
                                out.data + begin * size_of(out.dtype));
  });
}

}  // namespace

void add_quantized_kernels() {
  set_cpu_kernel(quantize_op, run_quantize);
  set_cpu_kernel(dequantize_op, run_dequantize);
  set_cpu_kernel(round_to_codes_op, run_round_to_codes);
  set_cpu_kernel(quantized_matmul_op, run_quantized_matmul);
  set_cpu_kernel(gather_qmm_op, run_gather_qmm);
  set_cpu_kernel(to_fp8_op, run_to_fp8);
  set_cpu_kernel(from_fp8_op, run_from_fp8);
}

}  // namespace rill
