// A counted reference: the count lives in the object.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace rill {

template <class T>
class Ref;

/// Base of objects that live as long as a Ref refers to them. Made with make_ref; never copied.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  /// A snapshot, for tests and for "am I the only owner?" asked by an owner (1 means yes).
  uint32_t reference_count() const { return references_.load(std::memory_order_acquire); }

 protected:
  virtual ~RefCounted() = default;

  // Relaxed: whoever copies a reference already holds one, so nothing is published here.
  void retain(uint32_t count = 1) const { references_.fetch_add(count, std::memory_order_relaxed); }
  // Acquire-release: the deleting thread must see every other owner's last use. A sole owner
  // (nobody can make a second reference but through it) needs no read-modify-write.
  void release(uint32_t count = 1) const {
    if (references_.load(std::memory_order_acquire) == count ||
        references_.fetch_sub(count, std::memory_order_acq_rel) == count) {
      delete this;
    }
  }

 private:
  template <class T>
  friend class Ref;

  mutable std::atomic<uint32_t> references_{0};
};

/// Owns one count of a RefCounted object, or is null. Copies and releases may happen on any
/// thread; one Ref object is not to be changed by two threads at once.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): null is a value of every Ref
  explicit Ref(T* object) : object_(object) {
    if (object_) as_base(object_)->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  Ref(const Ref<U>& other) : Ref(static_cast<T*>(other.get())) {}  // NOLINT: as pointers do
  template <class U>
    requires std::is_convertible_v<U*, T*>
  Ref(Ref<U>&& other) noexcept : object_(other.leak()) {}  // NOLINT: as pointers do
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) as_base(object_)->release();
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) { return a.object_ == b.object_; }

  /// Gives the count away: the caller owns it and returns it with Ref::adopt.
  [[nodiscard]] T* leak() { return std::exchange(object_, nullptr); }
  /// Takes over a count that leak() gave away.
  [[nodiscard]] static Ref adopt(T* object) {
    Ref ref;
    ref.object_ = object;
    return ref;
  }

 private:
  // Through a function, so that Ref<T> may be a member where T is not complete yet.
  static const RefCounted* as_base(const T* object) { return object; }

  T* object_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace rill
