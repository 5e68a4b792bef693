// What the files with rows of exportable operations share.
#pragma once

#include <span>

#include "rill/transforms/attr_values.h"

namespace rill {

template <>
inline constexpr int64_t enumerators<Dtype> = dtype_count;

namespace exporting {

struct NoAttrs {};

template <class T>
AttrValues describe(const Node& node) {
  return to_values(node.attrs.as<T>());
}
template <>
inline AttrValues describe<NoAttrs>(const Node&) {
  return {};
}

/// A row whose parameters are the attributes of the node.
template <class T, class Apply>
constexpr ExportRow row(std::string_view name, int least, int most, Apply) {
  return {name, least, most, describe<T>, [](const Arrays& inputs, const AttrValues& values) {
            if constexpr (std::is_same_v<T, NoAttrs>) {
              require(values.empty(), "[import_function] expected no parameters, got {}",
                      values.size());
              return Arrays(Apply{}(inputs));
            } else {
              return Arrays(Apply{}(inputs, from_values<T>(values)));
            }
          }};
}

inline Arrays one(Array array) { return {std::move(array)}; }

/// A row of an operation of one operand without parameters.
template <auto function>
constexpr ExportRow plain(std::string_view name) {
  return row<NoAttrs>(name, 1, 1, [](const Arrays& in) { return one(function(in[0], {})); });
}

inline Arrays tail(const Arrays& inputs, size_t from) {
  return Arrays(inputs.begin() + static_cast<int64_t>(from), inputs.end());
}

/// Control flow, whose parameters are graphs.
std::span<const ExportRow> control_rows();
/// Transforms, convolutions and the operations of mx.fast.
std::span<const ExportRow> compound_rows();
/// Quantised, gathered, masked and segmented products.
std::span<const ExportRow> product_rows();

}  // namespace exporting
}  // namespace rill
