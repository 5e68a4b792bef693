// rill.core.distributed for a process that is alone: its group has one member.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

/// The processes that take part in a communication: here only this one.
struct Group {};

constexpr std::string_view backends[] = {"any", "mpi", "nccl", "jaccl", "ring"};

Group init(bool strict, const std::string& backend) {
  bool known = std::find(std::begin(backends), std::end(backends), backend) != std::end(backends);
  require(known,
          "[distributed.init] backend must be 'any', 'mpi', 'nccl', 'jaccl' or 'ring', got '{}'",
          backend);
  require<std::runtime_error>(!strict,
                              "[distributed.init] no backend could be initialised: this "
                              "process is alone");
  return {};
}

/// name(x, *, group, stream): with one member, what the member gives.
void bind_collective(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name,
      [name](ArrayArg x, std::optional<Group>, StreamArg s) {
        Array a = to_array(x, name);
        return wrap(astype(a, a.dtype(), s));
      },
      nb::arg("x"), nb::kw_only(), nb::arg("group") = nb::none(), stream_arg(), doc);
}

[[noreturn]] void refuse_single(const char* operation) {
  throw std::invalid_argument(fmt::format(
      "[distributed.{}] this process is alone in its group: there is no other", operation));
}

void bind_messages(nb::module_& m) {
  m.def(
      "send",
      [](ArrayArg x, int, std::optional<Group>, StreamArg s) -> ArrayObject {
        to_stream(s);
        to_array(x, "distributed.send");
        refuse_single("send");
      },
      nb::arg("x"), nb::arg("dst"), nb::kw_only(), nb::arg("group") = nb::none(), stream_arg(),
      "Sends x to the member `dst`. A ValueError in a group of one.");
  m.def(
      "recv",
      [](ShapeArg shape, DtypeArg dtype, int, std::optional<Group>, StreamArg s) -> ArrayObject {
        to_stream(s);
        static_cast<void>(static_cast<Shape>(shape));
        static_cast<void>(static_cast<Dtype>(dtype));
        refuse_single("recv");
      },
      nb::arg("shape"), nb::arg("dtype"), nb::arg("src"), nb::kw_only(),
      nb::arg("group") = nb::none(), stream_arg(),
      "An array from the member `src`. A ValueError in a group of one.");
  m.def(
      "recv_like",
      [](ArrayArg x, int, std::optional<Group>, StreamArg s) -> ArrayObject {
        to_stream(s);
        to_array(x, "distributed.recv_like");
        refuse_single("recv_like");
      },
      nb::arg("x"), nb::arg("src"), nb::kw_only(), nb::arg("group") = nb::none(), stream_arg(),
      "An array of the shape and dtype of x from the member `src`. A ValueError in a group of "
      "one.");
}

}  // namespace

void bind_distributed(nb::module_& m) {
  nb::module_ sub = m.def_submodule(
      "distributed", "Communication between processes. This one is alone: groups have one member.");
  nb::class_<Group>(sub, "Group", "The processes that take part in a communication.")
      .def(
          "rank", [](const Group&) { return 0; }, "The number of this process in the group.")
      .def(
          "size", [](const Group&) { return 1; }, "How many processes there are.")
      .def(
          "split",
          [](const Group&, int, int) -> Group {
            throw std::runtime_error("[distributed.split] a group of one cannot be split");
          },
          nb::arg("color"), nb::arg("key") = -1,
          "The group of the members with the same color. A RuntimeError in a group of one.");
  sub.def(
      "is_available", [](const std::string&) { return false; }, nb::arg("backend") = "any",
      "Whether processes can communicate by a backend: not yet.");
  sub.def(
      "init",
      [](bool strict, const std::string& backend, nb::object) { return init(strict, backend); },
      nb::arg("strict") = false, nb::arg("backend") = "any", nb::kw_only(),
      nb::arg("all_gather_factory") = nb::none(),
      "The group of all processes: this one. With strict=True a RuntimeError instead.");
  bind_collective(sub, "all_sum", "The sum of the arrays of all members.");
  bind_collective(sub, "all_max", "The elementwise maximum of the arrays of all members.");
  bind_collective(sub, "all_min", "The elementwise minimum of the arrays of all members.");
  bind_collective(sub, "all_gather", "The arrays of all members, joined along the first axis.");
  bind_collective(sub, "sum_scatter",
                  "The sum of the arrays of all members; each gets its part of the first axis.");
  bind_messages(sub);
}

}  // namespace rill::python
