#include "rill/cpu/conv_onednn.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/onednn.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

constexpr int most_axes = 3;

void check(dnnl_status_t status) { check_dnnl("conv", status); }

/// A convolution of one image, or of some of its rows. Unused axes stay 0.
struct Key {
  bool bfloat16;
  int axes;
  int64_t groups, in, out;  // channels of all groups
  std::array<int64_t, most_axes> input, kernel, output, stride, dilation, low, high;
  auto operator<=>(const Key&) const = default;
};

dnnl_memory_desc_t describe(const Key& key, const dnnl_dims_t sizes, const dnnl_dims_t strides,
                            int count) {
  dnnl_memory_desc_t description;
  dnnl_data_type_t type = key.bfloat16 ? dnnl_bf16 : dnnl_f32;
  check(dnnl().memory_desc_init_by_strides(&description, count, sizes, type, strides));
  return description;
}

/// (1, ..., channels) in memory, (1, channels, ...) as oneDNN names the axes.
dnnl_memory_desc_t describe_image(const Key& key, const std::array<int64_t, most_axes>& spatial,
                                  int64_t channels) {
  dnnl_dims_t sizes = {1, channels};
  dnnl_dims_t strides = {0, 1};
  int64_t step = channels;
  for (int i = key.axes - 1; i >= 0; --i) {
    sizes[2 + i] = spatial[i];
    strides[2 + i] = step;
    step *= spatial[i];
  }
  strides[0] = step;
  return describe(key, sizes, strides, key.axes + 2);
}

/// The sizes of the weight, (groups,) out, in, ..., and its strides as (out, ..., in) in memory.
int weight_sizes(const Key& key, dnnl_dims_t sizes, dnnl_dims_t strides) {
  int first = key.groups > 1 ? 1 : 0;
  int64_t out = key.out / key.groups;
  int64_t in = key.in / key.groups;
  sizes[first] = out;
  sizes[first + 1] = in;
  strides[first + 1] = 1;
  int64_t step = in;
  for (int i = key.axes - 1; i >= 0; --i) {
    sizes[first + 2 + i] = key.kernel[i];
    strides[first + 2 + i] = step;
    step *= key.kernel[i];
  }
  strides[first] = step;
  if (first == 1) {
    sizes[0] = key.groups;
    strides[0] = step * out;
  }
  return first + 2 + key.axes;
}

/// A compiled primitive and the memory objects of one thread.
class Compiled {
 public:
  Compiled() = default;
  ~Compiled() {
    for (dnnl_memory_t memory : memory_) {
      if (memory != nullptr) dnnl().memory_destroy(memory);
    }
    if (primitive_ != nullptr) dnnl().primitive_destroy(primitive_);
  }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;

  /// Takes over the description of a primitive and those of its operands, destination last.
  void make(dnnl_primitive_desc_t description,
            std::initializer_list<std::pair<int, const dnnl_memory_desc_t*>> operands) {
    dnnl_memory_desc_t scratch =
        *dnnl().primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    scratch_bytes_ = dnnl().memory_desc_get_size(&scratch);
    dnnl_status_t status = dnnl().primitive_create(&primitive_, description);
    dnnl().primitive_desc_destroy(description);
    check(status);
    for (auto [argument, operand] : operands) add(argument, operand);
    add(DNNL_ARG_SCRATCHPAD, &scratch);
  }

  void run(std::initializer_list<const void*> operands) {
    Scratch scratch(std::max<size_t>(scratch_bytes_, 1));
    size_t i = 0;
    for (const void* data : operands) set(i++, data);
    set(i, scratch.as<void>());
    check(dnnl().primitive_execute(primitive_, dnnl_stream_of_thread(), count_, arguments_.data()));
  }

 private:
  void add(int argument, const dnnl_memory_desc_t* description) {
    check(dnnl().memory_create(&memory_[count_], description, dnnl().engine, nullptr));
    arguments_[count_] = {argument, memory_[count_]};
    ++count_;
  }
  void set(size_t i, const void* data) {
    check(dnnl().memory_set_data_handle(memory_[i], const_cast<void*>(data)));
  }

  dnnl_primitive_t primitive_ = nullptr;
  std::array<dnnl_memory_t, 4> memory_ = {};
  std::array<dnnl_exec_arg_t, 4> arguments_ = {};
  int count_ = 0;
  size_t scratch_bytes_ = 0;
};

class Convolution {
 public:
  /// With `weight`, in that layout; else the library chooses one. Not usable if it cannot.
  Convolution(const Key& key, const dnnl_memory_desc_t* weight) {
    dnnl_memory_desc_t x = describe_image(key, key.input, key.in);
    dnnl_memory_desc_t y = describe_image(key, key.output, key.out);
    dnnl_dims_t sizes;
    dnnl_dims_t strides;
    int count = weight_sizes(key, sizes, strides);
    plain_ = describe(key, sizes, strides, count);
    asked_ = weight != nullptr ? *weight : plain_;
    dnnl_memory_desc_t any = plain_;
    check(dnnl().memory_desc_init_by_tag(&any, count, sizes, key.bfloat16 ? dnnl_bf16 : dnnl_f32,
                                         dnnl_format_tag_any));
    dnnl_dims_t gaps = {};
    for (int i = 0; i < key.axes; ++i) gaps[i] = key.dilation[i] - 1;
    dnnl_convolution_desc_t convolution;
    if (dnnl().dilated_convolution_forward_desc_init(
            &convolution, dnnl_forward_inference, dnnl_convolution_direct, &x,
            weight != nullptr ? weight : &any, nullptr, &y, key.stride.data(), gaps, key.low.data(),
            key.high.data()) != dnnl_success) {
      return;
    }
    dnnl_primitive_attr_t attributes;
    check(dnnl().primitive_attr_create(&attributes));
    // The default scratch memory would be shared between threads.
    dnnl().primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    dnnl_primitive_desc_t description = nullptr;
    dnnl_status_t status = dnnl().primitive_desc_create(&description, &convolution, attributes,
                                                        dnnl().engine, nullptr);
    if (status == dnnl_success) {
      weight_ = *dnnl().primitive_desc_query_md(description, dnnl_query_weights_md, 0);
      convolution_.make(description,
                        {{DNNL_ARG_SRC, &x}, {DNNL_ARG_WEIGHTS, &weight_}, {DNNL_ARG_DST, &y}});
      if (weight == nullptr && !dnnl().memory_desc_equal(&weight_, &plain_)) {
        dnnl_primitive_desc_t reorder = nullptr;
        status = dnnl().reorder_primitive_desc_create(&reorder, &plain_, dnnl().engine, &weight_,
                                                      dnnl().engine, attributes);
        if (status == dnnl_success) {
          reorder_.emplace();
          reorder_->make(reorder, {{DNNL_ARG_FROM, &plain_}, {DNNL_ARG_TO, &weight_}});
        }
      }
    }
    dnnl().primitive_attr_destroy(attributes);
    usable_ = status == dnnl_success;
  }

  bool usable() const { return usable_; }
  /// Was it made for a weight in this layout?
  bool takes(const dnnl_memory_desc_t& weight) const {
    return dnnl().memory_desc_equal(&asked_, &weight) != 0;
  }
  const dnnl_memory_desc_t& weight() const { return weight_; }
  size_t weight_bytes() const { return dnnl().memory_desc_get_size(&weight_); }
  bool reorders() const { return reorder_.has_value(); }
  void reorder(const void* from, void* to) { reorder_->run({from, to}); }
  void run(const void* x, const void* w, void* y) { convolution_.run({x, w, y}); }

 private:
  bool usable_ = false;
  dnnl_memory_desc_t plain_;
  dnnl_memory_desc_t asked_;
  dnnl_memory_desc_t weight_;
  Compiled convolution_;
  std::optional<Compiled> reorder_;
};

/// The convolutions that this thread has used; the library itself keeps the code of the last
/// thousand.
Convolution& find(const Key& key, const dnnl_memory_desc_t* weight) {
  static constexpr size_t most_kept = 256;
  static thread_local std::map<std::pair<Key, bool>, std::unique_ptr<Convolution>> kept;
  std::pair<Key, bool> place(key, weight != nullptr);
  auto found = kept.find(place);
  // Parts of one size come from convolutions that lay the weight out in different ways.
  if (found != kept.end() && (weight == nullptr || found->second->takes(*weight))) {
    return *found->second;
  }
  if (kept.size() >= most_kept) kept.clear();
  std::unique_ptr<Convolution>& made = kept[place];
  made = std::make_unique<Convolution>(key, weight);
  return *made;
}

/// Rows [begin, end) of the result, as a convolution of the rows of the input that they see.
struct Part {
  Key key;
  int64_t first_row;  // of the input
};

Part part_of(const Key& whole, int64_t begin, int64_t end) {
  Part part{whole, 0};
  int64_t from = begin * whole.stride[0] - whole.low[0];
  int64_t to =
      (end - 1) * whole.stride[0] - whole.low[0] + (whole.kernel[0] - 1) * whole.dilation[0] + 1;
  // A part needs a row to look at, even if all that it sees is padding.
  int64_t first = std::clamp<int64_t>(from, 0, whole.input[0] - 1);
  int64_t last = std::clamp<int64_t>(to, first + 1, whole.input[0]);
  part.first_row = first;
  part.key.input[0] = last - first;
  part.key.output[0] = end - begin;
  part.key.low[0] = first - from;
  part.key.high[0] = to - last;
  return part;
}

Key key_of(const ConvAttrs& attrs, const Output& x, const Output& w, const Output& y) {
  Key key{};
  key.bfloat16 = x.dtype == Dtype::bfloat16;
  key.axes = x.shape.ssize() - 2;
  key.groups = attrs.groups;
  key.in = x.shape.back();
  key.out = y.shape.back();
  for (int i = 0; i < key.axes; ++i) {
    key.input[i] = x.shape[i + 1];
    key.kernel[i] = w.shape[i + 1];
    key.output[i] = y.shape[i + 1];
    key.stride[i] = attrs.stride[i];
    key.dilation[i] = attrs.dilation[i];
    key.low[i] = attrs.low[i];
    key.high[i] = (key.output[i] - 1) * key.stride[i] + (key.kernel[i] - 1) * key.dilation[i] + 1 -
                  key.input[i] - key.low[i];
  }
  return key;
}

/// Rows of the result that one call computes: all of an image, unless there are few images and
/// each is much work. Depends on the shape only, and so do the bits.
int64_t rows_at_once(const Key& key, int64_t images) {
  constexpr double worth_a_part = 2e6;  // multiplications
  int64_t inputs = key.in / key.groups;
  double work = static_cast<double>(key.out) * static_cast<double>(inputs);
  for (int i = 0; i < key.axes; ++i) work *= static_cast<double>(key.output[i] * key.kernel[i]);
  int64_t wanted = std::max<int64_t>(1, 8 / images);
  int64_t parts = std::clamp<int64_t>(static_cast<int64_t>(work / worth_a_part), 1, wanted);
  return (key.output[0] + parts - 1) / parts;
}

}  // namespace

bool conv_onednn(const ConvAttrs& attrs, const Output& x, const Output& w, const void* x_data,
                 const void* w_data, Output& y) {
  if (!dnnl().complete) return false;
  if (x.dtype == Dtype::bfloat16 ? !onednn_has_bfloat16() : x.dtype != Dtype::float32) return false;
  const Key whole = key_of(attrs, x, w, y);
  const int64_t images = x.shape[0];
  const int64_t rows = rows_at_once(whole, images);
  const int64_t parts = (whole.output[0] - 1) / rows + 1;
  const int64_t item = size_of(x.dtype);
  const int64_t x_image = x.size / images * item;
  const int64_t y_image = y.size / images * item;
  const auto part_from = [&](int64_t row) {
    return part_of(whole, row, std::min(whole.output[0], row + rows));
  };
  dnnl_memory_desc_t layout;
  Ref<Buffer> packed;
  {
    OneThread one_thread;
    Convolution& first = find(part_of(whole, 0, rows).key, nullptr);
    if (!first.usable()) return false;
    layout = first.weight();
    if (first.reorders()) {
      packed = Buffer::allocate(first.weight_bytes());
      first.reorder(w_data, packed->data());
    }
    // It may refuse some of them: those that see little but padding.
    for (int64_t row = 0; row < whole.output[0]; row += rows) {
      if (!find(part_from(row).key, &layout).usable()) return false;
    }
  }
  const void* weight = packed ? packed->data() : w_data;
  parallel_for(images * parts, 1, [&](int64_t begin, int64_t end) {
    OneThread one_thread;
    for (int64_t i = begin; i < end; ++i) {
      int64_t row = i % parts * rows;
      Part part = part_from(row);
      Convolution& convolution = find(part.key, &layout);
      RILL_ASSERT(convolution.usable());
      convolution.run(static_cast<const char*>(x_data) + i / parts * x_image +
                          part.first_row * (x_image / whole.input[0]),
                      weight, y.data + i / parts * y_image + row * (y_image / whole.output[0]));
    }
  });
  return true;
}

}  // namespace rill
