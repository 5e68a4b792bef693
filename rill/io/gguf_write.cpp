#include "rill/io/gguf.h"
#include "rill/io/gguf_format.h"
#include "rill/io/npy.h"

namespace rill::io {

namespace {

using namespace gguf;

template <class T>
void put(std::string& text, T number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof(T));
}
void put_string(std::string& text, const std::string& value) {
  put<uint64_t>(text, value.size());
  text += value;
}

uint64_t padding(uint64_t place, uint64_t alignment) {
  return (alignment - place % alignment) % alignment;
}

/// What the metadata say, or the default.
uint64_t alignment_of(const GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata) {
    if (key != alignment_key) continue;
    const auto* array = std::get_if<Array>(&value);
    uint32_t alignment = 0;
    if (array != nullptr && array->ndim() == 0 && array->dtype() == Dtype::uint32) {
      alignment = *packed(*array).data<uint32_t>();
    }
    require(alignment > 0 && alignment % 8 == 0 && alignment <= 1 << 20,
            "[save_gguf] expected {} to be a uint32, a multiple of 8 up to 2^20", alignment_key);
    return alignment;
  }
  return default_alignment;
}

void put_value(std::string& text, const std::string& key, const Array& array) {
  std::optional<uint32_t> type = code_of(value_types, array.dtype());
  require(type.has_value(), "[save_gguf] metadata '{}': dtype {} is not supported", key,
          name_of(array.dtype()));
  require(array.ndim() <= 1,
          "[save_gguf] metadata '{}': expected at most 1 dimension, got shape {}", key,
          array.shape());
  if (array.ndim() == 1) {
    put(text, list_value);
    put(text, *type);
    put<uint64_t>(text, static_cast<uint64_t>(array.size()));
  } else {
    put(text, *type);
  }
  Array rows = packed(array);
  text.append(rows.data<char>(), rows.bytes());
}

void put_value(std::string& text, const std::string&, const std::string& value) {
  put(text, string_value);
  put_string(text, value);
}

void put_value(std::string& text, const std::string&, const std::vector<std::string>& values) {
  put(text, list_value);
  put(text, string_value);
  put<uint64_t>(text, values.size());
  for (const std::string& value : values) put_string(text, value);
}

void put_array(std::string& text, const std::string& name, const Array& array, uint64_t offset) {
  std::optional<uint32_t> type = code_of(array_types, array.dtype());
  require(type.has_value(), "[save_gguf] array '{}': dtype {} is not supported", name,
          name_of(array.dtype()));
  require(array.ndim() <= 8, "[save_gguf] array '{}': expected at most 8 dimensions, got shape {}",
          name, array.shape());
  put_string(text, name);
  put(text, static_cast<uint32_t>(array.ndim()));
  for (int axis = array.ndim() - 1; axis >= 0; --axis) {
    put(text, static_cast<uint64_t>(array.shape(axis)));
  }
  put(text, *type);
  put(text, offset);
}

}  // namespace

void save_gguf(Sink& sink, const NamedArrays& arrays, const GgufMetadata& metadata) {
  std::string header(magic);
  put<uint32_t>(header, 3);
  put<uint64_t>(header, arrays.size());
  put<uint64_t>(header, metadata.size());
  for (const auto& [key, value] : metadata) {
    put_string(header, key);
    std::visit([&, &name = key](const auto& content) { put_value(header, name, content); }, value);
  }
  uint64_t alignment = alignment_of(metadata);
  uint64_t offset = 0;
  for (const auto& [name, array] : arrays) {
    put_array(header, name, array, offset);
    offset += array.bytes() + padding(array.bytes(), alignment);
  }
  header.append(padding(header.size(), alignment), '\0');
  sink.write(header);
  for (const auto& [name, array] : arrays) {
    Array rows = packed(array);
    sink.write(rows.data<char>(), rows.bytes());
    sink.write(std::string(padding(rows.bytes(), alignment), '\0'));
  }
}

}  // namespace rill::io
