// The safetensors format: named arrays and string metadata.
#pragma once

#include "rill/io/load.h"
#include "rill/io/sink.h"

namespace rill::io {

using StringMetadata = std::vector<std::pair<std::string, std::string>>;

struct Safetensors {
  NamedArrays arrays;
  StringMetadata metadata;
};

/// 8-bit floats F8_E4M3 and F8_E8M0 load as uint8. Throws file_error for what is no such file, an
/// array outside of the file among it, and for element types that Rill lacks.
Safetensors load_safetensors(const Ref<Source>& source, StreamOrDevice s = {});

/// Evaluates and writes the arrays. Those with larger elements come first, so that all are aligned;
/// the header is padded to a multiple of 8 bytes.
void save_safetensors(Sink& sink, const NamedArrays& arrays, const StringMetadata& metadata = {});

}  // namespace rill::io
