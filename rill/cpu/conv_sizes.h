// The sizes of a convolution, as if it always had three spatial axes: planes, rows and columns.
#pragma once

#include <array>
#include <cstdint>

#include "rill/ops/conv.h"

namespace rill {

using Triple = std::array<int64_t, 3>;

/// Axes that are not there have size 1 and come first.
struct ConvSizes {
  ConvSizes(const ConvAttrs& attrs, const Shape& x, const Shape& w, const Shape& y)
      : images(x[0]),
        groups(attrs.groups),
        in(x.back() / attrs.groups),
        out(y.back() / attrs.groups),
        input(triple_of(x, 1, x.ssize() - 2, 1)),
        kernel(triple_of(w, 1, x.ssize() - 2, 1)),
        output(triple_of(y, 1, x.ssize() - 2, 1)),
        stride(triple_of(attrs.stride, 0, x.ssize() - 2, 1)),
        low(triple_of(attrs.low, 0, x.ssize() - 2, 0)),
        dilation(triple_of(attrs.dilation, 0, x.ssize() - 2, 1)) {}

  int64_t images;
  int64_t groups;
  int64_t in, out;  // channels of a group
  Triple input, kernel, output, stride, low, dilation;

  /// Products in each sum.
  int64_t depth() const { return kernel[0] * kernel[1] * kernel[2] * in; }
  int64_t places() const { return images * output[0] * output[1] * output[2]; }

  /// How much of an axis `results` results of it see.
  int64_t seen(int axis, int64_t results) const {
    return (results - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
  }

 private:
  /// The values of the spatial axes, from `begin` on; `lacking` for axes that are not there.
  static Triple triple_of(const Shape& values, int begin, int axes, int64_t lacking) {
    Triple result;
    result.fill(lacking);
    for (int i = 0; i < axes; ++i) result[3 - axes + i] = values[begin + i];
    return result;
  }
};

}  // namespace rill
