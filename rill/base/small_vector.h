// A vector that keeps its first N elements inside itself: shapes and input lists rarely need more.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace rill {

/// Whether a value moves by its bytes, and what is left behind needs no destruction. Types say so
/// that own something and are no part of themselves.
template <class T>
inline constexpr bool moves_as_bytes = std::is_trivially_copyable_v<T>;

template <class T, uint32_t N>
class SmallVector {
 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  SmallVector() = default;
  SmallVector(std::initializer_list<T> values) { append(values.begin(), values.end()); }
  explicit SmallVector(size_t count, const T& value = T()) { resize(count, value); }
  template <std::input_iterator It>
  SmallVector(It first, It last) {
    append(first, last);
  }
  SmallVector(const SmallVector& other) { copy(other); }
  /// Of these elements, which are moved where they may be.
  template <class... Values>
  static SmallVector of(Values&&... values) {
    SmallVector result;
    result.reserve(sizeof...(values));
    (result.emplace_back(std::forward<Values>(values)), ...);
    return result;
  }
  SmallVector(SmallVector&& other) noexcept { take(other); }
  SmallVector& operator=(const SmallVector& other) {
    if (this != &other) {
      clear();
      copy(other);
    }
    return *this;
  }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this != &other) {
      release();
      take(other);
    }
    return *this;
  }
  ~SmallVector() { release(); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  int ssize() const { return static_cast<int>(size_); }
  bool empty() const { return size_ == 0; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& front() { return data_[0]; }
  T& back() { return data_[size_ - 1]; }
  const T& front() const { return data_[0]; }
  const T& back() const { return data_[size_ - 1]; }
  operator std::span<const T>() const { return {data_, size_}; }

  void reserve(size_t capacity) {
    if (capacity > capacity_) grow(capacity);
  }
  template <class... Args>
  T& emplace_back(Args&&... args) {
    if (size_ == capacity_) {
      T value(std::forward<Args>(args)...);  // an argument may point into this vector
      grow(size_t{capacity_} * 2);
      return *std::construct_at(data_ + size_++, std::move(value));
    }
    return *std::construct_at(data_ + size_++, std::forward<Args>(args)...);
  }
  void push_back(const T& value) { emplace_back(value); }
  void push_back(T&& value) { emplace_back(std::move(value)); }
  void pop_back() { std::destroy_at(data_ + --size_); }
  void clear() {
    std::destroy(begin(), end());
    size_ = 0;
  }
  void resize(size_t count, const T& value = T()) {
    while (size_ > count) pop_back();
    reserve(count);
    std::uninitialized_fill(end(), data_ + count, value);
    size_ = static_cast<uint32_t>(count);
  }
  template <class It>
  void append(It first, It last) {
    if constexpr (std::forward_iterator<It>) {
      reserve(size_ + std::distance(first, last));
      size_ = static_cast<uint32_t>(std::uninitialized_copy(first, last, end()) - data_);
    } else {
      for (; first != last; ++first) emplace_back(*first);
    }
  }
  T* insert(const T* where, const T& value) {
    size_t index = where - data_;
    emplace_back(value);
    std::rotate(data_ + index, data_ + size_ - 1, data_ + size_);
    return data_ + index;
  }
  T* erase(const T* where) {
    T* target = data_ + (where - data_);
    std::move(target + 1, end(), target);
    pop_back();
    return target;
  }

  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    if (a.size_ != b.size_) return false;
    for (uint32_t i = 0; i < a.size_; ++i) {  // few: a call of memcmp takes longer
      if (!(a.data_[i] == b.data_[i])) return false;
    }
    return true;
  }
  friend auto operator<=>(const SmallVector& a, const SmallVector& b) {
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  T* inline_data() { return reinterpret_cast<T*>(storage_); }
  bool is_inline() const { return data_ == reinterpret_cast<const T*>(storage_); }

  void grow(size_t capacity) {
    if (capacity <= N) __builtin_unreachable();  // says so to the compiler's bounds check
    T* fresh = std::allocator<T>().allocate(capacity);
    if constexpr (moves_as_bytes<T>) {
      std::memcpy(static_cast<void*>(fresh), data_, size_ * sizeof(T));
    } else {
      std::uninitialized_move(begin(), end(), fresh);
      std::destroy(begin(), end());
    }
    if (!is_inline()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = fresh;
    capacity_ = static_cast<uint32_t>(capacity);
  }
  /// Into one without elements. The whole room is copied where it may be: its size is known to the
  /// compiler, that of the elements is not.
  void copy(const SmallVector& other) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      if (other.is_inline()) {
        std::memcpy(static_cast<void*>(data_), other.storage_, sizeof(storage_));
        size_ = other.size_;
        return;
      }
    }
    append(other.begin(), other.end());
  }
  /// Into one without elements and without memory of its own.
  void take(SmallVector& other) noexcept {
    if (other.is_inline()) {
      if constexpr (moves_as_bytes<T>) {
        std::memcpy(storage_, other.storage_, sizeof(storage_));
        size_ = std::exchange(other.size_, 0);
      } else {
        std::uninitialized_move(other.begin(), other.end(), inline_data());
        size_ = other.size_;
        other.clear();
      }
    } else {
      data_ = std::exchange(other.data_, other.inline_data());
      size_ = std::exchange(other.size_, 0);
      capacity_ = std::exchange(other.capacity_, N);
    }
  }
  void release() {
    std::destroy(begin(), end());
    if (!is_inline()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = inline_data();
    size_ = 0;
    capacity_ = N;
  }

  T* data_ = inline_data();
  uint32_t size_ = 0;
  uint32_t capacity_ = N;
  alignas(T) unsigned char storage_[N * sizeof(T)];
};

}  // namespace rill
