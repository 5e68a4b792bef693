// Control flow as operations: a function is captured once as a graph, and the graph is run as often
// as values ask for, without the program that defined it.
#pragma once

#include <mutex>
#include <optional>

#include "rill/graph/context.h"
#include "rill/transforms/captured.h"

namespace rill {

namespace control {

/// A captured function. Its placeholders are its arguments, then the arrays from outside that it
/// uses and that were not computed yet.
class Body final : public RefCounted {
 public:
  explicit Body(Captured captured) : graph(std::move(captured)) {}

  const Captured graph;
  // What was made to run the graph, and is not used at the moment: by the runtime for any graph
  // (runtime/interpreter.h), by a backend for loops.
  mutable std::mutex mutex;
  mutable std::vector<Ref<RefCounted>> idle;
  mutable std::vector<Ref<RefCounted>> idle_loops;
};

/// Equal when they are the same object.
struct BodyRef {
  Ref<Body> body;
  const Captured& graph() const { return body->graph; }
  bool operator==(const BodyRef&) const = default;
};

/// Operands: the predicate (bool, 0-d), `shared` operands of both branches, those from outside of
/// the first, those of the second.
struct CondAttrs {
  BodyRef yes;
  BodyRef no;
  int64_t shared;
  bool operator==(const CondAttrs&) const = default;
};
/// Operands: the state, what the condition takes from outside, what the body does.
struct WhileAttrs {
  BodyRef condition;
  BodyRef body;
  int64_t state;
  bool operator==(const WhileAttrs&) const = default;
};
/// Operands: the carry, the arrays to walk along axis 0, what the body takes from outside. Outputs:
/// the last carry, then what the body gives at each step, stacked; its last `history` arrays are
/// the carry before the step.
struct ScanAttrs {
  BodyRef body;
  int64_t carry;
  int64_t walked;
  int64_t length;
  bool reverse;
  bool history;
  bool operator==(const ScanAttrs&) const = default;
};

extern const OpInfo cond_op;
extern const OpInfo while_op;
extern const OpInfo scan_op;

/// The outputs of `on_true` if the predicate (one element) holds, else those of `on_false`, which
/// are of the same dtypes and shapes. Only one of them is computed.
Arrays cond(const Array& predicate, const ArrayFunction& on_true, const ArrayFunction& on_false,
            const Arrays& operands, StreamOrDevice s = {});

/// Applies `body` to the state while `condition` gives true for it. `body` keeps dtypes and shapes.
/// It has forward derivatives only: a backward pass would need every state on the way.
Arrays while_loop(const ArrayFunction& condition, const ArrayFunction& body, const Arrays& init,
                  StreamOrDevice s = {});

/// What a scan returns, and its body: (carry, outputs) of (carry, one element of each array).
struct Carried {
  Arrays carry;
  Arrays outputs;
};
using ScanBody = std::function<Carried(const Arrays& carry, const Arrays& elements)>;

/// Applies `body` to the carry and the elements of `arrays` along axis 0, one after the other (from
/// the last one if `reverse`); outputs are stacked in the order of the elements. `length` is needed
/// only without arrays. `body` keeps dtypes and shapes of the carry.
Carried scan(const ScanBody& body, const Arrays& init, const Arrays& arrays,
             std::optional<int64_t> length = {}, bool reverse = false, StreamOrDevice s = {});

}  // namespace control
}  // namespace rill

template <>
struct std::hash<rill::control::BodyRef> {
  size_t operator()(const rill::control::BodyRef& ref) const noexcept {
    return std::hash<const void*>{}(ref.body.get());
  }
};
template <>
struct fmt::formatter<rill::control::BodyRef> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const rill::control::BodyRef& ref, Context& context) const {
    return fmt::format_to(context.out(), "graph of {} nodes", ref.graph().nodes().size());
  }
};
