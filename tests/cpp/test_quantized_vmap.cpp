// The vmap rules of quantised and special products: the same as one application after the other.
#include <gtest/gtest.h>

#include <random>

#include "rill/ops/elementwise.h"
#include "rill/ops/quantized_parts.h"
#include "rill/ops/shape.h"
#include "rill/ops/special_matmul.h"
#include "rill/runtime/eval.h"

namespace rill {
namespace {

constexpr int64_t batch = 3;

/// Values in [low, high), of a shape with the batch in front.
Array drawn(Dtype dtype, Shape shape, double low, double high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> draw(low, high);
  Shape whole{batch};
  whole.append(shape.begin(), shape.end());
  auto block = Buffer::allocate(element_count(whole) * size_of(dtype));
  visit_type(dtype, [&]<class T>(type_tag<T>) {
    if constexpr (!std::is_same_v<T, complex64>) {
      for (int64_t i = 0; i < element_count(whole); ++i) {
        static_cast<T*>(block->data())[i] = static_cast<T>(static_cast<float>(draw(random)));
      }
    }
  });
  return make_computed(dtype, whole, block);
}

std::vector<float> values_of(const Array& x) {
  Array flat = contiguous(astype(x, Dtype::float32));
  eval(flat);
  return {flat.data<float>(), flat.data<float>() + flat.size()};
}

std::vector<Output> outputs_like(const Node& node) {
  std::vector<Output> result;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    result.emplace_back(node.output(i).dtype, node.output(i).shape);
  }
  return result;
}

/// Every choice of batched inputs: the rule against slices. `inputs` have the batch in front.
void check_rule(const Arrays& inputs, const Array& one) {
  const Node& node = one.node();
  ASSERT_EQ(node.inputs.size(), inputs.size()) << node.op.name;
  for (unsigned choice = 1; choice < 1u << inputs.size(); ++choice) {
    bool flags[8];
    Inputs given;
    for (size_t i = 0; i < inputs.size(); ++i) {
      flags[i] = (choice >> i & 1) != 0;
      given.push_back(flags[i] ? inputs[i] : part_of(inputs[i], 0));
    }
    Arrays all = node.op.vmap({given, {flags, inputs.size()}, batch, node});
    ASSERT_EQ(all.size(), node.output_count());
    for (int64_t b = 0; b < batch; ++b) {
      Inputs own;
      for (size_t i = 0; i < inputs.size(); ++i) {
        own.push_back(flags[i] ? part_of(inputs[i], b) : given[i]);
      }
      Arrays expected = make_arrays(node.op, node.stream, outputs_like(node), own, node.attrs);
      for (size_t k = 0; k < all.size(); ++k) {
        ASSERT_EQ(part_of(all[k], b).shape(), expected[k].shape()) << node.op.name;
        std::vector<float> a = values_of(part_of(all[k], b));
        std::vector<float> e = values_of(expected[k]);
        for (size_t i = 0; i < e.size(); ++i) {
          ASSERT_NEAR(a[i], e[i], 1e-4 * (1 + std::abs(e[i]))) << node.op.name << " " << choice;
        }
      }
    }
  }
}

/// The node of the operation on the first of the batch.
Array first_of(const OpInfo& op, std::vector<Output> outputs, const Arrays& inputs, Attrs attrs) {
  Inputs own;
  for (const Array& input : inputs) own.push_back(part_of(input, 0));
  return make_arrays(op, to_stream(), std::move(outputs), own, std::move(attrs))[0];
}

void check(const OpInfo& op, std::vector<Output> outputs, const Arrays& inputs, Attrs attrs) {
  check_rule(inputs, first_of(op, std::move(outputs), inputs, std::move(attrs)));
}

Array indices(int64_t count, int64_t below, unsigned seed) {
  return drawn(Dtype::int64, {count}, static_cast<double>(-below), static_cast<double>(below),
               seed);
}

constexpr Quantization affine{32, 4, QuantizationMode::affine};
constexpr Quantization nvfp4{16, 4, QuantizationMode::nvfp4};
constexpr Dtype f32 = Dtype::float32;

TEST(QuantizedVmap, Conversions) {
  Array w = drawn(f32, {4, 64}, -2, 2, 1);
  Array global = drawn(f32, {}, 1, 3, 2);
  check(quantize_op, {{Dtype::uint32, {4, 8}}, {f32, {4, 2}}, {f32, {4, 2}}}, {w}, affine);
  check(quantize_op, {{Dtype::uint32, {4, 8}}, {Dtype::uint8, {4, 4}}}, {w, global}, nvfp4);
  check(round_to_codes_op, {{f32, {4, 64}}}, {w, global}, nvfp4);
  Array words = drawn(Dtype::uint32, {4, 8}, 0, 4e9, 3);
  check(dequantize_op, {{f32, {4, 64}}},
        {words, drawn(f32, {4, 2}, 0, 1, 4), drawn(f32, {4, 2}, -1, 1, 5)},
        DequantizeAttrs{32, 4, QuantizationMode::affine, f32});
  check(dequantize_op, {{f32, {4, 64}}}, {words, drawn(Dtype::uint8, {4, 4}, 30, 60, 4), global},
        DequantizeAttrs{16, 4, QuantizationMode::nvfp4, f32});
  check(to_fp8_op, {{Dtype::uint8, {4, 64}}}, {w}, {});
  check(from_fp8_op, {{f32, {4}}}, {drawn(Dtype::uint8, {4}, 0, 255, 6)}, {});
}

TEST(QuantizedVmap, Products) {
  const QuantizedProductAttrs attrs{32, 4, QuantizationMode::affine, true};
  check(quantized_matmul_op, {{f32, {5, 6}}},
        {drawn(f32, {5, 64}, -1, 1, 1), drawn(Dtype::uint32, {6, 8}, 0, 4e9, 2),
         drawn(f32, {6, 2}, 0, 1, 3), drawn(f32, {6, 2}, -1, 1, 4)},
        attrs);
  check(gather_qmm_op, {{f32, {7, 5, 6}}},
        {drawn(f32, {2, 5, 64}, -1, 1, 1), drawn(Dtype::uint32, {4, 6, 8}, 0, 4e9, 2),
         drawn(f32, {4, 6, 2}, 0, 1, 3), drawn(f32, {4, 6, 2}, -1, 1, 4), indices(7, 2, 5),
         indices(7, 4, 6)},
        attrs);
}

TEST(SpecialProductVmap, FoldsTheBatch) {
  check(gather_mm_op, {{f32, {7, 5, 6}}},
        {drawn(f32, {2, 5, 8}, -1, 1, 1), drawn(f32, {4, 8, 6}, -1, 1, 2), indices(7, 2, 3),
         indices(7, 4, 4)},
        {});
  check(block_masked_mm_op, {{f32, {40, 50}}},
        {drawn(f32, {40, 64}, -1, 1, 1), drawn(f32, {64, 50}, -1, 1, 2),
         drawn(f32, {2, 2}, 0, 2, 3), drawn(Dtype::bool_, {2, 2}, 0, 2, 4)},
        BlockMaskAttrs{32, true, false, true});
  Array segments = drawn(Dtype::int64, {1, 4, 2}, 0, 8, 5);
  check(segmented_mm_op, {{f32, {1, 4, 5, 6}}},
        {drawn(f32, {1, 5, 8}, -1, 1, 1), drawn(f32, {1, 8, 6}, -1, 1, 2), segments}, {});
  check(segmented_join_op, {{f32, {1, 5, 8}}},
        {drawn(f32, {1, 4, 5, 6}, -1, 1, 1), drawn(f32, {1, 8, 6}, -1, 1, 2), segments}, {});
}

TEST(QuantizedVmap, IndicesOutOfRangeStayErrors) {
  Array a = drawn(f32, {2, 5, 8}, -1, 1, 1);
  Array b = drawn(f32, {4, 8, 6}, -1, 1, 2);
  Array outside = drawn(Dtype::int64, {7}, 2, 5, 3);  // in range of the folded batch only
  Array one = first_of(gather_mm_op, {{f32, {7, 5, 6}}}, {a, b, indices(7, 2, 4), outside}, {});
  const bool flags[] = {true, true, true, true};
  Arrays all = gather_mm_op.vmap({{a, b, outside, outside}, flags, batch, one.node()});
  EXPECT_THROW(eval(all[0]), std::out_of_range);
}

}  // namespace
}  // namespace rill
