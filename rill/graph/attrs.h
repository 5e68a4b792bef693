// The parameters of one application of an operation.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>

#include "rill/base/dtype.h"
#include "rill/base/fields.h"
#include "rill/base/ref.h"
#include "rill/base/require.h"
#include "rill/base/shape.h"

namespace rill {

namespace detail {

inline size_t mix(size_t seed, size_t value) {
  return seed ^ (value + 0x9e3779b97f4a7c15 + (seed << 6) + (seed >> 2));
}

template <class T>
size_t hash_field(const T& field) {
  if constexpr (std::is_enum_v<T>) return static_cast<size_t>(field);
  else if constexpr (requires {
                       field.begin();
                       field.size();
                     } && !std::is_same_v<T, std::string>) {
    size_t seed = field.size();
    for (const auto& item : field) seed = mix(seed, hash_field(item));
    return seed;
  } else return std::hash<T>{}(field);
}

template <class T>
std::string print_field(const T& field) {
  if constexpr (std::is_same_v<T, Dtype>) return std::string(name_of(field));
  else if constexpr (std::is_enum_v<T>) return fmt::format("{}", static_cast<int>(field));
  else if constexpr (requires {
                       field.begin();
                       field.size();
                     } && !std::is_same_v<T, std::string>) {
    std::string text = "(";
    for (const auto& item : field) text += (text.size() > 1 ? "," : "") + print_field(item);
    return text + ")";
  } else return fmt::format("{}", field);
}

}  // namespace detail

/// A plain struct with defaulted `==`, held by value semantics behind one pointer. Immutable,
/// shared between copies; empty for most operations.
class Attrs {
 public:
  Attrs() = default;

  template <class T>
    requires std::is_aggregate_v<T>
  Attrs(T value) : payload_(make_ref<Holder<T>>(std::move(value))) {}

  /// The struct that was put in. A different type is a broken invariant.
  template <class T>
  const T& as() const {
    auto* holder = dynamic_cast<const Holder<T>*>(payload_.get());
    RILL_ASSERT(holder != nullptr);
    return holder->value;
  }

  bool empty() const { return payload_.get() == nullptr; }
  size_t hash() const { return empty() ? 0 : payload_->hash(); }
  std::string to_string() const { return empty() ? "" : payload_->to_string(); }
  friend bool operator==(const Attrs& a, const Attrs& b) {
    if (a.payload_.get() == b.payload_.get()) return true;
    return !a.empty() && !b.empty() && a.payload_->equals(*b.payload_);
  }

 private:
  struct Payload : RefCounted {
    virtual bool equals(const Payload& other) const = 0;
    virtual size_t hash() const = 0;
    virtual std::string to_string() const = 0;
  };

  template <class T>
  struct Holder final : Payload {
    explicit Holder(T v) : value(std::move(v)) {}
    bool equals(const Payload& other) const override {
      auto* same = dynamic_cast<const Holder*>(&other);
      return same != nullptr && same->value == value;
    }
    size_t hash() const override {
      size_t seed = 0;
      for_each_field(value,
                     [&](const auto& f) { seed = detail::mix(seed, detail::hash_field(f)); });
      return seed;
    }
    std::string to_string() const override {
      std::string text;
      for_each_field(value, [&](const auto& f) {
        text += (text.empty() ? "" : ", ") + detail::print_field(f);
      });
      return text;
    }
    T value;
  };

  Ref<Payload> payload_;
};

}  // namespace rill
