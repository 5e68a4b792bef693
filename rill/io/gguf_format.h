// The numbers of the GGUF format, for its reader and its writer.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "rill/io/load.h"

namespace rill::io::gguf {

inline constexpr std::string_view magic = "GGUF";
inline constexpr uint64_t default_alignment = 32;
inline constexpr const char* alignment_key = "general.alignment";

/// Types of metadata values beside those in `value_types`.
inline constexpr uint32_t string_value = 8;
inline constexpr uint32_t list_value = 9;

struct Code {
  uint32_t code;
  Dtype dtype;
};

inline constexpr Code value_types[] = {
    {0, Dtype::uint8},   {1, Dtype::int8},   {2, Dtype::uint16},   {3, Dtype::int16},
    {4, Dtype::uint32},  {5, Dtype::int32},  {6, Dtype::float32},  {7, Dtype::bool_},
    {10, Dtype::uint64}, {11, Dtype::int64}, {12, Dtype::float64},
};

inline constexpr Code array_types[] = {
    {0, Dtype::float32}, {1, Dtype::float16}, {24, Dtype::int8},    {25, Dtype::int16},
    {26, Dtype::int32},  {27, Dtype::int64},  {28, Dtype::float64}, {30, Dtype::bfloat16},
};

struct Quantised {
  uint32_t code;
  Stored stored;
};
inline constexpr Quantised quantised_types[] = {
    {2, Stored::gguf_q4_0},  {3, Stored::gguf_q4_1},  {8, Stored::gguf_q8_0},
    {10, Stored::gguf_q2_k}, {12, Stored::gguf_q4_k}, {14, Stored::gguf_q6_k},
};

template <size_t N>
std::optional<Dtype> dtype_of(const Code (&table)[N], uint32_t code) {
  for (const Code& row : table) {
    if (row.code == code) return row.dtype;
  }
  return std::nullopt;
}
template <size_t N>
std::optional<uint32_t> code_of(const Code (&table)[N], Dtype dtype) {
  for (const Code& row : table) {
    if (row.dtype == dtype) return row.code;
  }
  return std::nullopt;
}

}  // namespace rill::io::gguf
