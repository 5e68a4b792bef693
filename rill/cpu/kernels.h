// What kernel files share.
#pragma once

#include "rill/cpu/copy.h"
#include "rill/graph/op.h"

namespace rill {

inline void set_cpu_kernel(const OpInfo& op, Kernel kernel) {
  op.kernels[static_cast<int>(DeviceType::cpu)] = kernel;
}

/// Row-major memory for an output. One that a loop has placed already stays where it is.
inline void allocate(Output& out) {
  if (!out.buffer) out.place(Buffer::allocate(out.bytes()));
}

/// Whether nobody but this launch can see the operand's block, so that it may be overwritten.
inline bool is_last_use(const Launch& launch, size_t i) {
  const Array& input = launch.inputs[i];
  const Output& in = input.output();
  return in.buffer && in.buffer->owned() && input.node().use_count() == 1 &&
         in.buffer->reference_count() == 1;
}

/// Copies `in` to the row-major memory at `dst`.
inline void copy_row_major(const Output& in, void* dst) {
  copy_strided(size_of(in.dtype), in.data, in.shape, in.strides, dst);
}

/// The elements of an operand in row-major order: its own memory, or that of a copy.
class RowMajor {
 public:
  explicit RowMajor(const Output& in) {
    if (in.row_major) {
      data_ = in.data;
    } else {
      copy_ = Buffer::allocate(in.bytes());
      copy_row_major(in, copy_->data());
      data_ = static_cast<const char*>(copy_->data());
    }
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  const char* data_;
  Ref<Buffer> copy_;
};

}  // namespace rill
