#include "rill/ops/fft.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Array apply(const FftAttrs& attrs, const Array& x, Shape shape, Stream stream) {
  Dtype dtype = attrs.kind == FftKind::real ? Dtype::float32 : Dtype::complex64;
  return make_array(fft_op, stream, dtype, std::move(shape), {x}, attrs);
}

/// 1 at the frequencies that stand for themselves, `other` at those that also stand for the
/// conjugate ones; a column along the transformed axis of x.
Array half_weights(const FftAttrs& attrs, const Array& x, float other) {
  int64_t half = attrs.n / 2 + 1;
  Shape shape(x.ndim(), 1);
  shape[attrs.axes[0]] = half;
  Array k = reshape(arange(int64_t{0}, half, int64_t{1}, Dtype::int64), shape);
  Array alone = equal(remainder(multiply(k, Array(int64_t{2})), Array(attrs.n)), Array(int64_t{0}));
  return where(alone, Array(1.0f), Array(other));
}

/// The transforms are linear, so the cotangent of the operand is the adjoint transform of that of
/// the result: the opposite angles, and where half of the spectrum stands for all, its weights.
Arrays fft_vjp(const VjpArgs& args) {
  FftAttrs attrs = args.attrs.as<FftAttrs>();
  const Array& x = args.inputs[0];
  const Array& g = args.cotangents[0];
  Stream stream = to_stream();
  attrs.inverse = !attrs.inverse;
  switch (attrs.kind) {
    case FftKind::complex: return {apply(attrs, g, x.shape(), stream)};
    case FftKind::full:
      attrs.kind = FftKind::complex;
      return {astype(real(apply(attrs, g, x.shape(), stream)), x.dtype())};
    case FftKind::half:
      attrs.kind = FftKind::real;
      return {astype(apply(attrs, multiply(g, half_weights(attrs, g, 0.5f)), x.shape(), stream),
                     x.dtype())};
    case FftKind::real:
      attrs.kind = FftKind::half;
      return {multiply(apply(attrs, g, x.shape(), stream), half_weights(attrs, x, 2.0f))};
  }
  RILL_ASSERT(false);
}

Arrays fft_jvp(const JvpArgs& args) {
  return {apply(args.attrs.as<FftAttrs>(), args.tangents[0], args.outputs[0].shape(), to_stream())};
}

Arrays fft_vmap(const VmapArgs& args) {
  FftAttrs attrs = args.node.attrs.as<FftAttrs>();
  for (int& axis : attrs.axes) ++axis;
  Shape shape = args.node.output(0).shape;
  shape.insert(shape.begin(), args.batch);
  return {apply(attrs, args.inputs[0], std::move(shape), to_stream())};
}

double fft_cost(const Node& node) {
  double points = static_cast<double>(std::max(node.output(0).size, node.inputs[0].size()));
  return 1000 + 0.5 * points * std::log2(points + 2);
}

}  // namespace

const OpInfo fft_op{
    .name = "fft", .vjp = fft_vjp, .jvp = fft_jvp, .vmap = fft_vmap, .cost = fft_cost};

namespace fft {

namespace {

enum class Family : uint8_t { complex, to_half, from_half };

/// Cut or padded with zeros to `size` along `axis`.
Array fitted(const Array& x, int axis, int64_t size) {
  Shape shape = x.shape();
  if (shape[axis] == size) return x;
  Shape zero(x.ndim(), 0);
  if (size < shape[axis]) {
    shape[axis] = size;
    return slice(x, zero, Shape(x.ndim(), 1), shape);
  }
  Shape high = zero;
  high[axis] = size - shape[axis];
  return pad(x, zero, high, Array(0.0f));
}

struct Extent {
  Axes axes;
  Shape sizes;  // of the real side
};

Extent extent_of(const char* name, Family family, const Array& a, const std::optional<Shape>& sizes,
                 const std::optional<Axes>& axes) {
  require(a.ndim() > 0, "[{}] expected at least 1 dimension", name);
  require(!sizes || axes, "[{}] sizes are given without axes", name);
  Extent extent;
  for (int i = 0; i < (axes ? axes->ssize() : a.ndim()); ++i) {
    extent.axes.push_back(axes ? normalize_axis(name, (*axes)[i], a.ndim()) : i);
  }
  normalize_axes(name, extent.axes, a.ndim());  // none twice
  require(!sizes || sizes->size() == extent.axes.size(), "[{}] {} sizes for {} axes", name,
          sizes ? sizes->size() : 0, extent.axes.size());
  for (size_t i = 0; i < extent.axes.size(); ++i) {
    int64_t size = sizes ? (*sizes)[i] : a.shape(extent.axes[i]);
    bool halved = family == Family::from_half && i + 1 == extent.axes.size();
    if (halved && !sizes) size = 2 * (size - 1);
    require(size > 0, "[{}] cannot transform {} points: array of shape {}", name, size, a.shape());
    extent.sizes.push_back(size);
  }
  return extent;
}

double scale_of(const Shape& sizes, Norm norm, bool inverse) {
  double points = 1;
  for (int64_t size : sizes) points *= static_cast<double>(size);
  if (norm == Norm::ortho) return 1 / std::sqrt(points);
  return (norm == Norm::backward) == inverse ? 1 / points : 1;
}

Array from_half(Array x, FftAttrs attrs, const Extent& extent) {
  int last = extent.axes.back();
  x = astype(x, Dtype::complex64);
  if (extent.axes.size() > 1) {
    attrs.axes = Axes(extent.axes.begin(), extent.axes.end() - 1);
    x = apply(attrs, x, x.shape(), to_stream());
    attrs.scale = 1;
  }
  Shape shape = x.shape();
  shape[last] = extent.sizes.back();
  attrs.axes = {last};
  attrs.kind = FftKind::real;
  return apply(attrs, x, shape, to_stream());
}

/// The real axis first, then the others, on what has become complex.
Array from_real(const Array& a, FftAttrs attrs, const Extent& extent, FftKind kind) {
  int last = extent.axes.back();
  Array x = a.dtype() == Dtype::float64 ? a : astype(a, Dtype::float32);
  Shape shape = x.shape();
  if (kind == FftKind::half) shape[last] = attrs.n / 2 + 1;
  FftAttrs first = attrs;
  first.kind = kind;
  first.axes = {last};
  x = apply(first, x, shape, to_stream());
  if (extent.axes.size() == 1) return x;
  attrs.axes = Axes(extent.axes.begin(), extent.axes.end() - 1);
  attrs.scale = 1;
  return apply(attrs, x, shape, to_stream());
}

Array transform(const char* name, Family family, bool inverse, const Array& a,
                const std::optional<Shape>& sizes, const std::optional<Axes>& axes, Norm norm,
                const StreamOrDevice& s) {
  RILL_RECORDED(transform, name, family, inverse, a, sizes, axes, norm, s);
  Extent extent = extent_of(name, family, a, sizes, axes);
  if (extent.axes.empty()) return a;
  StreamScope scope(to_stream(s));
  Array x = a;
  if (family == Family::to_half && is_complex(x.dtype())) x = real(x);
  for (size_t i = 0; i < extent.axes.size(); ++i) {
    bool halved = family == Family::from_half && i + 1 == extent.axes.size();
    x = fitted(x, extent.axes[i], halved ? extent.sizes[i] / 2 + 1 : extent.sizes[i]);
  }
  FftAttrs attrs{FftKind::complex, inverse, extent.axes, extent.sizes.back(),
                 scale_of(extent.sizes, norm, inverse)};
  if (family == Family::from_half) return from_half(x, attrs, extent);
  if (family == Family::to_half) return from_real(x, attrs, extent, FftKind::half);
  if (!is_complex(x.dtype())) return from_real(x, attrs, extent, FftKind::full);
  return apply(attrs, x, x.shape(), to_stream());
}

/// 0, 1, ..., with the upper part of `n` continued from below 0 where `both`, over n * d.
Array frequencies(const char* name, int64_t n, double d, bool both, const StreamOrDevice& s,
                  Dtype dtype) {
  require(n > 0, "[{}] expected n > 0, got {}", name, n);
  require(d != 0, "[{}] expected d other than 0", name);
  require(is_floating(dtype), "[{}] expected a floating dtype, got {}", name, name_of(dtype));
  StreamScope scope(to_stream(s));
  Array step(1 / (static_cast<double>(n) * d), dtype);
  auto from = [dtype](int64_t begin, int64_t end) { return arange(begin, end, int64_t{1}, dtype); };
  if (!both) return from(0, n / 2 + 1) * step;
  return concatenate({from(0, (n + 1) / 2), from(-(n / 2), 0)}) * step;
}

Array shifted(const char* name, const Array& a, const std::optional<Axes>& axes, bool back,
              const StreamOrDevice& s) {
  RILL_RECORDED(shifted, name, a, axes, back, s);
  Axes along;
  Shape shifts;
  for (int i = 0; i < (axes ? axes->ssize() : a.ndim()); ++i) {
    along.push_back(axes ? normalize_axis(name, (*axes)[i], a.ndim()) : i);
    int64_t half = a.shape(along.back()) / 2;
    shifts.push_back(back ? -half : half);
  }
  return roll(a, shifts, along, s);
}

}  // namespace

Array fftn(const Array& a, const std::optional<Shape>& sizes, const std::optional<Axes>& axes,
           Norm norm, StreamOrDevice s) {
  return transform("fftn", Family::complex, false, a, sizes, axes, norm, s);
}
Array ifftn(const Array& a, const std::optional<Shape>& sizes, const std::optional<Axes>& axes,
            Norm norm, StreamOrDevice s) {
  return transform("ifftn", Family::complex, true, a, sizes, axes, norm, s);
}
Array rfftn(const Array& a, const std::optional<Shape>& sizes, const std::optional<Axes>& axes,
            Norm norm, StreamOrDevice s) {
  return transform("rfftn", Family::to_half, false, a, sizes, axes, norm, s);
}
Array irfftn(const Array& a, const std::optional<Shape>& sizes, const std::optional<Axes>& axes,
             Norm norm, StreamOrDevice s) {
  return transform("irfftn", Family::from_half, true, a, sizes, axes, norm, s);
}

Array fftfreq(int64_t n, double d, StreamOrDevice s, Dtype dtype) {
  return frequencies("fftfreq", n, d, true, s, dtype);
}
Array rfftfreq(int64_t n, double d, StreamOrDevice s, Dtype dtype) {
  return frequencies("rfftfreq", n, d, false, s, dtype);
}

Array fftshift(const Array& a, const std::optional<Axes>& axes, StreamOrDevice s) {
  return shifted("fftshift", a, axes, false, s);
}
Array ifftshift(const Array& a, const std::optional<Axes>& axes, StreamOrDevice s) {
  return shifted("ifftshift", a, axes, true, s);
}

}  // namespace fft
}  // namespace rill
