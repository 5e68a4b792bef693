// Attributes as lists of values, and back: from the fields of the struct.
#pragma once

#include <limits>

#include "rill/transforms/op_registry.h"

namespace rill {

/// The number of values of an enumeration that may stand in a file, from 0 on.
template <class E>
inline constexpr int64_t enumerators = 0;

namespace detail {

template <class T>
inline constexpr bool is_small_vector = false;
template <class T, uint32_t N>
inline constexpr bool is_small_vector<SmallVector<T, N>> = true;

/// Types that stand in a file as they are.
template <class T>
inline constexpr bool is_kept = std::is_same_v<T, bool> || std::is_same_v<T, std::string> ||
                                std::is_same_v<T, control::BodyRef>;

template <class T>
AttrValue to_value(const T& field) {
  if constexpr (is_kept<T>) return field;
  else if constexpr (std::is_floating_point_v<T>) return static_cast<double>(field);
  else if constexpr (is_small_vector<T>) return std::vector<int64_t>(field.begin(), field.end());
  else return static_cast<int64_t>(field);
}

template <class T>
T narrowed(int64_t value) {
  require(value >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
              value <= static_cast<int64_t>(std::numeric_limits<T>::max()),
          "[import_function] a parameter is out of range: {}", value);
  return static_cast<T>(value);
}

template <class V>
const V& expect(const AttrValue& value) {
  const V* found = std::get_if<V>(&value);
  require(found != nullptr, "[import_function] a parameter is of another type than expected");
  return *found;
}

template <class T>
void from_value(const AttrValue& value, T& field) {
  if constexpr (is_kept<T>) {
    field = expect<T>(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    field = static_cast<T>(expect<double>(value));
  } else if constexpr (is_small_vector<T>) {
    field.clear();
    for (int64_t item : expect<std::vector<int64_t>>(value)) {
      field.push_back(narrowed<typename T::value_type>(item));
    }
  } else if constexpr (std::is_enum_v<T>) {
    static_assert(enumerators<T> > 0, "say how many values this enumeration has");
    int64_t number = expect<int64_t>(value);
    require(number >= 0 && number < enumerators<T>,
            "[import_function] a parameter is out of range: {}", number);
    field = static_cast<T>(number);
  } else {
    field = narrowed<T>(expect<int64_t>(value));
  }
}

}  // namespace detail

template <class T>
AttrValues to_values(const T& attrs) {
  AttrValues values;
  for_each_field(attrs, [&](const auto& field) { values.push_back(detail::to_value(field)); });
  return values;
}

/// Throws std::invalid_argument when number, types or ranges are not those of the fields.
template <class T>
T from_values(const AttrValues& values) {
  T attrs{};
  size_t next = 0;
  for_each_field(attrs, [&]<class Field>(const Field& field) {
    require(next < values.size(), "[import_function] a parameter is missing");
    // `attrs` is not const: for_each_field only shows it so.
    detail::from_value(values[next++], const_cast<Field&>(field));
  });
  require(next == values.size(), "[import_function] expected {} parameters, got {}", next,
          values.size());
  return attrs;
}

}  // namespace rill
