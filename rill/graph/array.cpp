#include "rill/graph/array.h"

#include <cstring>

#include "rill/graph/node_memory.h"
#include "rill/graph/observer.h"
#include "rill/graph/op.h"
#include "rill/graph/tracing.h"

namespace rill {

namespace {

const OpInfo constant_op{.name = "constant"};

std::atomic<const NodeObserver*> observer{nullptr};

}  // namespace

void tell_made(const Node& node) {
  if (const NodeObserver* who = observer.load(std::memory_order_relaxed)) [[unlikely]]
    who->made(node);
}

namespace {

template <class T>
Node* scalar_node(T value) {
  auto* node = new Node(constant_op, Stream{}, {});
  node->set_outputs(dtype_of<T>(), Shape{});
  Output& out = node->output(0);
  std::memcpy(out.scalar, &value, sizeof(T));
  out.data = out.scalar;
  out.row_major = true;
  node->set_state(NodeState::done);
  return node;
}

Node* scalar_node(double value, Dtype dtype) {
  return visit_type(dtype, [&]<class T>(type_tag<T>) {
    if constexpr (std::is_same_v<T, complex64>) return scalar_node(T(static_cast<float>(value), 0));
    else if constexpr (sizeof(T) == 2 && is_inexact(dtype_of<T>()))
      return scalar_node(T(static_cast<float>(value)));
    else return scalar_node(static_cast<T>(value));
  });
}

}  // namespace

void Output::place(Ref<Buffer> block) {
  strides = row_major_strides(shape);
  row_major = true;
  data = static_cast<char*>(block->data());
  buffer = std::move(block);
}

void Output::place_view(const Output& source, Strides view_strides, int64_t offset) {
  row_major = is_row_major(shape, view_strides);
  strides = std::move(view_strides);
  if (source.buffer) {
    buffer = source.buffer;
    data = source.data + offset * size_of(dtype);
  } else {  // a scalar travels by value
    std::memcpy(scalar, source.scalar, sizeof(scalar));
    data = scalar;
  }
}

Array::Array(bool value) : node_(scalar_node(value)) {}
Array::Array(int value) : node_(scalar_node(int32_t{value})) {}
Array::Array(int64_t value) : node_(scalar_node(value)) {}
Array::Array(float value) : node_(scalar_node(value)) {}
Array::Array(complex64 value) : node_(scalar_node(value)) {}
Array::Array(double value, Dtype dtype) : node_(scalar_node(value, dtype)) {}

int64_t Array::shape(int axis) const { return shape()[axis < 0 ? axis + ndim() : axis]; }

Node::Node(const OpInfo& operation, Stream where, Inputs operands, Attrs attributes)
    : op(operation), stream(where), attrs(std::move(attributes)), inputs(std::move(operands)) {
  inherit_trace();
}

Node::Node(const OpInfo& operation, Stream where, Dtype dtype, Shape&& shape, Inputs&& operands,
           Attrs&& attributes)
    : op(operation),
      stream(where),
      attrs(std::move(attributes)),
      inputs(std::move(operands)),
      first_(dtype, std::move(shape)) {
  inherit_trace();
}

void Node::inherit_trace() {
  for (const Array& input : inputs) {
    // One that has ended is not inherited: it would hide the one in progress.
    uint32_t outer = input.node().trace;
    if (outer != 0 && (trace == 0 || outer < trace) && trace_is_active(outer)) trace = outer;
  }
}

void* Node::operator new(size_t) { return detail::NodeMemory::of_thread().take(); }
void Node::operator delete(void* memory) noexcept {
  detail::NodeMemory::of_thread().give_back(memory);
}

void Node::set_outputs(std::vector<Output> outputs) {
  RILL_ASSERT(!outputs.empty());
  first_ = std::move(outputs.front());
  if (outputs.size() == 1) return;
  outputs.erase(outputs.begin());
  rest_ = std::make_unique<std::vector<Output>>(std::move(outputs));
}

/// Freeing a node drops its inputs, which may be the last to go, and so on: a list, no recursion.
void Node::free_graph(Node* node) {
  detail::NodeMemory& memory = detail::NodeMemory::of_thread();
  auto add = [&](Node* dead) {
    dead->visit = reinterpret_cast<uintptr_t>(memory.dying);
    memory.dying = dead;
  };
  add(node);
  if (memory.is_freeing) return;
  memory.is_freeing = true;
  while (memory.dying != nullptr) {
    node = memory.dying;
    memory.dying = reinterpret_cast<Node*>(node->visit);
    if (const NodeObserver* who = observer.load(std::memory_order_relaxed)) [[unlikely]]
      who->freed(*node);
    for (Array& input : node->inputs) {
      Node* operand = std::exchange(input.node_, nullptr);
      if (operand != nullptr && operand->drop()) add(operand);
    }
    node->~Node();
    memory.give_back(node);
  }
  memory.is_freeing = false;
}

const Node*& MadeFor::current() {
  static thread_local const Node* node = nullptr;
  return node;
}

void observe_nodes(const NodeObserver* who) { observer.store(who, std::memory_order_relaxed); }

int64_t live_nodes() { return detail::count_nodes(); }

Array make_array(const OpInfo& op, Stream stream, Dtype dtype, Shape shape, Inputs inputs,
                 Attrs attrs) {
  auto* node = new Node(op, stream, dtype, std::move(shape), std::move(inputs), std::move(attrs));
  tell_made(*node);
  return Array::adopt(node);
}

Arrays make_arrays(const OpInfo& op, Stream stream, std::vector<Output> outputs, Inputs inputs,
                   Attrs attrs) {
  auto* node = new Node(op, stream, std::move(inputs), std::move(attrs));
  auto count = static_cast<uint32_t>(outputs.size());
  Arrays arrays{Array::adopt(node)};
  node->set_outputs(std::move(outputs));
  for (uint32_t i = 1; i < count; ++i) arrays.push_back(Array::of(*node, i));
  tell_made(*node);
  return arrays;
}

Array make_computed(Dtype dtype, Shape shape, Ref<Buffer> buffer) {
  auto* node = new Node(constant_op, Stream{}, {});
  Array array = Array::adopt(node);
  node->set_outputs(dtype, std::move(shape));
  node->output(0).place(std::move(buffer));
  node->set_state(NodeState::done);
  return array;
}

}  // namespace rill
