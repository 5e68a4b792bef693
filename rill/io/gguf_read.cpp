#include <algorithm>

#include "rill/io/gguf.h"
#include "rill/io/gguf_blocks.h"
#include "rill/io/gguf_format.h"

namespace rill::io {

namespace {

using namespace gguf;

constexpr uint32_t most_dimensions = 8;

class Reader {
 public:
  Reader(const Ref<Source>& source, Stream stream)
      : source_(source), stream_(stream), cursor_(*source) {}

  Gguf read() {
    check(cursor_.left() >= 24 && cursor_.text(magic.size()) == magic, "it has no GGUF header");
    auto version = cursor_.value<uint32_t>();
    require<file_error>(version == 2 || version == 3,
                        "[load_gguf] {} has version {}, expected 2 or 3", source_->name(), version);
    auto array_count = cursor_.value<uint64_t>();
    auto value_count = cursor_.value<uint64_t>();
    Gguf result;
    for (uint64_t i = 0; i < value_count; ++i) {
      std::string key = string();
      uint32_t type = cursor_.value<uint32_t>();
      result.metadata.emplace_back(key, value(key, type));
    }
    std::vector<Tensor> tensors;
    for (uint64_t i = 0; i < array_count; ++i) tensors.push_back(tensor());
    int64_t begin = aligned(cursor_.place());
    for (const Tensor& tensor : tensors) load(tensor, begin, result.arrays);
    return result;
  }

 private:
  struct Tensor {
    std::string name;
    Shape shape;
    uint32_t type;
    uint64_t offset;
  };

  void check(bool good, std::string_view what) const {
    require<file_error>(good, "[load_gguf] {} is cut or corrupt: {}", source_->name(), what);
  }

  std::string string() { return cursor_.text(cursor_.value<uint64_t>()); }

  GgufValue value(const std::string& key, uint32_t type) {
    if (type == string_value) return string();
    if (type == list_value) return list(key);
    Array number = numbers(key, type, {});
    if (key == alignment_key) {
      check(type == 4, "the alignment is no uint32");
      alignment_ = *number.data<uint32_t>();
      check(alignment_ > 0 && alignment_ % 8 == 0, "the alignment is no multiple of 8");
    }
    return number;
  }

  GgufValue list(const std::string& key) {
    uint32_t type = cursor_.value<uint32_t>();
    auto count = cursor_.value<uint64_t>();
    require<file_error>(type != list_value, "[load_gguf] {}: '{}' is a list of lists",
                        source_->name(), printable(key));
    // Each element takes a byte at least.
    check(count <= static_cast<uint64_t>(cursor_.left()), fmt::format("a list of {}", count));
    if (type != string_value) return numbers(key, type, {static_cast<int64_t>(count)});
    std::vector<std::string> strings;
    for (uint64_t i = 0; i < count; ++i) strings.push_back(string());
    return strings;
  }

  Array numbers(const std::string& key, uint32_t type, const Shape& shape) {
    std::optional<Dtype> dtype = dtype_of(value_types, type);
    check(dtype.has_value(), fmt::format("'{}' has the unknown type {}", printable(key), type));
    int64_t bytes = stored_bytes(*source_, shape, size_of(*dtype));
    check(bytes <= cursor_.left(), fmt::format("'{}' has {} bytes", printable(key), bytes));
    Ref<Buffer> block = Buffer::allocate(static_cast<size_t>(bytes));
    cursor_.read(block->data(), bytes);
    if (dtype == Dtype::bool_) {
      auto* flags = static_cast<uint8_t*>(block->data());
      std::transform(flags, flags + bytes, flags, [](uint8_t flag) { return flag != 0; });
    }
    return make_computed(*dtype, shape, std::move(block));
  }

  Tensor tensor() {
    Tensor result;
    result.name = string();
    auto dimensions = cursor_.value<uint32_t>();
    check(dimensions <= most_dimensions,
          fmt::format("array '{}' has {} dimensions", printable(result.name), dimensions));
    for (uint32_t i = 0; i < dimensions; ++i) {
      auto size = cursor_.value<uint64_t>();
      check(size <= INT64_MAX,
            fmt::format("array '{}' has a size of {}", printable(result.name), size));
      result.shape.push_back(static_cast<int64_t>(size));
    }
    std::reverse(result.shape.begin(), result.shape.end());  // the last axis comes first
    result.type = cursor_.value<uint32_t>();
    result.offset = cursor_.value<uint64_t>();
    return result;
  }

  int64_t aligned(int64_t place) const {
    int64_t alignment = alignment_;
    return (place + alignment - 1) / alignment * alignment;
  }

  void load(const Tensor& tensor, int64_t begin, NamedArrays& arrays) const {
    check(tensor.offset <= static_cast<uint64_t>(source_->size()),
          fmt::format("array '{}' lies at {}", printable(tensor.name), tensor.offset));
    StoredArray what{Dtype::float16, tensor.shape, Stored::plain,
                     begin + static_cast<int64_t>(tensor.offset), 0};
    if (std::optional<Dtype> dtype = dtype_of(array_types, tensor.type)) {
      what.dtype = *dtype;
      what.bytes = stored_bytes(*source_, what.shape, size_of(*dtype));
      arrays.emplace_back(tensor.name, load_array(source_, what, stream_));
    } else {
      load_blocks(tensor, std::move(what), arrays);
    }
  }

  void load_blocks(const Tensor& tensor, StoredArray what, NamedArrays& arrays) const {
    const auto* row = std::find_if(std::begin(quantised_types), std::end(quantised_types),
                                   [&](const Quantised& q) { return q.code == tensor.type; });
    require<file_error>(row != std::end(quantised_types),
                        "[load_gguf] {}: array '{}' has the unsupported type {}", source_->name(),
                        printable(tensor.name), tensor.type);
    auto [elements, bytes] = block_size(row->stored);
    what.stored = row->stored;
    check(!what.shape.empty() && what.shape.back() % elements == 0,
          fmt::format("array '{}' has rows that are no multiple of {}", printable(tensor.name),
                      elements));
    stored_bytes(*source_, what.shape, 1);
    Shape blocks = what.shape;
    blocks.back() /= elements;
    what.bytes = stored_bytes(*source_, blocks, bytes);
    if (elements == 256) {
      arrays.emplace_back(tensor.name, load_array(source_, what, stream_));
      return;
    }
    Arrays parts = load_quantized(source_, what, stream_);
    std::string stem = tensor.name.ends_with("weight")
                           ? tensor.name.substr(0, tensor.name.size() - 6)
                           : tensor.name + ".";
    arrays.emplace_back(tensor.name, parts[0]);
    arrays.emplace_back(stem + "scales", parts[1]);
    arrays.emplace_back(stem + "biases", parts[2]);
  }

  Ref<Source> source_;
  Stream stream_;
  Cursor cursor_;
  uint32_t alignment_ = default_alignment;
};

}  // namespace

Gguf load_gguf(const Ref<Source>& source, StreamOrDevice s) {
  return Reader(source, to_stream(s)).read();
}

}  // namespace rill::io
