// What a traced function did, as a list of steps that can be taken again for other sizes.
#pragma once

#include <memory>
#include <optional>

#include "rill/graph/size_watch.h"
#include "rill/transforms/captured.h"

namespace rill {

/// A function of arrays whose code, but for the operations that it calls, did not look at sizes, or
/// looked at sizes that are the same again. Immutable; any thread may repeat it.
class Recipe {
 public:
  /// Of a function that was called with `placeholders` and returned `outputs` under `watch`. Null
  /// when it cannot be repeated. Keeps constants of the graph, none of the nodes that depend on
  /// placeholders.
  static std::shared_ptr<const Recipe> of(const SizeWatch& watch, const Arrays& placeholders,
                                          const Arrays& outputs);

  /// The graph that the function would make with arrays like `inputs`; nothing if it might do
  /// something else with them, or refuse them, and if they differ from the placeholders in their
  /// number, a rank or a dtype.
  /// To be called where the default stream means what it meant when the function was traced.
  std::optional<Captured> repeated(const Arrays& inputs) const;

 private:
  using Number = uint32_t;  // of a value: placeholders, constants and results of steps
  struct Kind {
    Dtype dtype;
    int ndim;
    explicit Kind(const Array& array) : dtype(array.dtype()), ndim(array.ndim()) {}
    bool operator==(const Kind&) const = default;
    static std::vector<Kind> of(const Arrays& arrays) { return {arrays.begin(), arrays.end()}; }
  };
  struct Step {
    Stream stream;  // the default stream
    std::function<Arrays(const Arrays&)> repeat;
    std::vector<Number> inputs;
    std::vector<Number> outputs;
    std::vector<Kind> kinds;  // of the outputs
  };
  struct Constant {
    Number number;
    Array value;
  };
  /// A value whose sizes the function has seen.
  struct Seen {
    Number number;
    Shape shape;
  };
  class Writer;

  bool take(const Step& step, Arrays& values) const;
  bool looks_the_same(const Arrays& values) const;

  std::vector<Kind> placeholders_;
  Number count_ = 0;
  std::vector<Constant> constants_;
  std::vector<Step> steps_;
  std::vector<Seen> seen_;
  std::vector<Number> outputs_;
};

}  // namespace rill
