#include "rill/runtime/debug.h"

#include <cmath>
#include <mutex>
#include <unordered_map>

#include "rill/graph/observer.h"

namespace rill {

std::atomic<uint8_t> detail::debug_bits{0};

namespace {

/// Where nodes were built, while NaNs are looked for.
struct Places {
  std::mutex mutex;
  std::unordered_map<const Node*, std::string> by_node;
};
Places& places() {
  static auto* instance = new Places;
  return *instance;
}
std::atomic<std::string (*)()> place_finder{nullptr};

/// The user wrote the operation where the one was built that `node` is made for.
bool take_place(const Node& node) {
  const Node* model = MadeFor::current();
  if (model == nullptr) return false;
  std::lock_guard lock(places().mutex);
  auto found = places().by_node.find(model);
  if (found == places().by_node.end()) return false;
  std::string place = found->second;
  places().by_node[&node] = std::move(place);
  return true;
}

void made(const Node& node) {
  if (take_place(node)) return;
  auto* finder = place_finder.load(std::memory_order_relaxed);
  std::string place = finder == nullptr ? std::string() : finder();
  if (place.empty()) return;
  std::lock_guard lock(places().mutex);
  places().by_node[&node] = std::move(place);
}
void freed(const Node& node) {
  std::lock_guard lock(places().mutex);
  places().by_node.erase(&node);
}
constexpr NodeObserver observer{made, freed};

std::string place_of(const Node& node) {
  std::lock_guard lock(places().mutex);
  auto found = places().by_node.find(&node);
  return found == places().by_node.end() ? "" : ", built at " + found->second;
}

template <class T>
bool is_nan(T value) {
  if constexpr (std::is_same_v<T, complex64>) {
    return std::isnan(value.real()) || std::isnan(value.imag());
  } else {
    return std::isnan(static_cast<double>(static_cast<float>(value))) && value != value;
  }
}

/// Whether one of the elements along the axes from `axis` on is a NaN. What is broadcast along an
/// axis is looked at once: there may be more elements than anybody can wait for.
template <class T>
bool any_nan(const T* data, const Output& values, int axis) {
  if (axis == values.shape.ssize()) return is_nan(*data);
  int64_t different = values.strides[axis] == 0 ? 1 : values.shape[axis];
  for (int64_t i = 0; i < different; ++i) {
    if (any_nan(data + i * values.strides[axis], values, axis + 1)) return true;
  }
  return false;
}

bool has_nan(const Output& values) {
  if (!is_inexact(values.dtype) || values.size == 0) return false;
  return visit_type(values.dtype, [&]<class T>(type_tag<T>) {
    if constexpr (!is_inexact(dtype_of<T>())) return false;
    else {
      const T* data = reinterpret_cast<const T*>(values.data);
      if (!values.row_major) return any_nan(data, values, 0);
      return std::any_of(data, data + values.size, [](T value) { return is_nan(value); });
    }
  });
}

}  // namespace

void set_debug_mode(DebugMode mode) {
  {
    std::lock_guard lock(places().mutex);
    if (!mode.nans) places().by_node.clear();
  }
  observe_nodes(mode.nans ? &observer : nullptr);
  detail::debug_bits.store(static_cast<uint8_t>((mode.nans ? 1 : 0) | (mode.serial ? 2 : 0)),
                           std::memory_order_relaxed);
}

void set_place_finder(std::string (*finder)()) { place_finder = finder; }

bool inputs_have_nan(const Step& step) {
  return std::any_of(step.inputs.begin(), step.inputs.end(),
                     [](const Array& input) { return has_nan(input.output()); });
}

void require_no_nan(const Step& step) {
  for (const Array& result : step.results) {
    const Node& node = result.node();
    for (uint32_t i = 0; i < node.output_count(); ++i) {
      if (!has_nan(node.output(i))) continue;
      throw std::runtime_error(fmt::format("[debug_nans] {} made a NaN: {} of shape {}{}",
                                           step.name(), name_of(node.output(i).dtype),
                                           node.output(i).shape, place_of(node)));
    }
  }
}

}  // namespace rill
