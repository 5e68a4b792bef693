#include "rill/io/load.h"

#include <bit>
#include <cstring>

#include "rill/io/gguf_blocks.h"
#include "rill/ops/derivatives.h"
#include "rill/runtime/parallel.h"

namespace rill::io {

namespace {

constexpr int64_t grain = 1 << 16;  // elements of a chunk

template <class Bits>
Bits swap_bytes(Bits bits) {
  if constexpr (sizeof(Bits) == 2) return __builtin_bswap16(bits);
  else if constexpr (sizeof(Bits) == 4) return __builtin_bswap32(bits);
  else return __builtin_bswap64(bits);
}

template <class Bits>
void swap_all(void* data, int64_t count) {
  auto* numbers = static_cast<Bits*>(data);
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) numbers[i] = swap_bytes(numbers[i]);
  });
}

void swap_numbers(Dtype dtype, void* data, int64_t count) {
  int parts = is_complex(dtype) ? 2 : 1;
  int size = size_of(dtype) / parts;
  if (size == 2) swap_all<uint16_t>(data, count);
  if (size == 4) swap_all<uint32_t>(data, count * parts);
  if (size == 8) swap_all<uint64_t>(data, count);
}

void narrow(const void* from, bool swapped, float* to, int64_t count) {
  const auto* numbers = static_cast<const uint64_t*>(from);
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint64_t bits = swapped ? swap_bytes(numbers[i]) : numbers[i];
      to[i] = static_cast<float>(std::bit_cast<double>(bits));
    }
  });
}

void normalize_booleans(void* data, int64_t count) {
  auto* bytes = static_cast<uint8_t*>(data);
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) bytes[i] = bytes[i] != 0;
  });
}

bool is_read_in_place(Stored stored) {
  return stored == Stored::plain || stored == Stored::swapped || stored == Stored::boolean;
}

Ref<Buffer> read_block(const LoadAttrs& attrs) {
  Ref<Buffer> block = Buffer::allocate(static_cast<size_t>(attrs.bytes));
  attrs.source->read(attrs.offset, attrs.bytes, block->data());
  return block;
}

void fill(const LoadAttrs& attrs, Output& out) {
  if (attrs.stored == Stored::plain && attrs.offset == 0) {
    if (Ref<Buffer> block = attrs.source->memory()) return out.place(std::move(block));
  }
  if (is_read_in_place(attrs.stored)) {
    out.place(read_block(attrs));
    if (attrs.stored == Stored::swapped) swap_numbers(out.dtype, out.data, out.size);
    if (attrs.stored == Stored::boolean) normalize_booleans(out.data, out.size);
    return;
  }
  Ref<Buffer> block = read_block(attrs);
  out.place(Buffer::allocate(out.bytes()));
  if (attrs.stored == Stored::complex128 || attrs.stored == Stored::swapped_complex128) {
    narrow(block->data(), attrs.stored == Stored::swapped_complex128,
           reinterpret_cast<float*>(out.data), 2 * out.size);
  } else {
    expand_blocks(attrs.stored, static_cast<const uint8_t*>(block->data()),
                  reinterpret_cast<float16*>(out.data), out.size);
  }
}

void run_load(const Launch& launch) {
  const auto& attrs = launch.attrs<LoadAttrs>();
  fill(attrs, launch.out());
  attrs.source->end_read();
}

void run_load_quantized(const Launch& launch) {
  const auto& attrs = launch.attrs<LoadAttrs>();
  Ref<Buffer> block = read_block(attrs);
  for (uint32_t i = 0; i < 3; ++i) {
    Output& out = launch.out(i);
    out.place(Buffer::allocate(out.bytes()));
  }
  repack_blocks(attrs.stored, static_cast<const uint8_t*>(block->data()), launch.out(1).size,
                {reinterpret_cast<uint32_t*>(launch.out(0).data),
                 reinterpret_cast<float16*>(launch.out(1).data),
                 reinterpret_cast<float16*>(launch.out(2).data)});
  attrs.source->end_read();
}

LoadAttrs promised(const Ref<Source>& source, const StoredArray& what) {
  require<file_error>(what.offset >= 0 && what.bytes >= 0 && what.bytes <= source->size() &&
                          what.offset <= source->size() - what.bytes,
                      "[load] {} is cut or corrupt: an array lies at bytes {} to {} of {}",
                      source->name(), what.offset, what.offset + what.bytes, source->size());
  source->promise_read();
  return {SourceField(source), what.stored, what.offset, what.bytes};
}

}  // namespace

const OpInfo load_op{
    .name = "load", .vjp = no_gradient, .jvp = no_tangent, .kernels = {{run_load}}};
const OpInfo load_quantized_op{.name = "load_quantized",
                               .vjp = no_gradient,
                               .jvp = no_tangent,
                               .kernels = {{run_load_quantized}}};

int64_t stored_bytes(const Source& source, const Shape& shape, int64_t item) {
  bool fits = shape.size() <= 64;
  int64_t bytes = item;
  for (int64_t size : shape) {
    // Zero sizes are no excuse for the others: strides are products of any of them.
    int64_t factor = std::max<int64_t>(size, 1);
    fits = fits && size >= 0 && !__builtin_mul_overflow(bytes, factor, &bytes);
  }
  require<file_error>(fits, "[load] {} has an array of the impossible shape {}", source.name(),
                      shape);
  for (int64_t size : shape) bytes = size == 0 ? 0 : bytes;
  return bytes;
}

Array load_array(const Ref<Source>& source, const StoredArray& what, StreamOrDevice s) {
  return make_array(load_op, to_stream(s), what.dtype, what.shape, {}, promised(source, what));
}

Arrays load_quantized(const Ref<Source>& source, const StoredArray& what, StreamOrDevice s) {
  int64_t per_word = what.stored == Stored::gguf_q8_0 ? 4 : 8;
  Shape words = what.shape;
  words.back() /= per_word;
  Shape groups = what.shape;
  groups.back() /= 32;
  std::vector<Output> outputs;
  outputs.emplace_back(Dtype::uint32, words);
  outputs.emplace_back(Dtype::float16, groups);
  outputs.emplace_back(Dtype::float16, groups);
  return make_arrays(load_quantized_op, to_stream(s), std::move(outputs), {},
                     promised(source, what));
}

}  // namespace rill::io
