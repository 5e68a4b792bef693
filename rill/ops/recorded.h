// Operations that may look at sizes while these are watched, because the call is repeated where the
// sizes are others (graph/size_watch.h).
#pragma once

#include <optional>
#include <tuple>

#include "rill/graph/context.h"
#include "rill/graph/size_watch.h"

namespace rill {

namespace detail {

/// Calls `repeat` on `inputs` for the watch of this thread.
Arrays recorded_call(Arrays inputs, std::function<Arrays(const Arrays&)> repeat);

/// The place of an array among the arguments that are kept, which are without arrays.
struct Place {
  bool is_taken;
};
using Places = std::vector<Place>;

template <class T>
T kept(const T& value, Arrays&) {
  return value;
}
inline StreamOrDevice kept(const StreamOrDevice& where, Arrays&) { return to_stream(where); }
inline Place kept(const Array& array, Arrays& arrays) {
  if (array) arrays.push_back(array);
  return {static_cast<bool>(array)};
}
inline Places kept(const Arrays& list, Arrays& arrays) {
  Places places;
  for (const Array& array : list) places.push_back(kept(array, arrays));
  return places;
}
inline std::optional<Place> kept(const std::optional<Array>& array, Arrays& arrays) {
  return array ? std::optional(kept(*array, arrays)) : std::nullopt;
}

template <class T>
T refilled(const T& value, const Array*&) {
  return value;
}
inline Array refilled(const Place& place, const Array*& next) {
  return place.is_taken ? *next++ : Array();
}
inline Arrays refilled(const Places& places, const Array*& next) {
  Arrays list;
  for (const Place& place : places) list.push_back(refilled(place, next));
  return list;
}
inline std::optional<Array> refilled(const std::optional<Place>& place, const Array*& next) {
  return place ? std::optional(refilled(*place, next)) : std::nullopt;
}

}  // namespace detail

/// f(args...), where f depends on nothing but these and gives an Array or Arrays. Out of the way of
/// the usual path.
template <class F, class... Args>
[[gnu::noinline, gnu::cold]] auto recorded(F f, const Args&... args) {
  using Result = std::invoke_result_t<F, const Args&...>;
  Arrays arrays;
  auto repeat = [f, own = std::tuple{detail::kept(args, arrays)...}](const Arrays& inputs) {
    const Array* next = inputs.data();
    return std::apply(
        [&](const auto&... values) {
          // In braces: from the first argument to the last.
          std::tuple filled{detail::refilled(values, next)...};
          if constexpr (std::is_same_v<Result, Array>) return Arrays{std::apply(f, filled)};
          else return std::apply(f, filled);
        },
        own);
  };
  Arrays results = detail::recorded_call(arrays, std::move(repeat));
  if constexpr (std::is_same_v<Result, Array>) return results[0];
  else return results;
}

/// At the start of an operation: the whole call is one that is repeated. The arguments are those of
/// the function `name`, in order.
#define RILL_RECORDED(name, ...)        \
  if (sizes_are_watched()) [[unlikely]] \
  return recorded([](const auto&... all) { return name(all...); }, __VA_ARGS__)

}  // namespace rill
