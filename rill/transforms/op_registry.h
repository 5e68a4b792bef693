// Operations by name: how an exported function says which operation a node applies, with which
// parameters, and how it is applied again from that.
#pragma once

#include <string>
#include <variant>

#include "rill/transforms/control.h"

namespace rill {

/// One parameter of an operation, as it stands in a file.
using AttrValue =
    std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, control::BodyRef>;
using AttrValues = std::vector<AttrValue>;

/// How one operation is exported.
struct ExportRow {
  std::string_view name;
  int least_inputs;
  int most_inputs;  // -1: any number
  /// The parameters of a node of this operation.
  AttrValues (*describe)(const Node& node);
  /// Applies the operation on the default stream, through the rules that a user's call obeys: what
  /// does not fit throws std::invalid_argument or std::out_of_range, so that no parameters,
  /// however they came about, make a kernel leave its operands.
  Arrays (*apply)(const Arrays& inputs, const AttrValues& values);
};

/// The row of an operation; null if it cannot be exported.
const ExportRow* find_export_row(std::string_view name);

/// The names of all operations that can be exported.
std::vector<std::string_view> exportable_operations();

}  // namespace rill
