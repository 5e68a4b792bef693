#include "rill/io/function_trace.h"

#include <cstring>
#include <map>

#include "rill/ops/shape.h"
#include "rill/runtime/eval.h"
#include "rill/transforms/custom.h"

namespace rill::exported {

namespace {

constexpr int64_t most_elements = int64_t{1} << 56;

/// The array that an identity of the transformations stands for; the array itself otherwise.
Array resolved(Array array) {
  while (true) {
    const Node& node = array.node();
    if (node.inputs.empty()) return array;
    if (is_custom(node)) {
      array = Array(node.inputs[node.inputs.size() - node.output_count() + array.index()]);
    } else if (node.op.name == "tracer" || node.op.name == "depends" || node.op.name == "sized") {
      array = Array(node.inputs[0]);
    } else {
      return array;
    }
  }
}

Value value_of(const Array& array) { return {array.dtype(), array.shape()}; }

class Recorder {
 public:
  Recorder(const Captured& captured, const StreamNumber& number)
      : captured_(captured), stream_number_(number) {}

  Trace run() {
    for (const Array& placeholder : captured_.placeholders()) {
      std::vector<bool> fixed(placeholder.shape().size(), false);
      trace_.inputs.push_back({"", value_of(placeholder), std::move(fixed)});
      add(placeholder);
    }
    std::vector<Node*> nodes = kept_nodes();
    add_constants(nodes);
    for (Node* node : nodes) add_node(*node);
    for (const Array& output : captured_.outputs()) {
      trace_.outputs.push_back(numbers_.at(key(resolved(output))));
    }
    return std::move(trace_);
  }

 private:
  using Key = std::pair<const Node*, uint32_t>;
  static Key key(const Array& array) { return {&array.node(), array.index()}; }
  void add(const Array& array) { numbers_.emplace(key(array), next_++); }

  /// Those on which an output depends once identities are gone.
  std::vector<Node*> kept_nodes() const {
    std::map<const Node*, bool> needed;
    for (const Array& output : captured_.outputs()) needed[&resolved(output).node()] = true;
    std::vector<Node*> kept;
    const std::vector<Node*>& all = captured_.nodes();
    for (size_t i = all.size(); i-- > 0;) {
      if (!needed.contains(all[i])) continue;
      kept.push_back(all[i]);
      for (const Array& input : all[i]->inputs) needed[&resolved(input).node()] = true;
    }
    return {kept.rbegin(), kept.rend()};
  }

  void add_constants(const std::vector<Node*>& nodes) {
    std::map<const Node*, bool> inner;
    for (Node* node : nodes) inner[node] = true;
    Arrays computed;
    auto visit = [&](const Array& array) {
      Array source = resolved(array);
      if (inner.contains(&source.node()) || numbers_.contains(key(source))) return;
      add(source);
      computed.push_back(source);
    };
    for (Node* node : nodes) {
      for (const Array& input : node->inputs) visit(input);
    }
    for (const Array& output : captured_.outputs()) visit(output);
    eval(computed);
    Arrays rows;
    for (const Array& array : computed) {
      const Strides& strides = array.output().strides;
      bool splat = array.size() > 0 &&
                   std::all_of(strides.begin(), strides.end(), [](auto s) { return s == 0; });
      rows.push_back(splat || array.output().row_major ? array : contiguous(array));
    }
    eval(rows);
    trace_.constants = std::move(rows);
  }

  void add_node(Node& node) {
    const ExportRow* row = find_export_row(node.op.name);
    require(row != nullptr, "[export_function] the operation {} cannot be exported", node.op.name);
    NodeRecord record{std::string(node.op.name), stream_number_(node.stream), {}, {}, {}};
    for (const Array& input : node.inputs) {
      record.inputs.push_back(numbers_.at(key(resolved(input))));
    }
    record.attrs = row->describe(node);
    for (const Array& output : outputs_of(node)) {
      record.outputs.push_back(value_of(output));
      add(output);
    }
    trace_.nodes.push_back(std::move(record));
  }

  const Captured& captured_;
  const StreamNumber& stream_number_;
  Trace trace_;
  std::map<Key, uint32_t> numbers_;
  uint32_t next_ = 0;
};

bool same_constant(const Array& a, const Array& b) {
  const Output& x = a.output();
  const Output& y = b.output();
  if (x.dtype != y.dtype || x.shape != y.shape || x.strides != y.strides) return false;
  bool splat = !x.row_major;
  return std::memcmp(x.data, y.data, splat ? size_of(x.dtype) : x.bytes()) == 0;
}

/// The parameters of two reshapes as one, where they differ in at most one axis.
std::optional<AttrValues> merged_reshape(const AttrValues& a, const AttrValues& b) {
  auto shape = std::get<std::vector<int64_t>>(a[0]);
  const auto& other = std::get<std::vector<int64_t>>(b[0]);
  if (shape.size() != other.size()) return std::nullopt;
  int unknown = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != other[i]) shape[i] = -1;
    unknown += shape[i] == -1;
  }
  if (unknown > 1) return std::nullopt;
  return AttrValues{shape};
}

/// `a` as a trace that holds for `b` too; nothing if there is none.
std::optional<Trace> merged(Trace a, const Trace& b) {
  if (a.outputs != b.outputs || a.nodes.size() != b.nodes.size() ||
      a.constants.size() != b.constants.size()) {
    return std::nullopt;
  }
  for (size_t i = 0; i < a.constants.size(); ++i) {
    if (!same_constant(a.constants[i], b.constants[i])) return std::nullopt;
  }
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    NodeRecord& x = a.nodes[i];
    const NodeRecord& y = b.nodes[i];
    if (x.op != y.op || x.stream != y.stream || x.inputs != y.inputs) return std::nullopt;
    if (x.attrs == y.attrs) continue;
    if (x.op != "reshape") return std::nullopt;
    std::optional<AttrValues> both = merged_reshape(x.attrs, y.attrs);
    if (!both) return std::nullopt;
    x.attrs = std::move(*both);
  }
  return a;
}

/// A size of an argument.
struct Place {
  size_t input;
  int axis;
};
using Places = std::vector<Place>;

/// Sets of sizes that may be free together: first those of one value, then each of them.
std::vector<Places> candidates(const Arrays& likes) {
  std::map<int64_t, Places> by_size;
  for (size_t i = 0; i < likes.size(); ++i) {
    for (int axis = 0; axis < likes[i].ndim(); ++axis) {
      int64_t size = likes[i].shape(axis);
      if (size > 0) by_size[size].push_back({i, axis});
    }
  }
  std::vector<Places> sets;
  for (const auto& [size, places] : by_size) {
    sets.push_back(places);
    if (places.size() == 1) continue;
    for (const Place& place : places) sets.push_back({place});
  }
  return sets;
}

class FreeSizes {
 public:
  FreeSizes(const ArrayFunction& f, const Arrays& likes, const StreamNumber& number)
      : f_(f), likes_(likes), number_(number) {}

  void find(Trace& trace) {
    for (const Places& set : candidates(likes_)) {
      if (trace.inputs[set[0].input].free[set[0].axis]) continue;
      Places together = free_;
      together.insert(together.end(), set.begin(), set.end());
      std::optional<Trace> common = trace;
      for (int64_t factor : {1, 2}) {
        if (common) common = with_sizes(*common, together, factor);
      }
      if (!common) continue;
      trace.nodes = std::move(common->nodes);
      free_ = std::move(together);
      for (const Place& place : set) trace.inputs[place.input].free[place.axis] = true;
    }
  }

 private:
  /// What `trace` and one with other sizes in `places` have in common. Equal sizes stay equal.
  std::optional<Trace> with_sizes(const Trace& trace, const Places& places, int64_t factor) const {
    std::vector<Shape> shapes;
    for (const Array& like : likes_) shapes.push_back(like.shape());
    for (const Place& place : places) {
      int64_t& size = shapes[place.input][place.axis];
      size = factor * size + factor;
    }
    Arrays changed;
    for (size_t i = 0; i < likes_.size(); ++i) {
      changed.push_back(make_placeholder(likes_[i].node().stream, likes_[i].dtype(), shapes[i]));
    }
    try {
      return merged(trace, record(Captured::of(f_, changed), number_));
    } catch (const std::exception&) {  // the function refuses: the sizes must be what they are
      return std::nullopt;
    }
  }

  const ArrayFunction& f_;
  const Arrays& likes_;
  const StreamNumber& number_;
  Places free_;
};

/// Applies the nodes of a trace; `seen` is shown the outputs of each.
template <class Seen>
Arrays apply_nodes(const Trace& trace, const Arrays& inputs, const std::vector<Stream>& streams,
                   Seen&& seen) {
  Arrays values = inputs;
  values.insert(values.end(), trace.constants.begin(), trace.constants.end());
  for (const NodeRecord& node : trace.nodes) {
    const ExportRow* row = find_export_row(node.op);
    require(row != nullptr, "[import_function] there is no operation {}", node.op);
    auto count = static_cast<int>(node.inputs.size());
    require(count >= row->least_inputs && (row->most_inputs < 0 || count <= row->most_inputs),
            "[import_function] {} operands for {}", count, node.op);
    Arrays operands;
    for (uint32_t number : node.inputs) operands.push_back(values[number]);
    StreamScope scope(streams[node.stream]);
    Arrays results = row->apply(operands, node.attrs);
    require(results.size() == node.outputs.size(), "[import_function] {} outputs of {}",
            node.outputs.size(), node.op);
    seen(node, results);
    values.insert(values.end(), results.begin(), results.end());
  }
  Arrays outputs;
  for (uint32_t number : trace.outputs) outputs.push_back(values[number]);
  return outputs;
}

void check_outputs(const NodeRecord& node, const Arrays& results) {
  for (size_t i = 0; i < results.size(); ++i) {
    require(value_of(results[i]) == node.outputs[i],
            "[import_function] {} gives {} of shape {}, the file says {} of shape {}", node.op,
            name_of(results[i].dtype()), results[i].shape(), name_of(node.outputs[i].dtype),
            node.outputs[i].shape);
    require(results[i].size() <= most_elements, "[import_function] {} elements from {}",
            results[i].size(), node.op);
  }
}

Arrays placeholders_of(const Trace& trace) {
  Arrays placeholders;
  for (const Input& input : trace.inputs) {
    placeholders.push_back(make_placeholder(to_stream(), input.like.dtype, input.like.shape));
  }
  return placeholders;
}

/// The outputs for placeholders, of nodes that were all compared with what the trace says.
Arrays checked_outputs(const Trace& trace, const Arrays& placeholders,
                       const std::vector<Stream>& streams) {
  try {
    return apply_nodes(trace, placeholders, streams, check_outputs);
  } catch (const std::logic_error& refused) {
    throw std::runtime_error(
        fmt::format("[import_function] the graph is not valid: {}", refused.what()));
  }
}

std::string describe(const std::string& name, const Value& value, const std::vector<bool>& free) {
  std::string sizes;
  for (size_t i = 0; i < value.shape.size(); ++i) {
    if (i > 0) sizes += ",";
    sizes += i < free.size() && free[i] ? "*" : fmt::format("{}", value.shape[i]);
  }
  return fmt::format(" {}{}({})", name.empty() ? "" : name + "=", name_of(value.dtype), sizes);
}

bool fits(const Input& input, const Array& array) {
  if (array.dtype() != input.like.dtype || array.ndim() != input.like.shape.ssize()) return false;
  for (int i = 0; i < array.ndim(); ++i) {
    if (!input.free[i] && array.shape(i) != input.like.shape[i]) return false;
  }
  return true;
}

}  // namespace

Trace record(const Captured& captured, const StreamNumber& number) {
  return Recorder(captured, number).run();
}

void find_free_sizes(Trace& trace, const ArrayFunction& f, const Arrays& likes,
                     const StreamNumber& number) {
  FreeSizes(f, likes, number).find(trace);
}

Arrays replay(const Trace& trace, const Arrays& inputs, const std::vector<Stream>& streams) {
  return apply_nodes(trace, inputs, streams, [](const NodeRecord&, const Arrays&) {});
}

void check(const Trace& trace, const std::vector<Stream>& streams) {
  checked_outputs(trace, placeholders_of(trace), streams);
}

control::BodyRef body_of(const Trace& trace) {
  uint32_t last = 0;
  for (const NodeRecord& node : trace.nodes) last = std::max(last, node.stream);
  Arrays placeholders = placeholders_of(trace);
  Arrays outputs = checked_outputs(trace, placeholders, std::vector<Stream>(last + 1, to_stream()));
  return {make_ref<control::Body>(Captured(std::move(placeholders), std::move(outputs)))};
}

bool matches(const Trace& trace, const Arrays& args, const NamedArrays& kwargs) {
  if (trace.inputs.size() != args.size() + kwargs.size()) return false;
  size_t position = 0;
  for (const Array& array : args) {
    const Input& input = trace.inputs[position++];
    if (!input.name.empty() || !fits(input, array)) return false;
  }
  for (const auto& [name, array] : kwargs) {
    const Input& input = trace.inputs[position++];
    if (input.name != name || !fits(input, array)) return false;
  }
  return true;
}

std::string signature(const Trace& trace) {
  std::string text;
  for (const Input& input : trace.inputs) text += describe(input.name, input.like, input.free);
  return text + "\n";
}

std::string signature(const Arrays& args, const NamedArrays& kwargs) {
  std::string text;
  for (const Array& array : args) text += describe("", value_of(array), {});
  for (const auto& [name, array] : kwargs) text += describe(name, value_of(array), {});
  return text + "\n";
}

}  // namespace rill::exported
