// The CPU backend: always there.
#pragma once

namespace rill {

/// Puts the CPU kernels into the operations and makes the backend known. Once a process; done when
/// the library is loaded.
void start_cpu_backend();

// Kernels by family, one function each source file (cpu/kernels_*.cpp).
void add_creation_kernels();
void add_shape_kernels();
void add_reduce_kernels();
void add_index_kernels();
void add_sort_kernels();
void add_partition_kernels();
void add_scan_kernels();
void add_matmul_kernels();
void add_linalg_kernels();
void add_spectrum_kernels();
void add_random_kernels();
void add_fft_kernels();
void add_conv_kernels();
void add_fast_kernels();
void add_attention_kernels();
void add_attention_gradient_kernel();
void add_control_kernels();
void add_quantized_kernels();
void add_special_matmul_kernels();

}  // namespace rill
