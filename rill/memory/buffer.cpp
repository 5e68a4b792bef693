#include "rill/memory/buffer.h"

#include "rill/memory/allocator.h"

namespace rill {

Ref<Buffer> Buffer::allocate(size_t bytes) {
  void* data = Allocator::host().take(bytes);
  return Ref<Buffer>(new Buffer(data, bytes, true));
}

Ref<Buffer> Buffer::wrap(void* data, size_t bytes, std::function<void()> release) {
  Ref<Buffer> buffer(new Buffer(data, bytes, false));
  buffer->release_ = std::make_unique<std::function<void()>>(std::move(release));
  return buffer;
}

Buffer::~Buffer() {
  if (owned_) {
    Allocator::host().give_back(data_, bytes_);
  } else {
    (*release_)();
  }
}

}  // namespace rill
