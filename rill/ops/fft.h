// Discrete Fourier transforms. The results are complex64 or, of irfft, float32; float64 operands of
// transforms of real numbers are computed in double precision and rounded once.
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// complex: complex to complex. half: real to the first n / 2 + 1 frequencies. full: real to all
/// frequencies. real: the first n / 2 + 1 frequencies to real (those of a complex result are not
/// looked at: the imaginary parts at 0 and n / 2 count as 0).
enum class FftKind : uint8_t { complex, half, full, real };

/// sum over j of x[j] * exp(-2 pi i j k / n) * scale along each of `axes` (the scale once); the
/// conjugate angles if `inverse`. Kinds other than complex have one axis, `n` its real size.
struct FftAttrs {
  FftKind kind;
  bool inverse;
  Axes axes;
  int64_t n;
  double scale;
  bool operator==(const FftAttrs&) const = default;
};

extern const OpInfo fft_op;

namespace fft {

/// Which direction divides by the number of points; ortho: both, by its square root.
enum class Norm : uint8_t { backward, ortho, forward };

/// The transforms over `axes` (by default all), each axis cut or padded with zeros to the size in
/// `sizes`, which come with axes. No axes: the operand itself. Real transforms have their real
/// axis last among `axes`; sizes are those of the real side. Throws std::invalid_argument for a
/// 0-d operand, an axis that is wrong or given twice, and for sizes below 1.
Array fftn(const Array& a, const std::optional<Shape>& sizes = {},
           const std::optional<Axes>& axes = {}, Norm norm = Norm::backward, StreamOrDevice s = {});
Array ifftn(const Array& a, const std::optional<Shape>& sizes = {},
            const std::optional<Axes>& axes = {}, Norm norm = Norm::backward,
            StreamOrDevice s = {});
Array rfftn(const Array& a, const std::optional<Shape>& sizes = {},
            const std::optional<Axes>& axes = {}, Norm norm = Norm::backward,
            StreamOrDevice s = {});
Array irfftn(const Array& a, const std::optional<Shape>& sizes = {},
             const std::optional<Axes>& axes = {}, Norm norm = Norm::backward,
             StreamOrDevice s = {});

/// The frequencies of the points of a transform of `n` points that are `d` apart; `rfftfreq` those
/// of its first half.
Array fftfreq(int64_t n, double d = 1, StreamOrDevice s = {}, Dtype dtype = Dtype::float32);
Array rfftfreq(int64_t n, double d = 1, StreamOrDevice s = {}, Dtype dtype = Dtype::float32);

/// Moves frequency 0 to the middle along `axes` (by default all), and back.
Array fftshift(const Array& a, const std::optional<Axes>& axes = {}, StreamOrDevice s = {});
Array ifftshift(const Array& a, const std::optional<Axes>& axes = {}, StreamOrDevice s = {});

}  // namespace fft
}  // namespace rill
