#include "rill/runtime/interpreter.h"

#include "rill/runtime/debug.h"

namespace rill {

namespace {

const OpInfo result_op{.name = "result"};

}  // namespace

Array computed_view(const Output& values, Shape shape, Strides strides, int64_t offset) {
  Array array = make_array(result_op, Stream{}, values.dtype, std::move(shape), {});
  array.node().output(0).place_view(values, std::move(strides), offset);
  array.node().set_state(NodeState::done);
  return array;
}

BodyRunner::BodyRunner(const Captured& graph)
    : constants_(graph.outputs()), instance_(GraphInstance::of(graph)) {
  RILL_ASSERT(instance_.frames.size() <= 1);  // all nodes are on one stream
  for (size_t i = 0; i < constants_.size(); ++i) {
    if (instance_.outputs[i].kind != Source::Kind::constant) constants_[i] = Array();
  }
}

Arrays BodyRunner::run(std::span<Array> arguments) {
  Arrays outputs = constants_;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Source& from = instance_.outputs[i];
    if (from.kind == Source::Kind::argument) outputs[i] = arguments[from.index];
  }
  if (instance_.frames.empty()) return outputs;
  const SegmentLayout& layout = instance_.layouts[0];
  Arrays given;
  for (const Source& from : layout.sources) given.push_back(std::move(arguments[from.index]));
  for (Array& argument : arguments) argument = Array();
  if (layout.exports.empty()) return outputs;
  Array made = make_arrays(result_op, layout.stream, layout.exports, {})[0];
  instance_.frames[0]->run(given, made.node());
  Arrays parts;  // each a node of its own, so that one may die before the others
  for (uint32_t i = 0; i < made.node().output_count(); ++i) {
    const Output& out = made.node().output(i);
    parts.push_back(computed_view(out, out.shape, out.strides, 0));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Source& from = instance_.outputs[i];
    if (from.kind == Source::Kind::segment) outputs[i] = parts[from.index];
  }
  return outputs;
}

BorrowedRunner::BorrowedRunner(const control::BodyRef& ref) : body_(*ref.body) {
  if (!fusion_is_off()) {
    std::lock_guard lock(body_.mutex);
    if (!body_.idle.empty()) {
      runner_ = Ref<BodyRunner>(static_cast<BodyRunner*>(body_.idle.back().get()));
      body_.idle.pop_back();
    }
  }
  if (!runner_) runner_ = make_ref<BodyRunner>(body_.graph);
}

BorrowedRunner::~BorrowedRunner() {
  if (!runner_ || fusion_is_off()) return;
  std::lock_guard lock(body_.mutex);
  body_.idle.push_back(std::move(runner_));
}

Arrays BorrowedRunner::run(std::span<Array> arguments) {
  try {
    return runner_->run(arguments);
  } catch (...) {
    runner_ = nullptr;
    throw;
  }
}

}  // namespace rill
