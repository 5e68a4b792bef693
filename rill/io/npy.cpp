#include "rill/io/npy.h"

#include <algorithm>

#include "rill/io/zip.h"
#include "rill/ops/shape.h"
#include "rill/runtime/eval.h"

namespace rill::io {

namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr int64_t longest_header = 1 << 20;

/// Reads the Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3,), }.
class HeaderText {
 public:
  HeaderText(const Source& source, std::string_view text) : source_(source), left_(text) {}

  struct Fields {
    std::string_view descr;
    bool fortran_order = false;
    Shape shape;
  };

  Fields fields() {
    Fields result;
    unsigned seen = 0;
    expect('{');
    while (!skip('}')) {
      std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        require(!starts_with('[') && !starts_with('('),
                "[load] {} has a structured dtype, which Rill lacks", source_.name());
        result.descr = quoted();
        seen |= 1;
      } else if (key == "fortran_order") {
        result.fortran_order = boolean();
        seen |= 2;
      } else if (key == "shape") {
        result.shape = shape();
        seen |= 4;
      } else {
        check(false);
      }
      if (!skip(',')) {
        expect('}');
        break;
      }
    }
    space();
    check(seen == 7 && left_.empty());
    return result;
  }

 private:
  void check(bool good) {
    require<file_error>(good, "[load] {} has a malformed npy header", source_.name());
  }
  void space() {
    size_t n = left_.find_first_not_of(std::string_view(" \t\r\n\0", 5));
    left_.remove_prefix(n == std::string_view::npos ? left_.size() : n);
  }
  bool starts_with(char c) {
    space();
    return !left_.empty() && left_.front() == c;
  }
  bool skip(char c) {
    bool found = starts_with(c);
    if (found) left_.remove_prefix(1);
    return found;
  }
  void expect(char c) { check(skip(c)); }

  std::string_view quoted() {
    space();
    check(!left_.empty() && (left_.front() == '\'' || left_.front() == '"'));
    size_t end = left_.find(left_.front(), 1);
    check(end != std::string_view::npos);
    std::string_view text = left_.substr(1, end - 1);
    left_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    space();
    bool value = left_.substr(0, 4) == "True";
    check(value || left_.substr(0, 5) == "False");
    left_.remove_prefix(value ? 4 : 5);
    return value;
  }
  int64_t number() {
    space();
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < left_.size() && left_[digits] >= '0' && left_[digits] <= '9'; ++digits) {
      check(!__builtin_mul_overflow(value, int64_t{10}, &value) &&
            !__builtin_add_overflow(value, int64_t{left_[digits] - '0'}, &value));
    }
    check(digits > 0);
    left_.remove_prefix(digits);
    skip('L');  // Python 2 wrote long integers so
    return value;
  }
  Shape shape() {
    Shape sizes;
    expect('(');
    while (!skip(')')) {
      sizes.push_back(number());
      if (!skip(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }

  const Source& source_;
  std::string_view left_;
};

struct Element {
  Dtype dtype;
  Stored stored;
  int64_t bytes;
};

/// The element type of an array-interface string such as "<f4".
Element element_of(const Source& source, std::string_view descr) {
  auto fail = [&] {
    throw std::invalid_argument(fmt::format("[load] {} has the dtype '{}', which Rill lacks",
                                            source.name(), printable(descr)));
  };
  if (descr.size() < 3 || std::string_view("<>|=").find(descr[0]) == std::string_view::npos) fail();
  bool swapped = descr[0] == '>';
  std::string_view size = descr.substr(2);
  if (descr[1] == 'c' && size == "16") {
    return {Dtype::complex64, swapped ? Stored::swapped_complex128 : Stored::complex128, 16};
  }
  for (const DtypeInfo& row : dtype_table) {
    if (row.kind != descr[1] || size.size() != 1 || row.size != size[0] - '0') continue;
    if (row.dtype == Dtype::bool_) return {row.dtype, Stored::boolean, 1};
    return {row.dtype, swapped ? Stored::swapped : Stored::plain, row.size};
  }
  fail();
  __builtin_unreachable();
}

std::string descr_of(Dtype dtype) {
  const DtypeInfo& row = info(dtype);
  return fmt::format("{}{}{}", row.size == 1 ? '|' : '<', row.kind, row.size);
}

/// Whether the columns of an evaluated array are contiguous, not its rows.
bool is_column_major(const Array& array) {
  if (array.output().row_major) return false;
  Shape shape = array.shape();
  Strides strides = array.output().strides;
  std::reverse(shape.begin(), shape.end());
  std::reverse(strides.begin(), strides.end());
  return is_row_major(shape, strides);
}

/// Magic, version, length and text of the header; the data begin at a multiple of 64.
std::string header_of(const Array& array, bool fortran_order) {
  std::string sizes;
  for (int64_t size : array.shape()) {
    sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  }
  if (array.ndim() == 1) sizes += ',';
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': ({}), }}",
                                 descr_of(array.dtype()), fortran_order ? "True" : "False", sizes);
  bool is_long = text.size() > 65000;
  size_t before = magic.size() + (is_long ? 6 : 4);
  text.append(63 - (before + text.size()) % 64, ' ');
  text += '\n';
  std::string header(magic);
  header += is_long ? '\2' : '\1';
  header += '\0';
  for (int i = 0; i < (is_long ? 4 : 2); ++i) {
    header += static_cast<char>(text.size() >> (8 * i));
  }
  return header + text;
}

/// What a file holds.
struct Content {
  std::string header;
  Array rows;

  std::string_view bytes() const { return {rows.data<char>(), rows.bytes()}; }
};

/// Columns that are contiguous are stored as they lie.
Content content_of(const Array& array) {
  eval(array);
  const bool columns = is_column_major(array);
  return {header_of(array, columns), packed(columns ? transpose(array) : array)};
}

}  // namespace

NpyHeader read_npy_header(const Source& source) {
  Cursor cursor(source);
  bool is_npy = cursor.left() >= 10 && cursor.text(magic.size()) == magic;
  require<file_error>(is_npy, "[load] {} is not an npy file", source.name());
  auto version = cursor.value<uint8_t>();
  cursor.value<uint8_t>();
  require<file_error>(version >= 1 && version <= 3, "[load] {} has npy version {}, expected 1 to 3",
                      source.name(), version);
  int64_t length =
      version == 1 ? int64_t{cursor.value<uint16_t>()} : int64_t{cursor.value<uint32_t>()};
  require<file_error>(length <= longest_header && length <= cursor.left(),
                      "[load] {} is cut or corrupt: a header of {} bytes", source.name(), length);
  std::string text = cursor.text(static_cast<uint64_t>(length));
  HeaderText::Fields fields = HeaderText(source, text).fields();
  Element element = element_of(source, fields.descr);
  if (fields.fortran_order) std::reverse(fields.shape.begin(), fields.shape.end());
  int64_t bytes = stored_bytes(source, fields.shape, element.bytes);
  return {{element.dtype, fields.shape, element.stored, cursor.place(), bytes},
          fields.fortran_order};
}

Array load_npy(const Ref<Source>& source, const NpyHeader& header, StreamOrDevice s) {
  Stream stream = to_stream(s);
  Array array = load_array(source, header.array, stream);
  return header.fortran_order && array.ndim() > 1 ? transpose(array, stream) : array;
}

Array load_npy(const Ref<Source>& source, StreamOrDevice s) {
  return load_npy(source, read_npy_header(*source), s);
}

NamedArrays load_npz(const Ref<Source>& source, StreamOrDevice s) {
  Stream stream = to_stream(s);
  NamedArrays arrays;
  for (const ZipMember& member : read_zip(*source)) {
    if (member.name.ends_with('/')) continue;  // a folder
    std::string_view name = member.name;
    if (name.ends_with(".npy")) name.remove_suffix(4);
    arrays.emplace_back(name, load_npy(open_member(source, member), stream));
  }
  return arrays;
}

Array packed(const Array& array) {
  Array rows = contiguous(array);
  eval(rows);
  return rows;
}

void save_npy(Sink& sink, const Array& array) {
  const Content content = content_of(array);
  sink.write(content.header);
  sink.write(content.bytes());
}

void save_npz(Sink& sink, const NamedArrays& arrays, bool compressed) {
  ZipWriter zip(sink, compressed);
  for (const auto& [name, array] : arrays) {
    const Content content = content_of(array);
    zip.add(name + ".npy", content.header, content.bytes());
  }
  zip.finish();
}

}  // namespace rill::io
