// The rules by which one application of an operation becomes many, against one after the other.
#include <gtest/gtest.h>

#include "rill/ops/conv.h"
#include "rill/ops/fft.h"
#include "rill/ops/shape_attrs.h"
#include "rill/rill.h"

namespace rill {
namespace {

constexpr int64_t batch = 3;

Array numbers(const Shape& shape, Dtype dtype, double step) {
  Array x = arange(int64_t{0}, element_count(shape), int64_t{1}, Dtype::float32) * step;
  return astype(reshape(sin(x), shape), dtype);
}

Array at(const Array& x, int64_t index) {
  Shape start(x.ndim(), 0);
  Shape size = x.shape();
  start[0] = index;
  size[0] = 1;
  return squeeze(slice(x, start, Shape(x.ndim(), 1), size), Axes{0});
}

/// Applies the rule of the node of `apply`, whose operands are those of the batch where given.
void expect_same(const std::function<Array(const Inputs&)>& apply, const Inputs& inputs,
                 const SmallVector<bool, 2>& batched) {
  auto one = [&](int64_t index) {
    Inputs operands;
    for (size_t i = 0; i < inputs.size(); ++i) {
      operands.push_back(batched[i] ? at(inputs[i], index) : inputs[i]);
    }
    return apply(operands);
  };
  Array example = one(0);
  Node& node = example.node();
  ASSERT_NE(node.op.vmap, nullptr);
  Array together =
      node.op.vmap({inputs, std::span(batched.begin(), batched.end()), batch, node})[0];
  ASSERT_EQ(together.dtype(), example.dtype());
  for (int64_t index = 0; index < batch; ++index) {
    Array difference = max(abs(at(together, index) - one(index)), {}, false);
    eval({difference});
    EXPECT_LT(*difference.data<float>(), 1e-4) << node.op.name << " " << index;
  }
}

TEST(VmapRules, OfFourierTransforms) {
  for (int kind = 0; kind < 4; ++kind) {
    auto apply = [&](const Inputs& x) {
      switch (kind) {
        case 0: return fft::fftn(x[0], {}, Axes{0});
        case 1: return fft::rfftn(x[0], {}, Axes{0});
        case 2: return fft::fftn(real(x[0]), {}, Axes{1});
        default: return fft::irfftn(x[0], {}, Axes{1});
      }
    };
    Dtype dtype = kind == 1 || kind == 2 ? Dtype::float32 : Dtype::complex64;
    expect_same(apply, {numbers({batch, 6, 5}, dtype, 0.7)}, {true});
  }
}

TEST(VmapRules, OfConvolutions) {
  for (int64_t groups : {1, 2}) {
    ConvGeometry geometry;
    geometry.groups = groups;
    geometry.stride = {2};
    auto apply = [&](const Inputs& in) { return conv_general(in[0], in[1], geometry); };
    Shape x = {2, 7, 6, 4};
    Shape w = {6, 3, 2, 4 / groups};
    auto many = [](Shape shape) {
      shape.insert(shape.begin(), batch);
      return shape;
    };
    for (int which = 1; which < 4; ++which) {
      bool first = which & 1;
      bool second = which & 2;
      expect_same(apply,
                  {numbers(first ? many(x) : x, Dtype::float32, 0.3),
                   numbers(second ? many(w) : w, Dtype::float32, 0.2)},
                  {first, second});
    }
  }
}

}  // namespace
}  // namespace rill
