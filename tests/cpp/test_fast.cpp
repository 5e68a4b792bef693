// The kernels of mx.fast on every instruction set, and their rules for batches. What they compute
// is compared with NumPy by tests/python/test_fast.py.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "rill/cpu/targets.h"
#include "rill/rill.h"
#include "rill/transforms/captured.h"

#include <hwy/targets.h>

namespace rill {
namespace {

Array normal(const Shape& shape, uint64_t seed, Dtype dtype = Dtype::float32) {
  return astype(random::normal(shape, Dtype::float32, 0, 1, random::key(seed)), dtype);
}

std::vector<char> bytes_of(Array x) {
  x = contiguous(x);
  eval({x});
  std::vector<char> bytes(x.bytes());
  std::memcpy(bytes.data(), x.output().data, bytes.size());
  return bytes;
}

double largest(const Array& x) {
  Array top = max(abs(astype(x, Dtype::float64)));
  eval({top});
  return *top.data<double>();
}

void expect_near(const Array& actual, const Array& expected, double tolerance) {
  ASSERT_EQ(actual.shape(), expected.shape());
  ASSERT_EQ(actual.dtype(), expected.dtype());
  if (actual.size() == 0) return;
  Array distance = astype(actual, Dtype::float64) - astype(expected, Dtype::float64);
  EXPECT_LE(largest(distance), tolerance * (1 + largest(expected)));
}

struct Case {
  const char* name;
  std::function<Array(Dtype)> build;
  bool same_bits = true;  // on every instruction set
};

std::vector<Case> cases() {
  using namespace fast;
  auto attention = [](Dtype t, int64_t queries, bool causal) {
    return scaled_dot_product_attention(normal({2, 4, queries, 24}, 1, t),
                                        normal({2, 2, 301, 24}, 2, t),
                                        normal({2, 2, 301, 40}, 3, t), 0.2, causal);
  };
  return {
      {"rms_norm",
       [](Dtype t) { return rms_norm(normal({9, 333}, 1, t), normal({333}, 2, t), 1e-5); }},
      {"layer_norm",
       [](Dtype t) {
         return layer_norm(normal({9, 333}, 1, t), normal({333}, 2, t), normal({333}, 3, t), 1e-5);
       }},
      {"rope",
       [](Dtype t) { return rope(normal({2, 3, 9, 40}, 1, t), 38, false, 1e4, 1, Array(3)); }},
      {"traditional rope",
       [](Dtype t) { return rope(normal({2, 3, 9, 40}, 1, t), 38, true, 1e4, 1, Array(3)); }},
      {"cross_entropy",
       [](Dtype t) {
         return cross_entropy(normal({50, 99}, 1, t), arange(int64_t{0}, 50, 1, Dtype::int64));
       }},
      {"attention", [=](Dtype t) { return attention(t, 77, false); }},
      {"causal attention", [=](Dtype t) { return attention(t, 77, true); }},
      // Products of few rows are summed vector by vector.
      {"attention of few", [=](Dtype t) { return attention(t, 3, false); }, false},
  };
}

class FastOnTarget : public testing::TestWithParam<Dtype> {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(FastOnTarget, InstructionSetsAgree) {
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  for (const Case& each : cases()) {
    std::vector<char> first;
    Array expected = each.build(GetParam());
    for (int64_t rest = supported; rest != 0; rest &= rest - 1) {
      hwy::SetSupportedTargetsForTest(rest & -rest);
      Array actual = each.build(GetParam());
      std::vector<char> bytes = bytes_of(actual);
      expect_near(actual, expected, is_half(GetParam()) ? 0.01 : 1e-5);
      if (first.empty()) first = bytes;
      EXPECT_TRUE(!each.same_bits || bytes == first)
          << each.name << " on " << hwy::TargetName(rest & -rest);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST_P(FastOnTarget, GradientsFollowTheComposedFunction) {
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  Dtype t = GetParam();
  double tolerance = is_half(t) ? 0.04 : 1e-4;
  Arrays operands{normal({2, 4, 77, 24}, 1, t), normal({2, 2, 150, 24}, 2, t),
                  normal({2, 2, 150, 40}, 3, t)};
  Array g = normal({2, 4, 77, 40}, 4, t);
  auto fused = [](const Arrays& x) -> Arrays {
    return {fast::scaled_dot_product_attention(x[0], x[1], x[2], 0.2, true)};
  };
  auto composed = [](const Arrays& x) -> Arrays {
    return {fast::composed_attention(x, AttentionAttrs{0.2, AttentionMask::causal, false})};
  };
  Arrays expected = vjp(composed, operands, {g}).second;
  for (int64_t rest = supported; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    Arrays actual = vjp(fused, operands, {g}).second;
    for (size_t i = 0; i < 3; ++i) expect_near(actual[i], expected[i], tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, FastOnTarget,
                         testing::Values(Dtype::float32, Dtype::float16, Dtype::bfloat16));

/// The rule of an operation against the operation on one after the other.
void check_batch(const Array& example, const std::vector<bool>& batched, double tolerance = 1e-5) {
  constexpr int64_t batch = 3;
  const Node& node = example.node();
  Inputs inputs;
  std::unique_ptr<bool[]> flags(new bool[batched.size()]);
  for (size_t i = 0; i < batched.size(); ++i) {
    flags[i] = batched[i];
    Array x = node.inputs[i];
    if (batched[i]) {
      Arrays copies;
      for (int64_t k = 0; k < batch; ++k) {
        bool whole = is_integer(x.dtype());
        copies.push_back(whole ? x + Array(k) : x + normal(x.shape(), 100 + k, x.dtype()) * 0.1);
      }
      x = stack(copies, 0);
    }
    inputs.push_back(x);
  }
  Arrays together = node.op.vmap({inputs, {flags.get(), batched.size()}, batch, node});
  for (int64_t k = 0; k < batch; ++k) {
    Inputs own;
    for (size_t i = 0; i < batched.size(); ++i) {
      own.push_back(batched[i] ? take(inputs[i], Array(k), 0) : inputs[i]);
    }
    Arrays expected = apply_again(node, own);
    ASSERT_EQ(together.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      expect_near(take(together[i], Array(k), 0), expected[i], tolerance);
    }
  }
}

TEST(FastBatches, Norms) {
  Array x = normal({4, 5, 16}, 1);
  Array w = normal({16}, 2);
  Array b = normal({16}, 3);
  Array y = fast::layer_norm(x, w, b, 1e-5);
  check_batch(y, {true, false, false});
  check_batch(y, {true, true, false});
  check_batch(y, {false, false, true});
  check_batch(fast::rms_norm(x, w, 1e-5), {true, true});
  auto f = [](const Arrays& in) -> Arrays { return {fast::layer_norm(in[0], in[1], in[2], 1e-5)}; };
  Array back = vjp(f, {x, w, b}, {normal(x.shape(), 4)}).second[1];
  ASSERT_EQ(&back.node().op, &norm_gradient_op);
  check_batch(back, {true, false, false, true});
  check_batch(back, {false, false, false, true});
  check_batch(back, {true, true, false, false});
}

TEST(FastBatches, Rope) {
  Array x = normal({2, 5, 16}, 1);
  Array freqs = abs(normal({8}, 2)) + 1.0;
  Array offsets = astype(arange(int64_t{3}, int64_t{5}, int64_t{1}, Dtype::int64), Dtype::int64);
  Array y = fast::rope(x, 16, false, {}, 1, offsets, freqs);
  check_batch(y, {true, false, false});
  check_batch(y, {true, true, false});
  check_batch(y, {false, false, true});
  check_batch(fast::rope(x, 16, true, 100.0, 1, Array(2)), {true, true});
  check_batch(fast::rope(x, 16, true, 100.0, 1, Array(2)), {true, false});
}

TEST(FastBatches, Attention) {
  Array q = normal({2, 4, 5, 8}, 1);
  Array k = normal({2, 2, 7, 8}, 2);
  Array v = normal({2, 2, 7, 6}, 3);
  auto build = [](const Arrays& x) -> Arrays {
    return {fast::scaled_dot_product_attention(x[0], x[1], x[2], 0.3, false, x[3], x[4])};
  };
  for (const Shape& mask_shape : {Shape{5, 7}, Shape{2, 1, 1, 7}}) {
    Arrays operands{q, k, v, normal(mask_shape, 4), normal({4}, 5)};
    Array y = build(operands)[0];
    check_batch(y, {true, true, true, false, false});
    check_batch(y, {true, false, false, true, false});
    check_batch(y, {false, true, false, false, true});
    Array back = vjp([&](const Arrays& x) { return build({x[0], x[1], x[2], operands[3], x[3]}); },
                     {q, k, v, operands[4]}, {normal(y.shape(), 6)})
                     .second[0];
    ASSERT_EQ(&back.node().op, &attention_gradient_op);
    check_batch(back, {false, false, false, false, false, true, false, false});
  }
}

TEST(FastBatches, CrossEntropy) {
  Array logits = normal({4, 9}, 1);
  Array targets = arange(int64_t{0}, int64_t{4}, int64_t{1}, Dtype::int64);
  check_batch(fast::cross_entropy(logits, targets), {true, false});
  check_batch(fast::cross_entropy(logits, targets), {true, true});
  Array back = vjp([&](const Arrays& x) -> Arrays { return {fast::cross_entropy(x[0], targets)}; },
                   {logits}, {normal({4}, 2)})
                   .second[0];
  check_batch(back, {true, false, true});
}

}  // namespace
}  // namespace rill
