// OpenBLAS with LAPACK, loaded at first use.
#pragma once

namespace rill {

/// The address of an OpenBLAS or LAPACK function, named without its "scipy_" prefix
/// ("cblas_dgemm", "spotrf_"). Integers are 32 bits. The library runs in the calling thread only.
/// Throws std::runtime_error when the library or the function is missing.
///
/// OpenBLAS chooses its kernels for the processor; OPENBLAS_CORETYPE in the environment overrides
/// that, here as in any program.
void* openblas_symbol(const char* name);

template <class Function>
Function* openblas(const char* name) {
  return reinterpret_cast<Function*>(openblas_symbol(name));
}

}  // namespace rill
