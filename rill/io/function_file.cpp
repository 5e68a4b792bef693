#include "rill/io/function_file.h"

#include <cstring>

#include "rill/io/function_trace.h"

namespace rill::exported {

namespace {

constexpr std::string_view magic = "RILLFUNC";
constexpr uint32_t most_dimensions = 64;
constexpr int64_t most_elements = int64_t{1} << 56;
constexpr int deepest = 16;  // graphs within graphs

/// FNV-1a: finds damage, not malice.
uint64_t checksum(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

template <class... Args>
void expect(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (condition) [[likely]]
    return;
  throw std::runtime_error("[import_function] the file is damaged: " +
                           fmt::format(format, std::forward<Args>(args)...));
}

/// Whether the bytes are text in UTF-8, without overlong forms and surrogates.
bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto lead = static_cast<unsigned char>(text[i]);
    size_t more = lead < 0x80 ? 0 : lead < 0xc2 ? 4 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (more == 4 || lead > 0xf4 || i + more >= text.size()) return false;
    uint32_t code = more == 0 ? lead : lead & (0x3f >> more);
    for (size_t k = 1; k <= more; ++k) {
      auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    constexpr uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

class Writer {
 public:
  std::string bytes;

  template <class T>
    requires std::is_arithmetic_v<T>
  void number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void count(size_t n) { number(static_cast<uint32_t>(n)); }
  void text(std::string_view value) {
    require(is_utf8(value), "[export_function] expected text in UTF-8");
    count(value.size());
    bytes.append(value);
  }
  void shape(const Shape& shape) {
    count(shape.size());
    for (int64_t size : shape) number(size);
  }
  void value(const Value& value) {
    number(static_cast<uint8_t>(value.dtype));
    shape(value.shape);
  }
  void attr(const AttrValue& value) {
    number(static_cast<uint8_t>(value.index()));
    if (const auto* flag = std::get_if<bool>(&value)) number(static_cast<uint8_t>(*flag));
    else if (const auto* integer = std::get_if<int64_t>(&value)) number(*integer);
    else if (const auto* real = std::get_if<double>(&value)) number(*real);
    else if (const auto* string = std::get_if<std::string>(&value)) text(*string);
    else if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) {
      count(list->size());
      for (int64_t item : *list) number(item);
    } else {
      // All nodes of a body run on the stream of the node that holds it.
      trace(record(std::get<control::BodyRef>(value).graph(), [](Stream) { return 0; }));
    }
  }
  void trace(const Trace& trace);
  void constant(const Array& constant);
};

/// Reads what Writer wrote. Never past the end; never reserves more than the bytes can hold.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <class T>
    requires std::is_arithmetic_v<T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  bool flag() {
    auto value = number<uint8_t>();
    expect(value <= 1, "a flag of {}", value);
    return value == 1;
  }
  /// A count of things of which each takes `least` bytes.
  size_t count(size_t least) {
    auto n = number<uint32_t>();
    expect(n <= rest_.size() / least, "{} items in {} bytes", n, rest_.size());
    return n;
  }
  std::string_view take(size_t n) {
    expect(n <= rest_.size(), "it ends too early");
    std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  std::string text() {
    std::string_view bytes = take(count(1));
    expect(is_utf8(bytes), "a text that is not UTF-8");
    return std::string(bytes);
  }

  Shape shape() {
    size_t n = count(sizeof(int64_t));
    expect(n <= most_dimensions, "{} dimensions", n);
    Shape shape;
    int64_t total = 1;
    for (size_t i = 0; i < n; ++i) {
      auto size = number<int64_t>();
      expect(size >= 0 && (size == 0 || total <= most_elements / size), "a size of {}", size);
      total *= std::max<int64_t>(size, 1);
      shape.push_back(size);
    }
    return shape;
  }
  Value value() {
    auto dtype = number<uint8_t>();
    expect(dtype < dtype_count, "dtype {}", dtype);
    return {static_cast<Dtype>(dtype), shape()};
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

/// Whether all elements are the same one: stored once.
bool is_splat(const Output& values) {
  for (int i = 0; i < values.shape.ssize(); ++i) {
    if (values.shape[i] > 1 && values.strides[i] != 0) return false;
  }
  return values.size > 0;
}

void Writer::constant(const Array& constant) {
  const Output& values = constant.output();
  value({values.dtype, values.shape});
  bool splat = is_splat(values);
  number(static_cast<uint8_t>(splat));
  RILL_ASSERT(splat || values.row_major);
  bytes.append(values.data, splat ? size_of(values.dtype) : values.bytes());
}

Array read_constant(Reader& in) {
  Value value = in.value();
  bool splat = in.flag();
  Output like(value.dtype, value.shape);
  expect(!splat || like.size > 0, "a constant without elements");
  std::string_view bytes = in.take(splat ? size_of(value.dtype) : like.bytes());
  if (value.dtype == Dtype::bool_) {
    for (char byte : bytes) expect(byte == 0 || byte == 1, "a bool of {}", int{byte});
  }
  Ref<Buffer> block = Buffer::allocate(bytes.size());
  std::memcpy(block->data(), bytes.data(), bytes.size());
  if (!splat) return make_computed(value.dtype, value.shape, std::move(block));
  Array one = make_computed(value.dtype, Shape{}, std::move(block));
  Array all = make_computed(value.dtype, value.shape, one.output().buffer);
  all.node().output(0).place_view(one.output(), Strides(value.shape.size(), 0), 0);
  return all;
}

void Writer::trace(const Trace& trace) {
  count(trace.inputs.size());
  for (const Input& input : trace.inputs) {
    text(input.name);
    value(input.like);
    for (bool free : input.free) number(static_cast<uint8_t>(free));
  }
  count(trace.constants.size());
  for (const Array& constant : trace.constants) this->constant(constant);
  count(trace.nodes.size());
  for (const NodeRecord& node : trace.nodes) {
    text(node.op);
    number(node.stream);
    count(node.inputs.size());
    for (uint32_t input : node.inputs) number(input);
    count(node.attrs.size());
    for (const AttrValue& value : node.attrs) attr(value);
    count(node.outputs.size());
    for (const Value& output : node.outputs) value(output);
  }
  count(trace.outputs.size());
  for (uint32_t output : trace.outputs) number(output);
}

std::vector<uint32_t> read_references(Reader& in, uint64_t known) {
  std::vector<uint32_t> numbers(in.count(sizeof(uint32_t)));
  for (uint32_t& number : numbers) {
    number = in.number<uint32_t>();
    expect(number < known, "value {} of {}", number, known);
  }
  return numbers;
}

/// What the parts of a file refer to, and how deep graphs lie in graphs.
struct Place {
  size_t streams;
  int depth = 0;
};

Trace read_trace(Reader& in, Place place);

AttrValue read_attr(Reader& in, Place place) {
  auto kind = in.number<uint8_t>();
  switch (kind) {
    case 0: return in.flag();
    case 1: return in.number<int64_t>();
    case 2: return in.number<double>();
    case 3: return in.text();
    case 4: {
      std::vector<int64_t> list(in.count(sizeof(int64_t)));
      for (int64_t& item : list) item = in.number<int64_t>();
      return list;
    }
    case 5: {
      expect(place.depth < deepest, "graphs within graphs");
      return body_of(read_trace(in, {place.streams, place.depth + 1}));
    }
    default: expect(false, "a parameter of kind {}", kind); return {};
  }
}

NodeRecord read_node(Reader& in, Place place, uint64_t known) {
  NodeRecord node;
  node.op = in.text();
  node.stream = in.number<uint32_t>();
  expect(node.stream < place.streams, "stream {} of {}", node.stream, place.streams);
  node.inputs = read_references(in, known);
  size_t attrs = in.count(2);
  for (size_t i = 0; i < attrs; ++i) node.attrs.push_back(read_attr(in, place));
  node.outputs.resize(in.count(5));
  for (Value& value : node.outputs) value = in.value();
  expect(!node.outputs.empty(), "an operation without outputs");
  return node;
}

Trace read_trace(Reader& in, Place place) {
  Trace trace;
  trace.inputs.resize(in.count(9));
  for (Input& input : trace.inputs) {
    input.name = in.text();
    input.like = in.value();
    for (size_t i = 0; i < input.like.shape.size(); ++i) input.free.push_back(in.flag());
  }
  size_t constants = in.count(6);
  for (size_t i = 0; i < constants; ++i) trace.constants.push_back(read_constant(in));
  uint64_t known = trace.inputs.size() + constants;
  size_t nodes = in.count(20);
  for (size_t i = 0; i < nodes; ++i) {
    trace.nodes.push_back(read_node(in, place, known));
    known += trace.nodes.back().outputs.size();
  }
  trace.outputs = read_references(in, known);
  return trace;
}

}  // namespace

std::string to_bytes(const File& file) {
  Writer body;
  body.text(file.metadata);
  body.count(file.streams.size());
  for (const StreamName& stream : file.streams) {
    body.number(static_cast<uint8_t>(stream.device));
    body.number(stream.device_index);
    body.number(static_cast<uint8_t>(stream.is_default));
  }
  body.count(file.traces.size());
  for (const Trace& trace : file.traces) body.trace(trace);
  Writer head;
  head.bytes = magic;
  head.number(format_version);
  head.number(static_cast<uint64_t>(body.bytes.size()));
  head.number(checksum(body.bytes));
  return head.bytes + body.bytes;
}

File from_bytes(std::string_view bytes) {
  Reader in(bytes);
  if (!bytes.starts_with(magic)) {
    throw std::runtime_error("[import_function] this is no file of an exported function");
  }
  in.take(magic.size());
  auto version = in.number<uint32_t>();
  require<std::runtime_error>(version == format_version,
                              "[import_function] the file has version {} of the format; this is "
                              "Rill with version {}",
                              version, format_version);
  auto size = in.number<uint64_t>();
  auto sum = in.number<uint64_t>();
  expect(size <= bytes.size(), "it ends too early");
  std::string_view body = in.take(size);
  expect(in.at_end(), "bytes follow its end");
  expect(checksum(body) == sum, "its checksum differs");
  Reader rest(body);
  File file;
  file.metadata = rest.text();
  file.streams.resize(rest.count(6));
  for (StreamName& stream : file.streams) {
    auto device = rest.number<uint8_t>();
    expect(device <= static_cast<uint8_t>(DeviceType::gpu), "a device of type {}", device);
    stream.device = static_cast<DeviceType>(device);
    stream.device_index = rest.number<int32_t>();
    stream.is_default = rest.flag();
  }
  size_t traces = rest.count(16);
  for (size_t i = 0; i < traces; ++i) {
    file.traces.push_back(read_trace(rest, {file.streams.size()}));
  }
  expect(rest.at_end(), "bytes follow its end");
  return file;
}

}  // namespace rill::exported
