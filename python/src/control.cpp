// cond, while_loop and scan over Python functions and trees.
#include <nanobind/stl/optional.h>

#include "templates.h"

namespace rill::python {

namespace {

/// Takes the arrays of the result of a function that must have the structure of `like`.
Arrays take_like(const Template& like, nb::handle result, const char* operation, const char* what) {
  Template structure;
  Arrays arrays = structure.take_scalars_too(result, operation);
  require(structure.is_like(like), "[{}] expected {} to have the structure of {}", operation, what,
          nb::cast<std::string>(nb::str(like.fill_with([] { return nb::str("array"); }))));
  return arrays;
}

nb::object cond_of(nb::handle pred, const nb::callable& true_fn, const nb::callable& false_fn,
                   const nb::args& operands, const StreamArg& stream) {
  Template arguments;
  Arrays inputs = arguments.take_scalars_too(operands, "cond");
  Template results;
  auto call = [&](const nb::callable& f, const Arrays& given) {
    return f(*nb::borrow<nb::tuple>(arguments.fill(given)));
  };
  Arrays outputs = control::cond(
      to_array(pred, "cond"),
      [&](const Arrays& given) { return results.take_scalars_too(call(true_fn, given), "cond"); },
      [&](const Arrays& given) {
        return take_like(results, call(false_fn, given), "cond", "the result of false_fn");
      },
      inputs, stream);
  return results.fill(outputs);
}

nb::object while_of(const nb::callable& cond_fn, const nb::callable& body_fn, nb::handle init,
                    const StreamArg& stream) {
  Template state;
  Arrays inputs = state.take_scalars_too(init, "while_loop");
  Arrays outputs = control::while_loop(
      [&](const Arrays& given) {
        return Arrays{to_array(cond_fn(state.fill(given)), "while_loop")};
      },
      [&](const Arrays& given) {
        nb::object next = body_fn(state.fill(given));
        return take_like(state, next, "while_loop", "the result of body");
      },
      inputs, stream);
  return state.fill(outputs);
}

nb::object scan_of(const nb::callable& f, nb::handle init, nb::handle xs,
                   std::optional<int64_t> length, bool reverse, const StreamArg& stream) {
  Template state;
  Template elements;
  Template results;
  Arrays inputs = state.take_scalars_too(init, "scan");
  Arrays walked = elements.take(xs);
  control::Carried out = control::scan(
      [&](const Arrays& carry, const Arrays& at) {
        nb::object pair = f(state.fill(carry), elements.fill(at));
        bool two = (PyTuple_Check(pair.ptr()) || PyList_Check(pair.ptr())) && nb::len(pair) == 2;
        require(two, "[scan] expected a tuple (carry, output) from the function, got {}",
                type_of(pair));
        Arrays next = take_like(state, pair[0], "scan", "the carry that the function returns");
        return control::Carried{std::move(next), results.take_scalars_too(pair[1], "scan")};
      },
      inputs, walked, length, reverse, stream);
  return nb::make_tuple(state.fill(out.carry), results.fill(out.outputs));
}

}  // namespace

void bind_control(nb::module_& m) {
  m.def(
      "cond",
      [](nb::handle pred, nb::callable true_fn, nb::callable false_fn, nb::args operands,
         StreamArg stream) { return cond_of(pred, true_fn, false_fn, operands, stream); },
      nb::arg("pred"), nb::arg("true_fn"), nb::arg("false_fn"), nb::arg("operands"), nb::kw_only(),
      nb::arg("stream") = nb::none(),
      nb::sig("def cond(pred: scalar | array, true_fn: Callable, false_fn: Callable, *operands: "
              "object, stream: StreamOrDevice = None) -> typing.Any"),
      "true_fn(*operands) if the predicate holds, else false_fn(*operands); only one of them is "
      "computed. Both are traced once and return the same tree of the same dtypes and shapes "
      "(ValueError otherwise). Arrays from outside may be used. Has derivatives.\n\n"
      ">>> mx.cond(mx.array(True), mx.sin, mx.cos, mx.array(0.0))");
  m.def(
      "while_loop",
      [](nb::callable cond, nb::callable body, nb::object init, StreamArg stream) {
        return while_of(cond, body, init, stream);
      },
      nb::arg("cond"), nb::arg("body"), nb::arg("init"), nb::kw_only(),
      nb::arg("stream") = nb::none(),
      nb::sig("def while_loop(cond: Callable, body: Callable, init: object, *, stream: "
              "StreamOrDevice = None) -> typing.Any"),
      "Applies body to a tree of arrays, first init, for as long as cond gives true for it; the "
      "last one is returned. Both are traced once; body keeps structure, dtypes and shapes "
      "(ValueError otherwise). Forward derivatives (jvp) only.\n\n"
      ">>> mx.while_loop(lambda x: x < 100, lambda x: x * 2, mx.array(1))");
  m.def(
      "scan",
      [](nb::callable f, nb::object init, nb::object xs, std::optional<int64_t> length,
         bool reverse, StreamArg stream) { return scan_of(f, init, xs, length, reverse, stream); },
      nb::arg("f"), nb::arg("init"), nb::arg("xs") = nb::none(), nb::arg("length") = nb::none(),
      nb::arg("reverse") = false, nb::kw_only(), nb::arg("stream") = nb::none(),
      nb::sig("def scan(f: Callable, init: object, xs: object | None = None, length: int | None = "
              "None, reverse: bool = False, *, stream: StreamOrDevice = None) -> tuple[typing.Any, "
              "typing.Any]"),
      "Walks along axis 0 of the arrays of the tree xs: carry, y = f(carry, x) for each x, from "
      "the carry init. Returns (the last carry, the stacked y). f is traced once; it keeps "
      "structure, dtypes and shapes of the carry (ValueError otherwise). Without arrays in xs, "
      "length says how often. reverse=True starts at the last element. Has derivatives.\n\n"
      ">>> mx.scan(lambda total, x: (total + x, total), mx.array(0), mx.arange(4))");
}

}  // namespace rill::python
