// NumPy's formats: one array (.npy), and a zip archive of them (.npz).
#pragma once

#include "rill/io/load.h"
#include "rill/io/sink.h"

namespace rill::io {

/// What the header of an npy file says.
struct NpyHeader {
  StoredArray array;  // `shape` reversed if `fortran_order`
  bool fortran_order = false;
};

/// Versions 1 to 3, both byte orders; complex128 becomes complex64, two-byte void (as MLX and
/// ml_dtypes write it) is bfloat16. Throws std::invalid_argument for a dtype that Rill lacks, and
/// file_error for what is no npy file.
NpyHeader read_npy_header(const Source& source);

Array load_npy(const Ref<Source>& source, const NpyHeader& header, StreamOrDevice s = {});
Array load_npy(const Ref<Source>& source, StreamOrDevice s = {});
/// The members of a zip archive, in its order; their names lose the ending ".npy". Checks their
/// checksums when the elements are read.
NamedArrays load_npz(const Ref<Source>& source, StreamOrDevice s = {});

/// Evaluates the array and writes it as version 1 (2 for a long header), in row-major order.
void save_npy(Sink& sink, const Array& array);
void save_npz(Sink& sink, const NamedArrays& arrays, bool compressed);

/// The array in row-major order, evaluated.
Array packed(const Array& array);

}  // namespace rill::io
