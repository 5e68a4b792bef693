// What an operation is: the row of a table, shared by every node that applies it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "rill/base/function_ref.h"
#include "rill/graph/array.h"

namespace rill {

/// One launch of a kernel: the node to compute and the operands that it reads. The kernel places
/// and fills the outputs of the node. Operands are computed.
struct Launch {
  Node& node;
  std::span<Array> inputs;

  const Output& in(size_t i) const { return inputs[i].output(); }
  Output& out(uint32_t i = 0) const { return node.output(i); }
  template <class T>
  const T& attrs() const {
    return node.attrs.as<T>();
  }
};

using Kernel = void (*)(const Launch&);

inline constexpr auto no_sums = [](size_t) { return Array(); };

/// What a derivative rule sees of a node. `cotangents` has an empty Array where an output does not
/// matter; the rule returns one Array an input, empty where `wanted` is false or there is none.
struct VjpArgs {
  const Inputs& inputs;
  const Arrays& outputs;
  const Arrays& cotangents;
  const Attrs& attrs;
  std::span<const bool> wanted;
  /// Hands over what other readers have given to the cotangent of an input so far, or an empty
  /// Array; what the rule returns then contains it. So a rule that has only a part of an input to
  /// give adds it in place, instead of zeros around it to all of the sum.
  FunctionRef<Array(size_t input)> take_sum = no_sums;
};
using VjpRule = Arrays (*)(const VjpArgs&);

/// `tangents` has an empty Array for an input that does not vary; returns a tangent an output.
struct JvpArgs {
  const Inputs& inputs;
  const Arrays& outputs;
  const Arrays& tangents;
  const Attrs& attrs;
};
using JvpRule = Arrays (*)(const JvpArgs&);

/// An application of an operation to many at once: `node` is the one application, whose outputs
/// the rule computes for each of `batch`. An input with `batched` has the batch as its axis 0; the
/// others are shared. The rule returns the outputs, each with the batch as its axis 0. It runs on
/// the stream of the node. An operation without a rule is applied to one after the other.
struct VmapArgs {
  const Inputs& inputs;
  std::span<const bool> batched;
  int64_t batch;
  const Node& node;
};
using VmapRule = Arrays (*)(const VmapArgs&);

/// The row of an elementwise operation in ops/elementwise.def; see ops/elementwise.h.
enum class Row : uint16_t;
inline constexpr Row no_row{0xffff};

struct OpInfo {
  std::string_view name;
  VjpRule vjp = nullptr;
  JvpRule jvp = nullptr;
  VmapRule vmap = nullptr;
  Row row = no_row;       // elementwise operations are fused by their row
  bool is_view = false;   // shares the block of its input: costs nothing
  bool one_core = false;  // however large, one application keeps to one core (batches may not)
  /// Rough nanoseconds on one core; without it, by the bytes that are touched.
  double (*cost)(const Node& node) = nullptr;
  /// The kernel of each backend, by DeviceType; set when the backend starts.
  mutable std::array<Kernel, device_type_count> kernels{};

  bool is_elementwise() const { return row != no_row; }
};

}  // namespace rill
