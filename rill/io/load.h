// Arrays whose elements are read from a source when they are evaluated.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "rill/graph/context.h"
#include "rill/graph/op.h"
#include "rill/io/source.h"

namespace rill::io {

using NamedArrays = std::vector<std::pair<std::string, Array>>;

/// How elements stand in the file.
enum class Stored : uint8_t {
  plain,       // as in memory
  swapped,     // each number big-endian
  boolean,     // a byte, true unless 0
  complex128,  // becomes complex64
  swapped_complex128,
  gguf_q2_k,  // blocks of 256 elements, become float16
  gguf_q4_k,
  gguf_q6_k,
  gguf_q4_0,  // blocks of 32: three outputs, packed weights, scales and biases
  gguf_q4_1,
  gguf_q8_0,
};

/// Elements of a source.
struct StoredArray {
  Dtype dtype;
  Shape shape;
  Stored stored = Stored::plain;
  int64_t offset = 0;  // of the first byte
  int64_t bytes = 0;   // that the elements take in the source
};

/// The bytes of `shape` elements of `item` bytes. Throws file_error, which names the source, where
/// a size is negative, there are more than 64 dimensions or the number does not fit 63 bits.
int64_t stored_bytes(const Source& source, const Shape& shape, int64_t item);

/// An array that reads its elements on the stream when it is evaluated. Throws file_error now if
/// they reach beyond the source, and on evaluation if they cannot be read.
Array load_array(const Ref<Source>& source, const StoredArray& what, StreamOrDevice s);

/// Packed weights (uint32), scales and biases (float16) of one of the gguf_q formats with three
/// outputs, for dequantize with group_size 32. `what.shape` is that of the elements.
Arrays load_quantized(const Ref<Source>& source, const StoredArray& what, StreamOrDevice s);

extern const OpInfo load_op;            // LoadAttrs; no operands
extern const OpInfo load_quantized_op;  // LoadAttrs; no operands, three outputs

/// A source as a field of attributes: equal if it is the same.
class SourceField {
 public:
  explicit SourceField(Ref<Source> source) : source_(std::move(source)) {}
  const Source& operator*() const { return *source_; }
  const Source* operator->() const { return source_.get(); }
  bool operator==(const SourceField&) const = default;

 private:
  Ref<Source> source_;
};

struct LoadAttrs {
  SourceField source;
  Stored stored;
  int64_t offset;
  int64_t bytes;
  bool operator==(const LoadAttrs&) const = default;
};

}  // namespace rill::io

template <>
struct std::hash<rill::io::SourceField> {
  size_t operator()(const rill::io::SourceField& field) const {
    return std::hash<const void*>{}(&*field);
  }
};
template <>
struct fmt::formatter<rill::io::SourceField> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const rill::io::SourceField& field, Context& context) const {
    return fmt::formatter<std::string>::format(field->name(), context);
  }
};
