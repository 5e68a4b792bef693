// The GGUF format: named arrays, quantised ones among them, and metadata.
#pragma once

#include <variant>

#include "rill/io/load.h"
#include "rill/io/sink.h"

namespace rill::io {

/// A number, bool or list of such as an array, a string, or a list of strings.
using GgufValue = std::variant<Array, std::string, std::vector<std::string>>;
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

struct Gguf {
  NamedArrays arrays;
  GgufMetadata metadata;
};

/// Versions 2 and 3. Q4_0, Q4_1 and Q8_0 arrays load as three: packed weights under the name of
/// the array, and "scales" and "biases" in place of its ending "weight", for dequantize with
/// group_size 32; Q2_K, Q4_K and Q6_K as float16. Throws file_error for what is no such file and
/// for other quantised formats.
Gguf load_gguf(const Ref<Source>& source, StreamOrDevice s = {});

/// Evaluates and writes the arrays as version 3: float16, bfloat16, float32, float64 and signed
/// integers. Metadata arrays are 0-d or 1-d, of any dtype but float16, bfloat16 and complex64.
void save_gguf(Sink& sink, const NamedArrays& arrays, const GgufMetadata& metadata = {});

}  // namespace rill::io
