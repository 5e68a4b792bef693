// Kernels that create arrays or move elements as they are.
#include <algorithm>

#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/ops/creation.h"
#include "rill/ops/creation_ops.h"
#include "rill/ops/shape_attrs.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t grain = 32768;

/// first, first + step, ...: in runs of a fixed length, which become vectors.
template <class T>
void write_steps(T* data, int64_t n, uint64_t first, uint64_t step) {
  using Word = std::make_unsigned_t<T>;
  constexpr int64_t run = 32;
  Word offsets[run];
  for (int64_t k = 0; k < run; ++k) offsets[k] = static_cast<Word>(step * k);
  int64_t i = 0;
  for (; i + run <= n; i += run, first += run * step) {
    const Word base = static_cast<Word>(first);
    for (int64_t k = 0; k < run; ++k)
      data[i + k] = static_cast<T>(static_cast<Word>(base + offsets[k]));
  }
  for (int64_t k = 0; i + k < n; ++k)
    data[i + k] = static_cast<T>(static_cast<Word>(first + offsets[k]));
}

void run_arange(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  const auto& attrs = launch.attrs<ArangeAttrs>();
  visit_type(out.dtype, [&]<class T>(type_tag<T>) {
    auto* data = reinterpret_cast<T*>(out.data);
    parallel_for(out.size, long_grain(out.size, grain), [&](int64_t begin, int64_t end) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        const auto step = static_cast<uint64_t>(attrs.integer_step);
        return write_steps(
            data + begin, end - begin,
            static_cast<uint64_t>(attrs.integer_start) + static_cast<uint64_t>(begin) * step, step);
      }
      for (int64_t i = begin; i < end; ++i) {
        if constexpr (std::is_integral_v<T>) {
          data[i] = static_cast<T>(attrs.integer_start + i * attrs.integer_step);
        } else {
          double value = attrs.start + static_cast<double>(i) * attrs.step;
          if constexpr (std::is_same_v<T, double>) data[i] = value;
          else if constexpr (std::is_same_v<T, complex64>) data[i] = {static_cast<float>(value), 0};
          else data[i] = T(static_cast<float>(value));
        }
      }
    });
  });
}

void run_reshape(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  if (auto strides = reshaped_strides(in, out.shape)) {
    out.place_view(in, std::move(*strides), 0);
    return;
  }
  allocate(out);
  copy_row_major(in, out.data);
}

bool is_column_major(const Output& in) {
  Shape shape(in.shape.size());
  Strides strides(in.shape.size());
  std::reverse_copy(in.shape.begin(), in.shape.end(), shape.begin());
  std::reverse_copy(in.strides.begin(), in.strides.end(), strides.begin());
  return is_row_major(shape, strides);
}

void run_contiguous(const Launch& launch) {
  const Output& in = launch.in(0);
  bool column_major = launch.attrs<ContiguousAttrs>().allow_column_major && is_column_major(in);
  if (in.row_major || column_major) {
    launch.out().place_view(in, in.strides, 0);
    return;
  }
  allocate(launch.out());
  copy_row_major(in, launch.out().data);
}

void run_concatenate(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  int axis = launch.attrs<AxisAttrs>().axis;
  int item = size_of(out.dtype);
  char* to = out.data;
  for (const Array& input : launch.inputs) {
    const Output& in = input.output();
    copy_strided(item, in.data, in.shape, in.strides, to, &out.strides);
    to += in.shape[axis] * out.strides[axis] * item;
  }
}

/// Fills what lies outside of [low, low + inner) of `out`: along each axis what lies before and
/// behind, of the other axes those after it whole, those before it without their own borders.
void fill_borders(const Output& out, const Shape& low, const Shape& inner, const void* value) {
  const Strides none(out.shape.size(), 0);
  int item = size_of(out.dtype);
  Shape size = out.shape;
  int64_t corner = 0;
  for (int i = 0; i < out.shape.ssize(); ++i) {
    int64_t behind = low[i] + inner[i];
    auto fill_piece = [&](int64_t begin, int64_t end) {
      size[i] = end - begin;
      char* to = out.data + (corner + begin * out.strides[i]) * item;
      copy_strided(item, value, size, none, to, &out.strides);
    };
    fill_piece(0, low[i]);
    fill_piece(behind, out.shape[i]);
    size[i] = inner[i];
    corner += low[i] * out.strides[i];
  }
}

void run_pad(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  const Output& in = launch.in(0);
  const auto& attrs = launch.attrs<PadAttrs>();
  int item = size_of(out.dtype);
  constexpr int64_t long_row = 1024;  // bytes; among shorter ones a border costs more than a pass
  bool borders = in.size > 0 && in.shape.ssize() > 0 && in.shape.back() * item >= long_row;
  if (borders) fill_borders(out, attrs.low, in.shape, launch.in(1).data);
  else fill(item, out.data, out.size, launch.in(1).data);
  int64_t offset = 0;
  for (int i = 0; i < in.shape.ssize(); ++i) offset += attrs.low[i] * out.strides[i];
  copy_strided(item, in.data, in.shape, in.strides, out.data + offset * item, &out.strides);
}

/// Copies `in` to `out`, whose elements go round by `shifts` along the axes from `axis` on; of
/// those before it a block is left, of the shape `block`, at these elements.
void roll_block(const Output& in, const Output& out, const Shape& shifts, int axis, Shape& block,
                int64_t from, int64_t to) {
  while (axis < block.ssize() && shifts[axis] == 0) ++axis;
  if (axis == block.ssize()) {
    const int item = size_of(out.dtype);
    copy_strided(item, in.data + from * item, block, in.strides, out.data + to * item,
                 &out.strides);
    return;
  }
  const int64_t shift = shifts[axis];
  const int64_t extent = out.shape[axis];
  block[axis] = extent - shift;
  roll_block(in, out, shifts, axis + 1, block, from, to + shift * out.strides[axis]);
  block[axis] = shift;
  roll_block(in, out, shifts, axis + 1, block, from + (extent - shift) * in.strides[axis], to);
  block[axis] = extent;
}

void run_roll(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  Shape block = out.shape;
  roll_block(launch.in(0), out, launch.attrs<RollAttrs>().shifts, 0, block, 0, 0);
}

void run_slice_update(const Launch& launch) {
  Output& out = launch.out();
  const Output& in = launch.in(0);
  if (is_last_use(launch, 0) && in.row_major) {
    out.place_view(in, in.strides, 0);
  } else {
    allocate(out);
    copy_row_major(in, out.data);
  }
  const Output& update = launch.in(1);
  if (update.size == 0) return;
  Layout layout = sliced_layout(out, launch.attrs<SliceAttrs>());
  int item = size_of(out.dtype);
  copy_strided(item, update.data, update.shape, update.strides, out.data + layout.offset * item,
               &layout.strides);
}

}  // namespace

void add_creation_kernels() { set_cpu_kernel(arange_op, run_arange); }

void add_shape_kernels() {
  set_cpu_kernel(reshape_op, run_reshape);
  set_cpu_kernel(contiguous_op, run_contiguous);
  set_cpu_kernel(concatenate_op, run_concatenate);
  set_cpu_kernel(pad_op, run_pad);
  set_cpu_kernel(roll_op, run_roll);
  set_cpu_kernel(slice_update_op, run_slice_update);
}

}  // namespace rill
