// Sums of products, by the names of axes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// The order in which einsum contracts its operands. Each step takes the operands at the places
/// listed out of the list and puts their product at its end.
struct ContractionPath {
  std::vector<Axes> steps;
  int naive_scaling = 0;  // loops, when all is done at once
  int scaling = 0;        // loops of the largest step
  double naive_flops = 0;
  double flops = 0;
};

/// Greedy: the pair that leaves least memory first, then the one with the least work.
ContractionPath einsum_path(std::string_view subscripts, const std::vector<Shape>& shapes);

/// Letters name axes, '...' those that are left, which broadcast; without '->', the result has the
/// letters that occur once, in order of the alphabet. Axes of size 1 broadcast. Contractions of
/// pairs are matrix products, so of floating point operands only. Throws std::invalid_argument
/// when subscripts and shapes do not fit.
Array einsum(std::string_view subscripts, const Arrays& operands, StreamOrDevice s = {});

}  // namespace rill
