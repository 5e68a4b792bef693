// The operations of rill.core, family by family.
#include "arguments.h"

namespace rill::python {

void bind_operations(nb::module_& m, nb::class_<Array>& array) {
  Operations ops{m, array};
  bind_creation(m);
  bind_views(ops);
  bind_methods(array);
  bind_joining(ops);
  bind_reductions(ops);
  bind_products(ops);
  bind_composed_operations(ops);
  bind_sets(ops);
}

}  // namespace rill::python
