// What x[index] means, whether it is read or written.
#pragma once

#include "common.h"

namespace rill::python {

enum class TermKind : uint8_t { integer, slice, ellipsis, new_axis, indices, mask };

/// One part of an index.
struct Term {
  TermKind kind;
  int64_t position = 0;  // integer: as given, so that it may be negative; slice: the start
  int64_t stop = 0;      // slice
  int64_t step = 1;      // slice
  Array array = {};      // indices, mask
};

/// The parts of an index; one that is no tuple is one part. Anything that cannot be a part is a
/// ValueError.
using Terms = SmallVector<Term, 4>;
Terms terms_of(nb::handle index);

/// An index applied to a shape. A slice comes first (start, step, size: one element an axis); where
/// there are index arrays, they then pick items of shape `item` from it. The result has the axes
/// `rest`, and those of the index arrays together, `lead`, before axis `lead_at` of them.
struct IndexPlan {
  Shape start;
  Shape step;
  Shape size;
  Shape rest;
  Axes rest_axes;  // the axis of the operand that became each axis of `rest`; -1: a new one

  bool gathers = false;  // false: what follows is empty
  Arrays arrays;         // index arrays; together they broadcast to `lead`
  Axes axes;             // the axis that each of them walks
  Shape item;
  Shape lead;
  int lead_at = 0;

  /// The shape of x[index].
  Shape shape() const;
  /// Whether the slice is everything, in order.
  bool is_whole(const Shape& operand) const;
};

/// NumPy's rules. An integer out of range is an IndexError, too many parts or shapes that do not
/// fit are ValueErrors. Waits for masks, whose number of elements is part of the shape.
IndexPlan plan_of(const Shape& operand, const Terms& terms);

/// The coordinates of the true elements: one int64 array an axis; their number. Waits for the mask.
Arrays coordinates_of_true(const Array& mask, int64_t& count);

/// Throws ValueError unless the mask has the shape of the operand's axes from `axis` on.
void require_mask_fits(const Shape& mask, const Shape& operand, int axis);

}  // namespace rill::python
