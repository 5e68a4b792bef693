// Bytes that arrays share.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "rill/base/ref.h"

namespace rill {

/// A block of bytes. Arrays are immutable once computed, so a copy of the bytes in another memory
/// space (a replica) stays valid for ever; host memory is the replica that exists today.
class Buffer : public RefCounted {
 public:
  /// Memory of the allocator, 64-byte aligned (2 MiB when large). Throws std::bad_alloc.
  static Ref<Buffer> allocate(size_t bytes);

  /// Memory of somebody else, e.g. a NumPy array; `release` runs when the last user is gone, on
  /// any thread.
  static Ref<Buffer> wrap(void* data, size_t bytes, std::function<void()> release);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  /// False for wrapped memory: somebody else may still write to it or give it back.
  bool owned() const { return owned_; }

  ~Buffer() override;

 private:
  Buffer(void* data, size_t bytes, bool owned) : data_(data), bytes_(bytes), owned_(owned) {}

  void* data_;
  size_t bytes_;
  bool owned_;
  std::unique_ptr<std::function<void()>> release_;
};

}  // namespace rill
