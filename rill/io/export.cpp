#include "rill/io/export.h"

#include <fstream>
#include <sstream>
#include <unordered_map>

#include "rill/graph/context.h"
#include "rill/io/function_trace.h"

namespace rill {

using namespace exported;

namespace {

/// Positional arguments, then those by name.
Arrays all_of(const Arrays& args, const NamedArrays& kwargs) {
  Arrays all = args;
  for (const auto& [name, array] : kwargs) all.push_back(array);
  return all;
}

/// `f` over the arguments in one list.
ArrayFunction as_one_list(const NamedFunction& f, size_t positional, const NamedArrays& kwargs) {
  return [&f, positional, &kwargs](const Arrays& inputs) {
    Arrays args(inputs.begin(), inputs.begin() + static_cast<int64_t>(positional));
    NamedArrays named;
    for (const auto& [name, array] : kwargs) named[name] = inputs[positional + named.size()];
    return f(args, named);
  };
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  require<std::runtime_error>(bool(out), "[export_function] cannot write {}", path);
}

}  // namespace

FunctionExporter::FunctionExporter(std::string path, NamedFunction f, bool shapeless,
                                   std::string metadata)
    : path_(std::move(path)),
      f_(std::move(f)),
      shapeless_(shapeless),
      file_(std::make_unique<File>()) {
  file_->metadata = std::move(metadata);
}
FunctionExporter::~FunctionExporter() = default;
FunctionExporter::FunctionExporter(FunctionExporter&&) noexcept = default;

/// The number of a stream in the file; a new one at its first use.
uint32_t FunctionExporter::stream_number(Stream stream) {
  for (size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i] == stream) return static_cast<uint32_t>(i);
  }
  bool is_default = default_stream(stream.device) == stream;
  file_->streams.push_back({stream.device.type, stream.device.index, is_default});
  streams_.push_back(stream);
  return static_cast<uint32_t>(streams_.size() - 1);
}

Trace FunctionExporter::recorded(const Arrays& args, const NamedArrays& kwargs) {
  auto number = [this](Stream stream) { return stream_number(stream); };
  ArrayFunction f = as_one_list(f_, args.size(), kwargs);
  Arrays likes = all_of(args, kwargs);
  Trace trace = record(Captured::of(f, likes), number);
  auto name = kwargs.begin();
  for (size_t i = args.size(); i < likes.size(); ++i) trace.inputs[i].name = (name++)->first;
  if (shapeless_) find_free_sizes(trace, f, likes, number);
  return trace;
}

void FunctionExporter::add(const Arrays& args, const NamedArrays& kwargs) {
  require<std::runtime_error>(!closed_, "[export_function] the file has been written already");
  for (const auto& [name, array] : kwargs) {
    require(!name.empty(), "[export_function] a keyword argument has no name");
  }
  for (const Trace& earlier : file_->traces) {
    require<std::runtime_error>(!matches(earlier, args, kwargs),
                                "[export_function] arguments like these have been exported "
                                "already: {}",
                                signature(earlier));
  }
  Trace trace = recorded(args, kwargs);
  check(trace, streams_);
  file_->traces.push_back(std::move(trace));
}

void FunctionExporter::close() {
  if (closed_) return;
  closed_ = true;
  write_file(path_, to_bytes(*file_));
}

void export_function(const std::string& path, const NamedFunction& f, const Arrays& args,
                     const NamedArrays& kwargs, bool shapeless, const std::string& metadata) {
  FunctionExporter exporter(path, f, shapeless, metadata);
  exporter.add(args, kwargs);
  exporter.close();
}

struct ImportedFunction::State {
  File file;
  std::vector<Stream> streams;  // for those that are not a default stream
};

namespace {

/// The streams of a file, with the caller's defaults.
std::vector<Stream> streams_now(const File& file, const std::vector<Stream>& own) {
  std::vector<Stream> streams = own;
  for (size_t i = 0; i < streams.size(); ++i) {
    const StreamName& name = file.streams[i];
    if (name.is_default) streams[i] = default_stream({name.device, name.device_index});
  }
  return streams;
}

std::vector<Stream> bound_streams(const File& file, const std::vector<Stream>& given) {
  std::vector<Stream> streams;
  size_t next = 0;
  for (const StreamName& name : file.streams) {
    Device device{name.device, name.device_index};
    require_device("import_function", device);
    if (name.is_default) streams.emplace_back();
    else if (next < given.size()) streams.push_back(given[next++]);
    else streams.push_back(new_stream(device));
  }
  require(next == given.size(), "[import_function] {} streams are given for the {} of the function",
          given.size(), next);
  return streams;
}

}  // namespace

Arrays ImportedFunction::operator()(const Arrays& args, const NamedArrays& kwargs) const {
  for (const Trace& trace : state_->file.traces) {
    if (!matches(trace, args, kwargs)) continue;
    return replay(trace, all_of(args, kwargs), streams_now(state_->file, state_->streams));
  }
  std::string called = signature(args, kwargs);
  require(false, "[import_function] no trace fits the arguments. There are:\n{}called with\n{}",
          signatures(), called);
  return {};
}

const std::string& ImportedFunction::metadata() const { return state_->file.metadata; }

std::string ImportedFunction::signatures() const {
  std::string text;
  for (const Trace& trace : state_->file.traces) text += signature(trace);
  return text;
}

ImportedFunction import_bytes(std::string_view bytes, const std::vector<Stream>& streams) {
  auto state = std::make_shared<ImportedFunction::State>();
  state->file = from_bytes(bytes);
  state->streams = bound_streams(state->file, streams);
  for (const Trace& trace : state->file.traces) {
    check(trace, streams_now(state->file, state->streams));
  }
  ImportedFunction result;
  result.state_ = std::move(state);
  return result;
}

ImportedFunction import_function(const std::string& path, const std::vector<Stream>& streams) {
  std::ifstream in(path, std::ios::binary);
  require<std::runtime_error>(bool(in), "[import_function] cannot open {}", path);
  std::ostringstream content;
  content << in.rdbuf();  // nothing from a directory
  require<std::runtime_error>(!in.bad() && !content.fail(), "[import_function] cannot read {}",
                              path);
  std::string bytes = std::move(content).str();
  return import_bytes(bytes, streams);
}

namespace {

/// Names for arrays: those given, else A, B, ... Z, AA, ...
class Names {
 public:
  explicit Names(const NamedArrays& given) : given_(given) {}

  std::string of(const Array& array) {
    for (const auto& [name, named] : given_) {
      if (named.is(array)) return quoted(name);
    }
    auto [place, fresh] = numbers_.emplace(std::pair(&array.node(), array.index()), next_);
    if (fresh) ++next_;
    std::string letters;
    for (uint64_t n = place->second + 1; n > 0; n = (n - 1) / 26) {
      letters.insert(letters.begin(), static_cast<char>('A' + (n - 1) % 26));
    }
    return quoted(letters);
  }

  static std::string quoted(const std::string& name) {
    std::string text = "\"";
    for (char c : name) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    return text + '"';
  }

 private:
  const NamedArrays& given_;
  std::map<std::pair<const Node*, uint32_t>, uint64_t> numbers_;
  uint64_t next_ = 0;
};

/// Pending nodes, producers first.
std::vector<Node*> pending_below(const Arrays& outputs) {
  std::vector<Node*> order;
  std::unordered_map<const Node*, bool> seen;
  std::vector<std::pair<Node*, size_t>> stack;
  auto push = [&](Node& node) {
    if (node.is_pending() && seen.emplace(&node, true).second) stack.emplace_back(&node, 0);
  };
  for (const Array& output : outputs) {
    push(output.node());
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next < node->inputs.size()) {
        push(node->inputs[next++].node());
      } else {
        order.push_back(node);
        stack.pop_back();
      }
    }
  }
  return order;
}

}  // namespace

std::string to_dot(const Arrays& outputs, const NamedArrays& given) {
  Names names(given);
  std::string text = "digraph {\n";
  std::unordered_map<const Node*, bool> sources;
  for (Node* node : pending_below(outputs)) {
    std::string id = fmt::format("{}", fmt::ptr(node));
    std::string body = fmt::format("{{ \"{}\" [label=\"{}\", shape=rectangle]; }}\n", id,
                                   std::string(node->op.name));
    for (const Array& input : node->inputs) {
      if (!input.node().is_pending() && sources.emplace(&input.node(), true).second) {
        text += fmt::format("{{ rank=source; {}; }}\n", names.of(input));
      }
      body += fmt::format("{} -> \"{}\"\n", names.of(input), id);
    }
    for (const Array& output : outputs_of(*node)) {
      bool wanted = std::any_of(outputs.begin(), outputs.end(),
                                [&](const Array& array) { return array.is(output); });
      body += fmt::format("{{ {}{}; }}\n", wanted ? "rank=sink; " : "", names.of(output));
      body += fmt::format("\"{}\" -> {}\n", id, names.of(output));
    }
    text += body;
  }
  return text + "}\n";
}

}  // namespace rill
