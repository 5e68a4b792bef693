#include "rill/io/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rill/io/npy.h"

namespace rill::io {

namespace {

using json = nlohmann::ordered_json;

constexpr uint64_t longest_header = 100'000'000;  // a limit of the format
constexpr const char* metadata_key = "__metadata__";

struct TypeName {
  std::string_view name;
  Dtype dtype;
};
/// The first name of a dtype is the one that is written.
constexpr TypeName type_names[] = {
    {"BOOL", Dtype::bool_},    {"U8", Dtype::uint8},      {"U16", Dtype::uint16},
    {"U32", Dtype::uint32},    {"U64", Dtype::uint64},    {"I8", Dtype::int8},
    {"I16", Dtype::int16},     {"I32", Dtype::int32},     {"I64", Dtype::int64},
    {"F16", Dtype::float16},   {"F32", Dtype::float32},   {"F64", Dtype::float64},
    {"BF16", Dtype::bfloat16}, {"C64", Dtype::complex64}, {"F8_E4M3", Dtype::uint8},
    {"F8_E8M0", Dtype::uint8},
};

std::string_view type_name(Dtype dtype) {
  return std::find_if(std::begin(type_names), std::end(type_names),
                      [&](const TypeName& row) { return row.dtype == dtype; })
      ->name;
}

class Header {
 public:
  Header(const Source& source, json content, int64_t data_begin)
      : source_(source), content_(std::move(content)), data_begin_(data_begin) {
    check(content_.is_object(), "its header is no JSON object");
  }

  StringMetadata metadata() const {
    StringMetadata result;
    auto found = content_.find(metadata_key);
    if (found == content_.end() || found->is_null()) return result;
    check(found->is_object(), "its metadata are no JSON object");
    for (const auto& [key, value] : found->items()) {
      check(value.is_string(), "its metadata are not all strings");
      result.emplace_back(key, value.get<std::string>());
    }
    return result;
  }

  std::vector<std::pair<std::string, StoredArray>> arrays() const {
    std::vector<std::pair<std::string, StoredArray>> result;
    for (const auto& [name, entry] : content_.items()) {
      if (name != metadata_key) result.emplace_back(name, array(name, entry));
    }
    return result;
  }

 private:
  void check(bool good, std::string_view what) const {
    require<file_error>(good, "[load_safetensors] {} is cut or corrupt: {}", source_.name(), what);
  }

  StoredArray array(const std::string& name, const json& entry) const {
    check(entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() &&
              entry.contains("shape") && entry.contains("data_offsets"),
          fmt::format("array '{}' lacks dtype, shape or data_offsets", name));
    StoredArray what{dtype(name, entry["dtype"].get_ref<const std::string&>()), {}};
    if (what.dtype == Dtype::bool_) what.stored = Stored::boolean;
    for (int64_t size : numbers(name, entry["shape"])) what.shape.push_back(size);
    std::vector<int64_t> offsets = numbers(name, entry["data_offsets"]);
    what.bytes = stored_bytes(source_, what.shape, size_of(what.dtype));
    int64_t data_bytes = source_.size() - data_begin_;
    check(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes &&
              offsets[1] - offsets[0] == what.bytes,
          fmt::format("array '{}' of {} bytes lies at {} of {} bytes of data", name, what.bytes,
                      offsets, data_bytes));
    what.offset = data_begin_ + offsets[0];
    return what;
  }

  Dtype dtype(const std::string& name, std::string_view asked) const {
    for (const TypeName& row : type_names) {
      if (row.name == asked) return row.dtype;
    }
    throw file_error(fmt::format("[load_safetensors] {}: array '{}' has the unsupported dtype {}",
                                 source_.name(), name, asked));
  }

  std::vector<int64_t> numbers(const std::string& name, const json& list) const {
    auto is_size = [](const json& n) {
      return n.is_number_unsigned() && n.get<uint64_t>() <= INT64_MAX;
    };
    check(list.is_array() && std::all_of(list.begin(), list.end(), is_size),
          fmt::format("array '{}' has sizes or offsets that are no numbers >= 0", name));
    return list.get<std::vector<int64_t>>();
  }

  const Source& source_;
  json content_;
  int64_t data_begin_;
};

Header read_header(const Source& source) {
  Cursor cursor(source);
  require<file_error>(cursor.left() >= 8, "[load_safetensors] {} is cut: it has {} bytes",
                      source.name(), source.size());
  auto length = cursor.value<uint64_t>();
  require<file_error>(length <= longest_header && length <= static_cast<uint64_t>(cursor.left()),
                      "[load_safetensors] {} is cut or corrupt: a header of {} bytes",
                      source.name(), length);
  std::string text = cursor.text(length);
  auto shallow = [&](int depth, json::parse_event_t, json&) {
    require<file_error>(depth <= 4, "[load_safetensors] {} is corrupt: its header is too deep",
                        source.name());
    return true;
  };
  try {
    return {source, json::parse(text, shallow), cursor.place()};
  } catch (const json::parse_error& error) {
    throw file_error(fmt::format("[load_safetensors] {} is cut or corrupt: no JSON at byte {}",
                                 source.name(), error.byte));
  }
}

}  // namespace

Safetensors load_safetensors(const Ref<Source>& source, StreamOrDevice s) {
  Stream stream = to_stream(s);
  Header header = read_header(*source);
  Safetensors result{{}, header.metadata()};
  for (const auto& [name, what] : header.arrays()) {
    result.arrays.emplace_back(name, load_array(source, what, stream));
  }
  return result;
}

void save_safetensors(Sink& sink, const NamedArrays& arrays, const StringMetadata& metadata) {
  std::vector<const std::pair<std::string, Array>*> order;
  for (const auto& item : arrays) {
    require(item.first != metadata_key, "[save_safetensors] an array cannot be called {}",
            metadata_key);
    order.push_back(&item);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  json header = json::object();
  for (const auto& [key, value] : metadata) header[metadata_key][key] = value;
  size_t offset = 0;
  for (const auto* item : order) {
    const auto& [name, array] = *item;
    std::vector<int64_t> shape(array.shape().begin(), array.shape().end());
    header[name] = {{"dtype", type_name(array.dtype())},
                    {"shape", shape},
                    {"data_offsets", {offset, offset + array.bytes()}}};
    offset += array.bytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();
  sink.write(&length, sizeof length);
  sink.write(text);
  for (const auto* item : order) {
    Array rows = packed(item->second);
    sink.write(rows.data<char>(), rows.bytes());
  }
}

}  // namespace rill::io
