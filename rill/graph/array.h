// The user's handle, and the node behind it.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <vector>

#include "rill/base/device.h"
#include "rill/base/dtype.h"
#include "rill/base/ref.h"
#include "rill/base/shape.h"
#include "rill/graph/attrs.h"
#include "rill/graph/tracing.h"
#include "rill/memory/buffer.h"

namespace rill {

class Node;
class Array;
struct OpInfo;

namespace detail {
/// For arrays that depend on placeholders (graph/size_watch.h).
void note_sizes_read(const Array& array);
}  // namespace detail

/// What one output of a node is and, once computed, where its elements lie.
struct Output {
  Dtype dtype = Dtype::float32;
  bool row_major = false;
  Shape shape;
  int64_t size = 0;  // elements

  // Set once, by the task that computes the node, before the node is done.
  Strides strides;
  char* data = nullptr;  // the first element
  Ref<Buffer> buffer;    // null for a scalar that lies in `scalar`
  alignas(8) char scalar[8];

  Output() = default;
  Output(Dtype type, Shape extent)
      : dtype(type), shape(std::move(extent)), size(element_count(shape)) {}

  size_t bytes() const { return static_cast<size_t>(size) * size_of(dtype); }
  /// Row-major elements at the start of `block`.
  void place(Ref<Buffer> block);
  /// Elements somewhere in the block of `source`: a view. `offset` is in elements of this dtype.
  void place_view(const Output& source, Strides view_strides, int64_t offset);
};

/// A lazy, immutable, n-dimensional array: one output of a node. Cheap to copy, safe to share
/// between threads (one handle, like any value, is not to be written by two at once).
class Array {
 public:
  Array() = default;
  /// Takes over one reference to the node.
  static Array adopt(Node* node, uint32_t index = 0) { return Array(node, index); }
  /// A new handle to output `index` of a node that somebody holds.
  static Array of(Node& node, uint32_t index = 0);

  /// A 0-d array that is computed already.
  Array(bool value);     // NOLINT(google-explicit-constructor)
  Array(int value);      // NOLINT(google-explicit-constructor): int32
  Array(int64_t value);  // NOLINT(google-explicit-constructor)
  Array(float value);    // NOLINT(google-explicit-constructor)
  Array(double value) : Array(static_cast<float>(value)) {}  // NOLINT: float32, as in Python
  Array(complex64 value);                                    // NOLINT(google-explicit-constructor)
  Array(double value, Dtype dtype);

  Array(const Array& other);
  Array(Array&& other) noexcept
      : node_(std::exchange(other.node_, nullptr)), index_(other.index_) {}
  Array& operator=(const Array& other) { return *this = Array(other); }
  Array& operator=(Array&& other) noexcept {
    std::swap(node_, other.node_);
    std::swap(index_, other.index_);
    return *this;
  }
  ~Array();

  explicit operator bool() const { return node_ != nullptr; }
  Node& node() const { return *node_; }
  uint32_t index() const { return index_; }
  const Output& output() const;

  Dtype dtype() const { return output().dtype; }
  int ndim() const { return output().shape.ssize(); }

  // Who watches sizes (graph/size_watch.h) hears of these.
  const Shape& shape() const { return sized().shape; }
  int64_t shape(int axis) const;
  int64_t size() const { return sized().size; }
  size_t bytes() const { return sized().bytes(); }

  /// Elements of a computed array; only after eval().
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(output().data);
  }

  /// Same node and output, not same value.
  bool is(const Array& other) const { return node_ == other.node_ && index_ == other.index_; }

 private:
  friend class Node;
  Array(Node* node, uint32_t index) : node_(node), index_(index) {}
  const Output& sized() const;

  Node* node_ = nullptr;
  uint32_t index_ = 0;
};

template <>
inline constexpr bool moves_as_bytes<Array> = true;

using Arrays = std::vector<Array>;
using Inputs = SmallVector<Array, 2>;

enum class NodeState : uint8_t { pending, scheduled, done, failed };

/// One application of an operation. `op`, `stream`, `attrs`, dtypes and shapes never change.
/// `inputs` belongs to whoever holds the scheduling lock (runtime/eval.h) and is emptied when the
/// node is scheduled, unless a transformation in progress still needs the graph (`trace`).
class Node {
 public:
  Node(const OpInfo& op, Stream stream, Inputs inputs, Attrs attrs = {});
  /// Of one output.
  Node(const OpInfo& op, Stream stream, Dtype dtype, Shape&& shape, Inputs&& inputs, Attrs&& attrs);

  const OpInfo& op;
  Stream stream;
  Attrs attrs;
  Inputs inputs;

  const Output& output(uint32_t index) const { return index == 0 ? first_ : (*rest_)[index - 1]; }
  Output& output(uint32_t index) { return index == 0 ? first_ : (*rest_)[index - 1]; }
  uint32_t output_count() const { return rest_ ? 1 + static_cast<uint32_t>(rest_->size()) : 1; }
  void set_outputs(Dtype dtype, Shape shape) { first_ = Output(dtype, std::move(shape)); }
  void set_outputs(std::vector<Output> outputs);

  NodeState state() const { return state_.load(std::memory_order_acquire); }
  void set_state(NodeState state) { state_.store(state, std::memory_order_release); }
  bool is_pending() const { return state() == NodeState::pending; }
  bool is_done() const { return state() == NodeState::done; }

  /// The outermost transformation in progress that made this node; 0 for none (graph/tracing.h).
  uint32_t trace = 0;

  // Owned by the runtime; written under the scheduling lock.
  uint64_t visit = 0;        // the walk that last saw this node
  uint32_t position = 0;     // its place in that walk
  uint32_t uses = 0;         // pending consumers in that walk
  Ref<RefCounted> task;      // the runtime::Task that computes it
  std::exception_ptr error;  // set before state becomes failed

  void retain() { refs_.fetch_add(1, std::memory_order_relaxed); }
  static void release(Node* node) {
    if (node->drop()) free_graph(node);
  }
  uint32_t use_count() const { return refs_.load(std::memory_order_acquire); }

  static void* operator new(size_t bytes);
  static void operator delete(void* memory) noexcept;

 private:
  ~Node() = default;
  /// Gives one reference up. Was it the last?
  bool drop() {
    // Acquire-release: who frees the node sees every other owner's last use. A sole owner needs no
    // read-modify-write: nobody else can make a second reference.
    return refs_.load(std::memory_order_acquire) == 1 ||
           refs_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  static void free_graph(Node* node);
  void inherit_trace();

  std::atomic<uint32_t> refs_{1};
  std::atomic<NodeState> state_{NodeState::pending};
  Output first_;
  std::unique_ptr<std::vector<Output>> rest_;
};

inline Array Array::of(Node& node, uint32_t index) {
  node.retain();
  return Array(&node, index);
}
inline Array::Array(const Array& other) : node_(other.node_), index_(other.index_) {
  if (node_ != nullptr) node_->retain();
}
inline Array::~Array() {
  if (node_ != nullptr) Node::release(node_);
}
inline const Output& Array::output() const { return node_->output(index_); }
inline const Output& Array::sized() const {
  if (node_->trace == placeholder_trace) [[unlikely]]
    detail::note_sizes_read(*this);
  return output();
}

/// The number of live nodes, for leak tests: exact while nobody makes or frees any.
int64_t live_nodes();

/// A pending array: the only way in which operations make nodes.
Array make_array(const OpInfo& op, Stream stream, Dtype dtype, Shape shape, Inputs inputs,
                 Attrs attrs = {});
Arrays make_arrays(const OpInfo& op, Stream stream, std::vector<Output> outputs, Inputs inputs,
                   Attrs attrs = {});

/// A computed array over a block: row-major, `shape` elements from its start.
Array make_computed(Dtype dtype, Shape shape, Ref<Buffer> buffer);

}  // namespace rill
