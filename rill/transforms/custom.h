// Functions that bring rules of their own for the transformations, and functions whose inner values
// are computed again when they are needed.
#pragma once

#include <memory>

#include "rill/transforms/captured.h"

namespace rill {

/// Rules that replace what a transformation would derive; an empty one leaves it as it is. They may
/// be called on any thread that transforms, also after the function itself has gone.
struct CustomRules {
  /// The cotangents of the primals, one each (empty: none), in their shapes. A cotangent is given
  /// for every output: zeros where nothing depends on it.
  std::function<Arrays(const Arrays& primals, const Arrays& cotangents, const Arrays& outputs)> vjp;
  /// The tangents of the outputs. A primal that does not vary has an empty tangent.
  std::function<Arrays(const Arrays& primals, const Arrays& tangents)> jvp;
  /// The outputs for every member of a batch, which is axis 0 of each of them and of each input
  /// with `batched`.
  std::function<Arrays(const Arrays& inputs, std::span<const bool> batched, int64_t batch)> vmap;
};

/// `f` with rules. Whatever `f` uses but its arguments is constant to a rule that is given. Without
/// a transformation in progress it is `f` and nothing more.
ArrayFunction custom_function(ArrayFunction f, CustomRules rules);

/// `f`, whose gradient computes `f` again rather than keep what it computed on the way. What `f`
/// uses but its arguments is constant to the gradient.
ArrayFunction checkpoint(ArrayFunction f);

/// `outputs`, which were computed from `primals` alone, under `rules`: the last step of a custom
/// function. The outputs themselves when no transformation is in progress on any of the arrays.
Arrays with_rules(const Arrays& primals, const Arrays& outputs,
                  std::shared_ptr<const CustomRules> rules);
/// The rules that make a function a checkpoint.
CustomRules checkpoint_rules(ArrayFunction f);

/// Whether the node is the last step of a custom function: its outputs are its last inputs.
bool is_custom(const Node& node);

enum class Direction : uint8_t { reverse, forward };
/// The number of inputs, the first ones, through which derivatives may flow.
size_t differentiable_inputs(const Node& node, Direction direction);

}  // namespace rill
