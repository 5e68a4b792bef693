// The fields of a plain struct, in order: what equality, hashing and printing of Attrs follow from.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace rill {

namespace detail {

struct AnyField {
  template <class T>
  operator T() const;  // never defined: used to ask whether an initializer fits
};

template <class T, size_t... I>
constexpr bool takes_fields(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), AnyField{})...}; };
}

template <class T, size_t N = 8>
constexpr size_t field_count() {
  if constexpr (N == 0 || takes_fields<T>(std::make_index_sequence<N>{})) return N;
  else return field_count<T, N - 1>();
}

}  // namespace detail

/// Calls `f(field)` for each of at most eight fields of an aggregate.
template <class T, class F>
constexpr void for_each_field(const T& value, F&& f) {
  static_assert(std::is_aggregate_v<T>, "attributes are plain structs");
  constexpr size_t count = detail::field_count<T>();
  auto each = [&f](const auto&... fields) { (f(fields), ...); };
  if constexpr (count == 1) {
    const auto& [a] = value;
    each(a);
  } else if constexpr (count == 2) {
    const auto& [a, b] = value;
    each(a, b);
  } else if constexpr (count == 3) {
    const auto& [a, b, c] = value;
    each(a, b, c);
  } else if constexpr (count == 4) {
    const auto& [a, b, c, d] = value;
    each(a, b, c, d);
  } else if constexpr (count == 5) {
    const auto& [a, b, c, d, e] = value;
    each(a, b, c, d, e);
  } else if constexpr (count == 6) {
    const auto& [a, b, c, d, e, g] = value;
    each(a, b, c, d, e, g);
  } else if constexpr (count == 7) {
    const auto& [a, b, c, d, e, g, h] = value;
    each(a, b, c, d, e, g, h);
  } else if constexpr (count == 8) {
    const auto& [a, b, c, d, e, g, h, i] = value;
    each(a, b, c, d, e, g, h, i);
  }
}

}  // namespace rill
