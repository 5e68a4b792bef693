// One row for each operation that can be exported; elementwise operations follow from their table.
#include "rill/transforms/op_registry.h"

#include <algorithm>

#include "rill/ops/composed.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/linalg.h"
#include "rill/ops/matmul.h"
#include "rill/ops/random.h"
#include "rill/ops/reduce.h"
#include "rill/ops/scan.h"
#include "rill/ops/shape.h"
#include "rill/ops/shape_attrs.h"
#include "rill/ops/sort.h"
#include "rill/transforms/captured.h"
#include "rill/transforms/export_rows.h"

namespace rill {

using namespace exporting;

template <>
inline constexpr int64_t enumerators<ReduceKind> = 6;
template <>
inline constexpr int64_t enumerators<ScanKind> = 5;
template <>
inline constexpr int64_t enumerators<ScatterMode> = 5;
template <>
inline constexpr int64_t enumerators<Triangle> = 3;

namespace {

/// Axes of an array, counted from the front.
void require_axes(const Axes& axes, int ndim) {
  for (int axis : axes) {
    require(axis >= 0 && axis < ndim, "[import_function] axis {} of {} dimensions", axis, ndim);
  }
}

void require_rank(const Shape& shape, int ndim) {
  require(shape.ssize() == ndim, "[import_function] expected {} sizes, got {}", ndim, shape);
}

void require_sizes(const Shape& shape) {
  for (int64_t size : shape) require(size >= 0, "[import_function] a negative size: {}", shape);
}

/// That a slice of `size` elements lies in an array of shape `whole`.
void require_slice(const Shape& whole, const SliceAttrs& slice, const Shape& size) {
  require_rank(slice.start, whole.ssize());
  require_rank(slice.step, whole.ssize());
  require_rank(size, whole.ssize());
  for (int i = 0; i < whole.ssize(); ++i) {
    require(size[i] >= 0 && slice.step[i] != 0, "[import_function] a slice of size {} by {}",
            size[i], slice.step[i]);
    if (size[i] == 0) continue;
    auto first = static_cast<__int128>(slice.start[i]);
    __int128 last = first + static_cast<__int128>(size[i] - 1) * slice.step[i];
    require(first >= 0 && first < whole[i] && last >= 0 && last < whole[i],
            "[import_function] a slice reaches outside of axis {} of shape {}", i, whole);
  }
}

// Parameters that stand in the node's outputs rather than in its attributes.

struct ReshapeValues {
  Shape shape;
};
struct SliceValues {
  Shape start;
  Shape step;
  Shape size;
};
struct UniformValues {
  Shape shape;
  double low;
  double high;
  Dtype dtype;
};

AttrValues describe_reshape(const Node& node) {
  return to_values(ReshapeValues{node.output(0).shape});
}
AttrValues describe_cast(const Node& node) { return to_values(DtypeAttrs{node.output(0).dtype}); }
AttrValues describe_slice(const Node& node) {
  const auto& attrs = node.attrs.as<SliceAttrs>();
  return to_values(SliceValues{attrs.start, attrs.step, node.output(0).shape});
}
AttrValues describe_uniform(const Node& node) {
  const auto& attrs = node.attrs.as<RandomUniformAttrs>();
  return to_values(UniformValues{attrs.shape, attrs.low, attrs.high, node.output(0).dtype});
}

Arrays apply_reshape(const Arrays& in, const AttrValues& values) {
  return one(reshape(in[0], from_values<ReshapeValues>(values).shape));
}
Arrays apply_cast(const Arrays& in, const AttrValues& values) {
  return one(astype(in[0], from_values<DtypeAttrs>(values).dtype));
}
Arrays apply_slice(const Arrays& in, const AttrValues& values) {
  auto v = from_values<SliceValues>(values);
  require_slice(in[0].shape(), {v.start, v.step}, v.size);
  return one(slice(in[0], v.start, v.step, v.size));
}
Arrays apply_uniform(const Arrays& in, const AttrValues& values) {
  auto v = from_values<UniformValues>(values);
  const Array& keys = in[0];
  require(keys.dtype() == Dtype::uint32 && keys.ndim() > 0 && keys.shape(-1) == 2,
          "[import_function] a key is a uint32 array of shape (2,)");
  require(is_floating(v.dtype) && v.dtype != Dtype::float64,
          "[import_function] random numbers of {}", name_of(v.dtype));
  require_sizes(v.shape);
  Shape shape(keys.shape().begin(), keys.shape().end() - 1);
  shape.append(v.shape.begin(), v.shape.end());
  return one(make_array(random_uniform_op, to_stream(), v.dtype, std::move(shape), {keys},
                        RandomUniformAttrs{v.shape, v.low, v.high}));
}

/// as_strided checks its bounds in 64 bits; here they must fit.
void require_strides(const StridedAttrs& attrs) {
  constexpr __int128 limit = std::numeric_limits<int64_t>::max() / 4;
  require_rank(attrs.strides, attrs.shape.ssize());
  __int128 reach = attrs.offset < 0 ? -static_cast<__int128>(attrs.offset) : attrs.offset;
  for (int i = 0; i < attrs.shape.ssize(); ++i) {
    __int128 step = attrs.strides[i] < 0 ? -static_cast<__int128>(attrs.strides[i])
                                         : static_cast<__int128>(attrs.strides[i]);
    require(attrs.shape[i] >= 0, "[import_function] a negative size: {}", attrs.shape);
    reach += step * attrs.shape[i];
    require(reach <= limit, "[import_function] strides {} are too large", attrs.strides);
  }
}

Arrays matrix_rows(const Arrays& parts) { return outputs_of(parts[0].node()); }

constexpr ExportRow rows[] = {
    {"reshape", 1, 1, describe_reshape, apply_reshape},
    {"astype", 1, 1, describe_cast, apply_cast},
    {"slice", 1, 1, describe_slice, apply_slice},
    {"random.uniform", 1, 1, describe_uniform, apply_uniform},
    row<NoAttrs>("where", 3, 3, [](const Arrays& in) { return one(where(in[0], in[1], in[2])); }),
    row<ShapeAttrs>("broadcast_to", 1, 1,
                    [](const Arrays& in, const ShapeAttrs& attrs) {
                      require_sizes(attrs.shape);
                      return one(broadcast_to(in[0], attrs.shape));
                    }),
    row<TransposeAttrs>("transpose", 1, 1,
                        [](const Arrays& in, const TransposeAttrs& attrs) {
                          return one(transpose(in[0], attrs.axes));
                        }),
    row<StridedAttrs>("as_strided", 1, 1,
                      [](const Arrays& in, const StridedAttrs& attrs) {
                        require_strides(attrs);
                        return one(as_strided(in[0], attrs.shape, attrs.strides, attrs.offset));
                      }),
    row<DtypeAttrs>(
        "view", 1, 1,
        [](const Arrays& in, const DtypeAttrs& attrs) { return one(view(in[0], attrs.dtype)); }),
    row<DiagonalAttrs>("diagonal", 1, 1,
                       [](const Arrays& in, const DiagonalAttrs& attrs) {
                         return one(diagonal(in[0], attrs.offset, attrs.axis1, attrs.axis2));
                       }),
    plain<stop_gradient>("stop_gradient"),
    row<ContiguousAttrs>("contiguous", 1, 1,
                         [](const Arrays& in, const ContiguousAttrs& attrs) {
                           return one(contiguous(in[0], attrs.allow_column_major));
                         }),
    row<AxisAttrs>(
        "concatenate", 1, -1,
        [](const Arrays& in, const AxisAttrs& attrs) { return one(concatenate(in, attrs.axis)); }),
    row<PadAttrs>("pad", 2, 2,
                  [](const Arrays& in, const PadAttrs& attrs) {
                    for (const Shape& widths : {attrs.low, attrs.high}) {
                      for (int64_t width : widths) {
                        require(width < int64_t{1} << 48, "[import_function] padding by {}", width);
                      }
                    }
                    return one(pad(in[0], attrs.low, attrs.high, in[1]));
                  }),
    row<RollAttrs>("roll", 1, 1,
                   [](const Arrays& in, const RollAttrs& attrs) {
                     require_rank(attrs.shifts, in[0].ndim());
                     Axes axes;
                     for (int i = 0; i < in[0].ndim(); ++i) axes.push_back(i);
                     return one(roll(in[0], attrs.shifts, axes));
                   }),
    row<SliceAttrs>("slice_update", 2, 2,
                    [](const Arrays& in, const SliceAttrs& attrs) {
                      require_slice(in[0].shape(), attrs, in[1].shape());
                      return one(slice_update(in[0], in[1], attrs.start, attrs.step));
                    }),
    row<GatherAttrs>("gather", 1, -1,
                     [](const Arrays& in, const GatherAttrs& attrs) {
                       require_rank(attrs.sizes, in[0].ndim());
                       require_axes(attrs.axes, in[0].ndim());
                       return one(gather(in[0], tail(in, 1), attrs.axes, attrs.sizes));
                     }),
    row<ScatterAttrs>("scatter", 2, -1,
                      [](const Arrays& in, const ScatterAttrs& attrs) {
                        require_axes(attrs.axes, in[0].ndim());
                        return one(scatter(attrs.mode, in[0], in[1], tail(in, 2), attrs.axes));
                      }),
    row<AlongAxisAttrs>("take_along_axis", 2, 2,
                        [](const Arrays& in, const AlongAxisAttrs& attrs) {
                          return one(take_along_axis(in[0], in[1], attrs.axis));
                        }),
    row<AlongAxisAttrs>("scatter_along_axis", 3, 3,
                        [](const Arrays& in, const AlongAxisAttrs& attrs) {
                          return one(
                              scatter_along_axis(attrs.mode, in[0], in[1], in[2], attrs.axis));
                        }),
    row<ReduceAttrs>("reduce", 1, 1,
                     [](const Arrays& in, const ReduceAttrs& attrs) {
                       return one(reduce(attrs.kind, in[0], attrs.axes, true));
                     }),
    row<ArgReduceAttrs>("argreduce", 1, 1,
                        [](const Arrays& in, const ArgReduceAttrs& attrs) {
                          const bool whole = attrs.axis == ArgReduceAttrs::whole;
                          const auto axis = whole ? std::nullopt : std::optional(attrs.axis);
                          return one(attrs.largest ? argmax(in[0], axis, !whole)
                                                   : argmin(in[0], axis, !whole));
                        }),
    row<NoAttrs>("softmax", 1, 1, [](const Arrays& in) { return one(softmax(in[0], Axes{-1})); }),
    row<NoAttrs>("logsumexp", 1, 1,
                 [](const Arrays& in) { return one(logsumexp(in[0], Axes{-1}, true)); }),
    row<ScanAttrs>("scan", 1, 1,
                   [](const Arrays& in, const ScanAttrs& attrs) {
                     return one(
                         scan(attrs.kind, in[0], attrs.axis, attrs.reverse, attrs.inclusive));
                   }),
    row<SortAttrs>(
        "sort", 1, 1,
        [](const Arrays& in, const SortAttrs& attrs) { return one(sort(in[0], attrs.axis)); }),
    row<SortAttrs>(
        "argsort", 1, 1,
        [](const Arrays& in, const SortAttrs& attrs) { return one(argsort(in[0], attrs.axis)); }),
    row<PartitionAttrs>("partition", 1, 1,
                        [](const Arrays& in, const PartitionAttrs& attrs) {
                          return one(partition(in[0], attrs.kth, attrs.axis));
                        }),
    row<PartitionAttrs>("argpartition", 1, 1,
                        [](const Arrays& in, const PartitionAttrs& attrs) {
                          return one(argpartition(in[0], attrs.kth, attrs.axis));
                        }),
    row<NoAttrs>("matmul", 2, 2, [](const Arrays& in) { return one(matmul(in[0], in[1])); }),
    row<AddmmAttrs>("addmm", 3, 3,
                    [](const Arrays& in, const AddmmAttrs& attrs) {
                      return one(addmm(in[0], in[1], in[2], attrs.alpha, attrs.beta));
                    }),
    row<RandomBitsAttrs>("random.bits", 1, 1,
                         [](const Arrays& in, const RandomBitsAttrs& attrs) {
                           return one(random::bits(attrs.shape, in[0]));
                         }),
    row<TriangleAttrs>("linalg.inv", 1, 1,
                       [](const Arrays& in, const TriangleAttrs& attrs) {
                         if (attrs.triangle == Triangle::none) return one(linalg::inv(in[0]));
                         return one(linalg::tri_inv(in[0], attrs.triangle == Triangle::upper));
                       }),
    row<TriangleAttrs>("linalg.cholesky", 1, 1,
                       [](const Arrays& in, const TriangleAttrs& attrs) {
                         return one(linalg::cholesky(in[0], attrs.triangle == Triangle::upper));
                       }),
    row<TriangleAttrs>(
        "linalg.solve", 2, 2,
        [](const Arrays& in, const TriangleAttrs&) { return one(linalg::solve(in[0], in[1])); }),
    row<TriangleAttrs>("linalg.solve_triangular", 2, 2,
                       [](const Arrays& in, const TriangleAttrs& attrs) {
                         return one(linalg::solve_triangular(in[0], in[1],
                                                             attrs.triangle == Triangle::upper));
                       }),
    row<NoAttrs>("linalg.lu_factor", 1, 1,
                 [](const Arrays& in) { return matrix_rows({linalg::lu_factor(in[0]).first}); }),
    plain<linalg::det>("linalg.det"),
    row<NoAttrs>("linalg.slogdet", 1, 1,
                 [](const Arrays& in) { return matrix_rows({linalg::slogdet(in[0]).first}); }),
    row<NoAttrs>("linalg.qr", 1, 1,
                 [](const Arrays& in) { return matrix_rows({linalg::qr(in[0]).first}); }),
    row<SpectrumAttrs>("linalg.svd", 1, 1,
                       [](const Arrays& in, const SpectrumAttrs& attrs) {
                         return linalg::svd(in[0], attrs.vectors);
                       }),
    plain<linalg::pinv>("linalg.pinv"),
    row<SpectrumAttrs>("linalg.eigh", 1, 1,
                       [](const Arrays& in, const SpectrumAttrs& attrs) {
                         if (!attrs.vectors) return one(linalg::eigvalsh(in[0], attrs.triangle));
                         auto [values, vectors] = linalg::eigh(in[0], attrs.triangle);
                         return Arrays{values, vectors};
                       }),
    row<SpectrumAttrs>("linalg.eig", 1, 1,
                       [](const Arrays& in, const SpectrumAttrs& attrs) {
                         if (!attrs.vectors) return one(linalg::eigvals(in[0]));
                         auto [values, vectors] = linalg::eig(in[0]);
                         return Arrays{values, vectors};
                       }),
};

template <size_t I>
constexpr ExportRow elementwise_row() {
  constexpr Row number{I};
  return {
      "", 1, 2, describe<NoAttrs>, [](const Arrays& in, const AttrValues& values) {
        require(values.empty(), "[import_function] expected no parameters, got {}", values.size());
        return one(in.size() == 1 ? elementwise(number, in[0]) : elementwise(number, in[0], in[1]));
      }};
}

template <size_t... I>
std::vector<ExportRow> all_elementwise(std::index_sequence<I...>) {
  std::vector<ExportRow> result{elementwise_row<I>()...};
  for (size_t i = 0; i < result.size(); ++i) {
    const RowInfo& row = elementwise_rows()[i];
    bool two = row.kind == RowKind::binary || row.kind == RowKind::compare;
    result[i].name = row.name;
    result[i].least_inputs = result[i].most_inputs = two ? 2 : 1;
  }
  return result;
}

/// All rows by name.
const std::vector<ExportRow>& all_rows() {
  static const std::vector<ExportRow> sorted = [] {
    std::vector<ExportRow> result = all_elementwise(std::make_index_sequence<row_count - 2>{});
    result.insert(result.end(), std::begin(rows), std::end(rows));
    for (std::span<const ExportRow> more : {compound_rows(), control_rows(), product_rows()}) {
      result.insert(result.end(), more.begin(), more.end());
    }
    std::sort(result.begin(), result.end(),
              [](const ExportRow& a, const ExportRow& b) { return a.name < b.name; });
    return result;
  }();
  return sorted;
}

}  // namespace

const ExportRow* find_export_row(std::string_view name) {
  const std::vector<ExportRow>& all = all_rows();
  auto found =
      std::lower_bound(all.begin(), all.end(), name,
                       [](const ExportRow& row, std::string_view n) { return row.name < n; });
  return found != all.end() && found->name == name ? &*found : nullptr;
}

std::vector<std::string_view> exportable_operations() {
  std::vector<std::string_view> names;
  for (const ExportRow& row : all_rows()) names.push_back(row.name);
  return names;
}

}  // namespace rill
