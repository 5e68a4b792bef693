#include "rill/runtime/compiled.h"

#include <atomic>
#include <cstdlib>
#include <map>

#include "rill/graph/tracing.h"
#include "rill/runtime/debug.h"
#include "rill/runtime/eval.h"
#include "rill/transforms/simplify.h"

namespace rill {

namespace {

struct CompiledRef {
  Ref<const Compiled> compiled;
  bool operator==(const CompiledRef&) const = default;
};

struct SegmentAttrs {
  CompiledRef owner;
  uint32_t number;
  bool operator==(const SegmentAttrs&) const = default;
};

}  // namespace

}  // namespace rill

template <>
struct std::hash<rill::CompiledRef> {
  size_t operator()(const rill::CompiledRef& ref) const noexcept {
    return std::hash<const void*>{}(ref.compiled.get());
  }
};
template <>
struct fmt::formatter<rill::CompiledRef> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const rill::CompiledRef& ref, Context& context) const {
    return fmt::format_to(context.out(), "{} segments", ref.compiled->segment_count());
  }
};

namespace rill {

namespace {

/// Runs one segment of a compiled graph.
const OpInfo compiled_op = [] {
  auto run = [](const Launch& launch) {
    const auto& attrs = launch.attrs<SegmentAttrs>();
    attrs.owner.compiled->run_segment(attrs.number, launch.inputs, launch.node);
  };
  auto cost = [](const Node& node) {
    const auto& attrs = node.attrs.as<SegmentAttrs>();
    return attrs.owner.compiled->cost_of(attrs.number);
  };
  return OpInfo{.name = "compiled", .cost = cost, .kernels = {run, run, run}};
}();

void share_value(const Launch& launch) {
  launch.out().place_view(launch.in(0), launch.in(0).strides, 0);
}

/// One output of a segment as a node of its own: it does not keep the others alive.
const OpInfo part_op{
    .name = "part", .is_view = true, .kernels = {share_value, share_value, share_value}};

/// A stream that nobody else has: "the default stream of the caller" in a traced graph.
Stream caller_stream(Device device) {
  static std::array<std::atomic<int>, device_type_count> indices{-1, -1, -1};
  static std::mutex mutex;
  std::atomic<int>& index = indices[static_cast<int>(device.type)];
  if (index.load() < 0) {
    std::lock_guard lock(mutex);
    if (index.load() < 0) index.store(new_stream(device).index);
  }
  return {device, index.load()};
}

bool is_followed(const Array& array) { return trace_is_active(array.node().trace); }

bool any_followed(const Arrays& arrays) {
  for (const Array& array : arrays) {
    if (is_followed(array)) return true;
  }
  return false;
}

std::atomic<bool> enabled{std::getenv("RILL_DISABLE_COMPILE") == nullptr};

}  // namespace

CallerStreamScope::CallerStreamScope() : scope_(caller_stream(default_device())) {}

Ref<Compiled> Compiled::of(Captured graph) {
  require(!must_be_applied_inline(graph),
          "[compile] the function reads an array of a transformation that is in progress");
  eval(graph.constants());
  Ref<Compiled> compiled(new Compiled(simplified(std::move(graph))));
  GraphInstance instance = GraphInstance::of(compiled->graph_);
  compiled->outputs_ = std::move(instance.outputs);
  for (uint32_t i = 0; i < instance.layouts.size(); ++i) {
    Segment& segment = compiled->segments_.emplace_back();
    segment.layout = std::move(instance.layouts[i]);
    segment.idle.push_back(std::move(instance.frames[i]));
  }
  return compiled;
}

bool Compiled::must_be_applied_inline(const Captured& graph) {
  return any_followed(graph.constants());
}

Arrays Compiled::apply_inline(const Captured& graph, const Arrays& inputs) {
  Device device = default_device();
  return apply_on(graph, inputs, caller_stream(device), default_stream(device));
}

Array Compiled::source(const Source& from, const Arrays& inputs, const Arrays& made) const {
  switch (from.kind) {
    case Source::Kind::argument: return inputs[from.index];
    case Source::Kind::constant: return graph_.outputs()[from.index];
    case Source::Kind::segment: break;
  }
  return Array::of(made[from.segment].node(), from.index);
}

Arrays Compiled::operator()(const Arrays& inputs) const {
  RILL_ASSERT(inputs.size() == graph_.placeholders().size());
  if (any_followed(inputs) || fusion_is_off()) return apply_inline(graph_, inputs);
  Device device = default_device();
  Stream traced = caller_stream(device);
  Arrays made;  // output 0 of each segment's node
  made.reserve(segments_.size());
  for (uint32_t i = 0; i < segments_.size(); ++i) {
    const SegmentLayout& layout = segments_[i].layout;
    Inputs own;
    for (const Source& from : layout.sources) own.push_back(source(from, inputs, made));
    Stream stream = layout.stream == traced ? default_stream(device) : layout.stream;
    // The attributes refer to the graph, so they are made by each call: no cycle.
    SegmentAttrs attrs{{Ref<const Compiled>(this)}, i};
    made.push_back(
        make_arrays(compiled_op, stream, layout.exports, std::move(own), std::move(attrs))[0]);
  }
  Arrays outputs;
  outputs.reserve(outputs_.size());
  for (const Source& from : outputs_) {
    Array value = source(from, inputs, made);
    bool shares_node =
        from.kind == Source::Kind::segment && segments_[from.segment].layout.exports.size() > 1;
    if (shares_node) {
      value = make_array(part_op, value.node().stream, value.dtype(), value.shape(), {value});
    }
    outputs.push_back(std::move(value));
  }
  return outputs;
}

std::unique_ptr<Frame> Compiled::take_frame(uint32_t number) const {
  {
    std::lock_guard lock(mutex_);
    std::vector<std::unique_ptr<Frame>>& idle = segments_[number].idle;
    if (!idle.empty()) {
      std::unique_ptr<Frame> frame = std::move(idle.back());
      idle.pop_back();
      return frame;
    }
  }
  // Another thread runs this segment now.
  GraphInstance instance = GraphInstance::of(graph_);
  std::lock_guard lock(mutex_);
  for (uint32_t i = 0; i < segments_.size(); ++i) {
    if (i != number) segments_[i].idle.push_back(std::move(instance.frames[i]));
  }
  return std::move(instance.frames[number]);
}

void Compiled::run_segment(uint32_t number, std::span<Array> inputs, Node& node) const {
  std::unique_ptr<Frame> frame = take_frame(number);
  frame->run(inputs, node);  // a frame in which a step threw is lost
  std::lock_guard lock(mutex_);
  segments_[number].idle.push_back(std::move(frame));
}

ArrayFunction compile(ArrayFunction f) {
  struct Cache {
    std::mutex mutex;
    std::map<std::string, Ref<Compiled>> entries;
  };
  auto cache = std::make_shared<Cache>();
  return [f = std::move(f), cache](const Arrays& inputs) -> Arrays {
    if (!compile_enabled()) return f(inputs);
    std::string key = fmt::format("{}", static_cast<int>(default_device().type));
    for (const Array& input : inputs) {
      key += fmt::format(";{}{}", name_of(input.dtype()), input.shape());
    }
    {
      std::unique_lock lock(cache->mutex);
      auto found = cache->entries.find(key);
      if (found != cache->entries.end()) {
        Ref<Compiled> compiled = found->second;
        lock.unlock();
        return (*compiled)(inputs);
      }
    }
    Captured graph = [&] {
      CallerStreamScope scope;
      return Captured::of(f, inputs);
    }();
    if (Compiled::must_be_applied_inline(graph)) return Compiled::apply_inline(graph, inputs);
    Ref<Compiled> compiled = Compiled::of(std::move(graph));
    {
      std::lock_guard lock(cache->mutex);
      cache->entries[key] = compiled;
    }
    return (*compiled)(inputs);
  };
}

void set_compile_enabled(bool on) { enabled.store(on); }
bool compile_enabled() { return enabled.load(); }

}  // namespace rill
