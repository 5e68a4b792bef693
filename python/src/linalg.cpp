// rill.core.linalg.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include "arguments.h"
#include "rill/ops/array_api.h"

namespace rill::python {

namespace {

Arrays parts_of(const std::pair<Array, Array>& pair) { return {pair.first, pair.second}; }
Arrays parts_of(Arrays arrays) { return arrays; }

/// linalg.name(a, *, stream), of one array.
template <Array (*f)(const Array&, StreamOrDevice)>
void bind_one(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name, [name](ArrayArg a, StreamArg s) { return wrap(f(to_array(a, name), s)); }, nb::arg("a"),
      nb::kw_only(), stream_arg(), doc);
}

/// A result of several arrays: the class of the named tuple and its fields.
struct Result {
  const char* name;
  std::initializer_list<const char*> fields;
};

/// linalg.name(a, *, stream), of several.
template <auto f>
void bind_several(nb::module_& m, const char* name, const Result& result, const char* doc) {
  nb::object type = named_tuple(m, result.name, result.fields, doc);
  std::string signature =
      fmt::format("def {}(a: array, *, stream: StreamOrDevice = None) -> {}", name, result.name);
  m.def(
      name,
      [name, type](ArrayArg a, StreamArg s) {
        return type(*array_tuple(parts_of(f(to_array(a, name), s))));
      },
      nb::arg("a"), nb::kw_only(), stream_arg(), nb::sig(signature.c_str()), doc);
}

/// linalg.name(a, upper=False, *, stream)
template <auto f>
void bind_triangle(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name,
      [name](ArrayArg a, bool upper, StreamArg s) { return wrap(f(to_array(a, name), upper, s)); },
      nb::arg("a"), nb::arg("upper") = false, nb::kw_only(), stream_arg(), doc);
}

Triangle to_triangle(const char* operation, const std::string& name) {
  require(name == "L" || name == "l" || name == "U" || name == "u",
          "[{}] UPLO must be 'L' or 'U', got '{}'", operation, name);
  return name == "L" || name == "l" ? Triangle::lower : Triangle::upper;
}

void bind_factors(nb::module_& m) {
  nb::object factors = named_tuple(m, "QRResult", {"Q", "R"}, "The factors of qr().");
  m.def(
      "qr",
      [factors](ArrayArg a, StreamArg s, const std::string& mode) {
        require(mode == "reduced" || mode == "complete",
                "[linalg.qr] mode must be 'reduced' or 'complete', got '{}'", mode);
        Array x = to_array(a, "qr");
        return factors(*array_tuple(
            parts_of(mode == "reduced" ? linalg::qr(x, s) : linalg::complete_qr(x, s))));
      },
      nb::arg("a"), nb::kw_only(), stream_arg(), nb::arg("mode") = "reduced",
      nb::sig("def qr(a: array, *, stream: StreamOrDevice = None, mode: str = 'reduced') -> "
              "QRResult"),
      "(q, r) with a = q @ r, q of orthonormal columns, r upper triangular. With mode='complete' q "
      "is square.");
  bind_triangle<linalg::cholesky>(m, "cholesky",
                                  "L with a = L L^H, or U with a = U^H U. Reads one triangle; not "
                                  "positive definite: ValueError.");
  bind_triangle<linalg::cholesky_inv>(m, "cholesky_inv",
                                      "The inverse of the matrix whose Cholesky factor is a.");
  bind_several<linalg::lu>(m, "lu", {"LUResult", {"P", "L", "U"}},
                           "(p, l, u) with a = l[p] @ u: row indices and triangular factors.");
  bind_several<linalg::lu_factor>(
      m, "lu_factor", {"LUFactorResult", {"LU", "pivots"}},
      "(lu, pivots): both factors in one matrix, and the row that each row was swapped with.");
  nb::object type = named_tuple(m, "SVDResult", {"U", "S", "Vh"}, "The factors of svd().");
  m.def(
      "svd",
      [type](ArrayArg a, bool compute_uv, StreamArg s, bool full_matrices) -> nb::object {
        Arrays parts = linalg::svd(to_array(a, "svd"), compute_uv, s);
        if (!compute_uv) return wrap(parts[0]);
        if (!full_matrices) parts = linalg::thin_svd(std::move(parts), s);
        return type(*array_tuple(parts));
      },
      nb::arg("a"), nb::arg("compute_uv") = true, nb::kw_only(), stream_arg(),
      nb::arg("full_matrices") = true,
      nb::sig("def svd(a: array, compute_uv: bool = True, *, stream: StreamOrDevice = None, "
              "full_matrices: bool = True) -> SVDResult | array"),
      "(u, s, vt) with a = u[:, :k] * s @ vt[:k], or s alone; s descends. u and vt are square, or "
      "cut to k columns and rows with full_matrices=False.");
}

void bind_spectra(nb::module_& m) {
  bind_several<linalg::eig>(m, "eig", {"EigResult", {"eigenvalues", "eigenvectors"}},
                            "Eigenvalues and, as columns, eigenvectors; both complex.");
  bind_one<linalg::eigvals>(m, "eigvals", "Eigenvalues, complex.");
  constexpr const char* doc =
      "Ascending eigenvalues and, as columns, eigenvectors of a symmetric or Hermitian matrix, of "
      "which one triangle is read.";
  nb::object type = named_tuple(m, "EighResult", {"eigenvalues", "eigenvectors"}, doc);
  m.def(
      "eigh",
      [type](ArrayArg a, const std::string& triangle, StreamArg s) {
        auto parts = linalg::eigh(to_array(a, "eigh"), to_triangle("eigh", triangle), s);
        return type(*array_tuple(parts_of(parts)));
      },
      nb::arg("a"), nb::arg("UPLO") = "L", nb::kw_only(), stream_arg(),
      nb::sig("def eigh(a: array, UPLO: str = 'L', *, stream: StreamOrDevice = None) -> "
              "EighResult"),
      doc);
  m.def(
      "eigvalsh",
      [](ArrayArg a, const std::string& triangle, StreamArg s) {
        return wrap(
            linalg::eigvalsh(to_array(a, "eigvalsh"), to_triangle("eigvalsh", triangle), s));
      },
      nb::arg("a"), nb::arg("UPLO") = "L", nb::kw_only(), stream_arg(),
      "Ascending eigenvalues of a symmetric or Hermitian matrix.");
}

void bind_solutions(nb::module_& m) {
  bind_one<linalg::inv>(m, "inv", "The inverse. A singular matrix is a ValueError.");
  bind_triangle<linalg::tri_inv>(m, "tri_inv", "The inverse of one triangle of a.");
  m.def(
      "pinv",
      [](ArrayArg a, StreamArg s, ArrayArg rtol) {
        Array x = to_array(a, "pinv");
        if (rtol.is_none()) return wrap(linalg::pinv(x, s));
        return wrap(linalg::pinv_within(x, to_array_beside(rtol, x, "pinv"), s));
      },
      nb::arg("a"), nb::kw_only(), stream_arg(), nb::arg("rtol") = nb::none(),
      "The Moore-Penrose inverse. Singular values up to `rtol` of the largest count as zero.");
  bind_one<linalg::det>(m, "det", "The determinant.");
  bind_several<linalg::slogdet>(m, "slogdet", {"SlogdetResult", {"sign", "logabsdet"}},
                                "The sign and the logarithm of the magnitude of the determinant.");
  m.def(
      "solve",
      [](ArrayArg a, ArrayArg b, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "linalg.solve");
        return wrap(linalg::solve(x, y, s));
      },
      nb::arg("a"), nb::arg("b"), nb::kw_only(), stream_arg(), "x with a @ x = b.");
  m.def(
      "solve_triangular",
      [](ArrayArg a, ArrayArg b, bool upper, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "linalg.solve_triangular");
        return wrap(linalg::solve_triangular(x, y, upper, s));
      },
      nb::arg("a"), nb::arg("b"), nb::kw_only(), nb::arg("upper") = false, stream_arg(),
      "x with a @ x = b for one triangle of a.");
}

}  // namespace

void bind_linalg(nb::module_& m) {
  nb::module_ sub = m.def_submodule("linalg", "Linear algebra on the last two axes.");
  bind_factors(sub);
  bind_spectra(sub);
  bind_solutions(sub);
  sub.def(
      "norm",
      [](ArrayArg a, std::optional<std::variant<double, std::string>> ord, AxesArg axis,
         bool keepdims, StreamArg s) {
        NormOrder order;
        if (ord) std::visit([&](const auto& value) { order = value; }, *ord);
        return wrap(norm(to_array(a, "linalg.norm"), order, axis, keepdims, s));
      },
      nb::arg("a"), nb::arg("ord") = nb::none(), nb::arg("axis") = nb::none(),
      nb::arg("keepdims") = false, nb::kw_only(), stream_arg(),
      "The norm of vectors (one axis) or matrices (two).");
  sub.def(
      "cross",
      [](ArrayArg a, ArrayArg b, int axis, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "linalg.cross");
        return wrap(linalg::cross(x, y, axis, s));
      },
      nb::arg("a"), nb::arg("b"), nb::arg("axis") = -1, nb::kw_only(), stream_arg(),
      "The cross product of vectors of 2 or 3 elements along an axis.");
}

}  // namespace rill::python
