// Data of other libraries: the buffer protocol, DLPack and NumPy's array interface.
#include <nanobind/ndarray.h>

#include <bit>
#include <cstring>
#include <mutex>

#include "convert.h"
#include "rill/cpu/copy.h"

namespace rill::python {

namespace {

/// Memory of somebody else while it is read. Strides count bytes.
struct Block {
  const char* data = nullptr;
  Shape shape;
  Strides strides;
  char kind = 0;  // as in DtypeInfo
  int size = 0;   // of an element
  bool swap = false;

  Py_buffer view{};  // one of these two keeps the memory alive
  nb::ndarray<nb::ro> dlpack;

  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    if (view.obj != nullptr) PyBuffer_Release(&view);
  }

  /// The dtype with these elements; none for complex128 and what no Dtype matches.
  std::optional<Dtype> dtype() const {
    for (const DtypeInfo& row : dtype_table) {
      if (row.kind == kind && row.size == size) return row.dtype;
    }
    return std::nullopt;
  }
  bool is_complex128() const { return kind == 'c' && size == 16; }
  /// The dtype of a copy for which none is asked.
  Dtype natural() const {
    if (is_complex128()) return Dtype::complex64;
    return dtype() == Dtype::float64 ? Dtype::float32 : *dtype();
  }
  bool is_aligned(int item) const {
    bool aligned = reinterpret_cast<uintptr_t>(data) % item == 0;
    for (int i = 0; i < shape.ssize(); ++i) aligned = aligned && strides[i] % item == 0;
    return aligned;
  }
};

char kind_of_format(char code) {
  if (code == '?') return 'b';
  if (std::strchr("cbhilqn", code) != nullptr) return 'i';
  if (std::strchr("BHILQN", code) != nullptr) return 'u';
  return std::strchr("efd", code) != nullptr ? 'f' : '\0';
}

/// Reads a format of the struct module such as "<Zf".
void read_format(const char* format, Block& block) {
  static_assert(std::endian::native == std::endian::little);
  if (format == nullptr) format = "B";
  block.swap = *format == '>' || *format == '!';
  if (std::strchr("@=<>!", *format) != nullptr && *format != '\0') ++format;
  bool is_complex = *format == 'Z';
  if (is_complex) ++format;
  if (format[0] == '\0' || format[1] != '\0') return;
  block.kind = kind_of_format(*format);
  if (is_complex) block.kind = block.kind == 'f' ? 'c' : '\0';
}

bool read_buffer(nb::handle object, Block& block) {
  if (!PyObject_CheckBuffer(object.ptr())) return false;
  if (PyObject_GetBuffer(object.ptr(), &block.view, PyBUF_RECORDS_RO) != 0) {
    PyErr_Clear();
    block.view.obj = nullptr;
    return false;
  }
  const Py_buffer& view = block.view;
  // What NumPy gives for the bytes of a datetime64 scalar: nothing that describes its elements.
  if (view.ndim > 0 && (view.shape == nullptr || view.strides == nullptr)) {
    PyBuffer_Release(&block.view);
    return false;
  }
  block.data = static_cast<const char*>(view.buf);
  block.size = static_cast<int>(view.itemsize);
  for (int i = 0; i < view.ndim; ++i) {
    block.shape.push_back(view.shape[i]);
    block.strides.push_back(view.strides[i]);
  }
  read_format(view.format, block);
  return true;
}

/// What __dlpack__ returns; null where it refuses.
nb::object dlpack_capsule(nb::object object) {
  nb::object gradient = nb::getattr(object, "requires_grad", nb::none());
  if (gradient.ptr() == Py_True) object = object.attr("detach")();  // torch: we want the values
  nb::object produce = object.attr("__dlpack__");
  try {
    return produce(nb::arg("max_version") = nb::make_tuple(1, 0));
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) return {};
  }
  try {
    return produce();  // a producer of before 2023
  } catch (nb::python_error&) {
    return {};
  }
}

bool read_dlpack(nb::handle object, Block& block) {
  if (!nb::hasattr(object, "__dlpack__")) return false;
  nb::object capsule = dlpack_capsule(nb::borrow(object));
  nb::ndarray<nb::ro, nb::device::cpu> tensor;
  if (!capsule.is_valid() || !PyCapsule_CheckExact(capsule.ptr())) return false;
  if (!nb::try_cast(capsule, tensor, false)) return false;
  block.dlpack = nb::ndarray<nb::ro>(tensor);
  const auto& source = block.dlpack;
  using Code = nb::dlpack::dtype_code;
  switch (static_cast<Code>(source.dtype().code)) {
    case Code::Int: block.kind = 'i'; break;
    case Code::UInt: block.kind = 'u'; break;
    case Code::Float: block.kind = 'f'; break;
    case Code::Bfloat: block.kind = 'V'; break;
    case Code::Complex: block.kind = 'c'; break;
    case Code::Bool: block.kind = 'b'; break;
    default: break;
  }
  if (source.dtype().lanes != 1) block.kind = '\0';
  block.size = source.dtype().bits / 8;
  block.data = static_cast<const char*>(source.data());
  for (size_t i = 0; i < source.ndim(); ++i) {
    block.shape.push_back(static_cast<int64_t>(source.shape(i)));
    block.strides.push_back(source.stride(i) * block.size);
  }
  return true;
}

/// Through numpy.asarray: what has __array__ or __array_interface__, and NumPy's own arrays whose
/// dtype, bfloat16 of ml_dtypes, the buffer protocol does not know.
bool read_through_numpy(nb::handle object, Block& block) {
  if (!nb::hasattr(object, "__array__") && !nb::hasattr(object, "__array_interface__"))
    return false;
  nb::object array = nb::module_::import_("numpy").attr("asarray")(object);
  if (nb::str(array.attr("dtype")).equal(nb::str("bfloat16"))) {
    if (!read_buffer(array.attr("view")("uint16"), block)) return false;
    block.kind = 'V';
    return true;
  }
  return read_buffer(array, block);
}

/// False where it has no elements of which arrays are made: strings, dates, objects.
bool read_elements(nb::handle object, Block& block) {
  bool found =
      read_buffer(object, block) || read_dlpack(object, block) || read_through_numpy(object, block);
  return found && (block.dtype() || block.is_complex128());
}

void read_foreign(nb::handle object, Block& block) {
  if (!read_elements(object, block)) {
    nb::object dtype = nb::getattr(object, "dtype", nb::none());
    throw_type_error(fmt::format("[array] no dtype for the elements of this {}{}{}",
                                 type_of(object), dtype.is_none() ? "" : " of dtype ",
                                 dtype.is_none() ? "" : nb::str(dtype).c_str()));
  }
}

template <class T>
T load(const char* address, bool swap) {
  using Bits =
      std::conditional_t<sizeof(T) == 8, uint64_t,
                         std::conditional_t<sizeof(T) == 4, uint32_t,
                                            std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
  Bits bits;
  std::memcpy(&bits, address, sizeof(Bits));
  if (swap) {
    if constexpr (sizeof(T) == 8) bits = __builtin_bswap64(bits);
    if constexpr (sizeof(T) == 4) bits = __builtin_bswap32(bits);
    if constexpr (sizeof(T) == 2) bits = __builtin_bswap16(bits);
  }
  return std::bit_cast<T>(bits);
}

/// Copies elements of type From, at any address and in either byte order, as elements of type To.
template <class From, class To>
To* gather(const Block& block, const char* data, int axis, To* out) {
  if (axis == block.shape.ssize()) {
    *out = static_cast<To>(load<From>(data, block.swap));
    return out + 1;
  }
  int64_t n = block.shape[axis], stride = block.strides[axis];
  if (axis + 1 < block.shape.ssize()) {
    for (int64_t i = 0; i < n; ++i) out = gather<From>(block, data + i * stride, axis + 1, out);
  } else if (stride == sizeof(From) && !block.swap) {
    for (int64_t i = 0; i < n; ++i) {
      out[i] = static_cast<To>(load<From>(data + i * static_cast<int64_t>(sizeof(From)), false));
    }
    out += n;
  } else {
    for (int64_t i = 0; i < n; ++i) {
      *out++ = static_cast<To>(load<From>(data + i * stride, block.swap));
    }
  }
  return out;
}

template <class From, class To>
void gather_all(const Block& block, void* out) {
  gather<From>(block, block.data, 0, static_cast<To*>(out));
}

/// Complex numbers as pairs of real numbers.
void split_complex(Block& block) {
  if (block.kind != 'c') return;
  block.kind = 'f';
  block.size /= 2;
  block.shape.push_back(2);
  block.strides.push_back(block.size);
}

/// Copies the elements in row-major order; `narrow` makes float32 of float64.
void copy_elements(Block& block, bool narrow, void* out) {
  if (!narrow && !block.swap && block.is_aligned(block.size)) {
    Strides strides = block.strides;
    for (int64_t& stride : strides) stride /= block.size;
    copy_strided(block.size, block.data, block.shape, strides, out);
    return;
  }
  split_complex(block);
  if (narrow) return gather_all<double, float>(block, out);
  switch (block.size) {
    case 1: return gather_all<uint8_t, uint8_t>(block, out);
    case 2: return gather_all<uint16_t, uint16_t>(block, out);
    case 4: return gather_all<uint32_t, uint32_t>(block, out);
    default: return gather_all<uint64_t, uint64_t>(block, out);
  }
}

/// A copy with elements of `dtype`: that of the block, or float32 for 64-bit floats, or complex64
/// for 128-bit complex numbers.
Array copy_block(Block& block, Dtype dtype) {
  constexpr size_t worth_releasing = size_t{1} << 20;
  bool narrow = block.dtype() != dtype;
  Shape shape = block.shape;
  int64_t count = element_count(shape);
  Ref<Buffer> buffer = Buffer::allocate(static_cast<size_t>(count) * size_of(dtype));
  if (count > 0) {
    std::optional<WithoutGil> release;
    if (buffer->bytes() >= worth_releasing) release.emplace();
    copy_elements(block, narrow, buffer->data());
    if (dtype == Dtype::bool_) {  // other libraries may have other true bytes than 1
      auto* bytes = static_cast<uint8_t*>(buffer->data());
      for (int64_t i = 0; i < count; ++i) bytes[i] = bytes[i] != 0;
    }
  }
  return make_computed(dtype, std::move(shape), std::move(buffer));
}

/// A copy as elements of `dtype`, by way of a dtype that loses nothing.
Array copy_block_as(Block& block, Dtype dtype) {
  Dtype first = dtype == block.natural() ? dtype : block.dtype().value_or(Dtype::complex64);
  Array array = copy_block(block, first);
  return first == dtype ? array : astype(array, dtype);
}

const char* array_method(nb::handle object) {
  for (const char* name : {"__rill_array__", "__mlx_array__"}) {
    if (nb::hasattr(object, name)) return name;
  }
  return nullptr;
}

/// The array that the object says it is, if it does.
std::optional<Array> ask_for_array(nb::handle object) {
  const char* name = array_method(object);
  if (name == nullptr) return std::nullopt;
  nb::object array = object.attr(name)();
  if (!is_array(array)) {
    throw_type_error(
        fmt::format("[array] {} of {} returned a {}", name, type_of(object), type_of(array)));
  }
  return unwrap(array);
}

/// Owners of shared memory whose arrays are gone. Arrays end on any thread, with or without the
/// GIL; the main thread drops the owners when it next runs Python code.
class Graveyard {
 public:
  void bury(std::unique_ptr<Block> block) {
    if (!Py_IsInitialized()) {
      [[maybe_unused]] Block* leaked = block.release();  // nobody is left to give it back to
      return;
    }
    std::lock_guard lock(mutex_);
    blocks_.push_back(std::move(block));
    Py_AddPendingCall([](void* self) { return static_cast<Graveyard*>(self)->clear(); }, this);
  }
  int clear() {
    std::vector<std::unique_ptr<Block>> blocks;
    {
      std::lock_guard lock(mutex_);
      blocks.swap(blocks_);
    }
    return 0;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Block>> blocks_;
};

Graveyard& graveyard() {
  static auto* instance = new Graveyard;  // outlives every static: arrays may
  return *instance;
}

/// The bytes that the elements of a block span.
struct Span {
  int64_t low = 0;   // of the first byte, relative to the first element
  int64_t high = 0;  // behind the last byte
};

Span span_of(const Block& block) {
  Span span{0, block.size};
  for (int i = 0; i < block.shape.ssize(); ++i) {
    int64_t reach = (block.shape[i] - 1) * block.strides[i];
    (reach < 0 ? span.low : span.high) += reach;
  }
  return span;
}

Array copy_block_beside(Block& block, Dtype beside) {
  Dtype natural = block.natural();
  return copy_block_as(block, kind_of(natural) > kind_of(beside) ? natural : beside);
}

}  // namespace

bool is_foreign(nb::handle object) {
  if (PyObject_CheckBuffer(object.ptr())) return true;
  if (object.is_none() || PyUnicode_Check(object.ptr()) || PyType_Check(object.ptr())) return false;
  return nb::hasattr(object, "__dlpack__") || nb::hasattr(object, "__array__") ||
         nb::hasattr(object, "__array_interface__") || array_method(object) != nullptr;
}

Array from_foreign(nb::handle object, std::optional<Dtype> dtype) {
  if (std::optional<Array> array = ask_for_array(object)) {
    return dtype ? astype(*array, *dtype) : *array;
  }
  Block block;
  read_foreign(object, block);
  return copy_block_as(block, dtype.value_or(block.natural()));
}

Array from_foreign_beside(nb::handle object, Dtype beside) {
  if (std::optional<Array> array = ask_for_array(object)) return *array;
  Block block;
  read_foreign(object, block);
  return copy_block_beside(block, beside);
}

std::optional<Array> elements_beside(nb::handle object, Dtype beside) {
  if (std::optional<Array> array = ask_for_array(object)) return array;
  Block block;
  if (!read_elements(object, block)) return std::nullopt;
  return copy_block_beside(block, beside);
}

std::optional<Array> share_foreign(nb::handle object, std::optional<Dtype> asked) {
  if (std::optional<Array> array = ask_for_array(object)) {
    if (asked && *asked != array->dtype()) return std::nullopt;
    return array;
  }
  auto block = std::make_unique<Block>();
  read_foreign(object, *block);
  std::optional<Dtype> dtype = block->dtype();
  bool same = dtype && *dtype == asked.value_or(block->natural()) && !block->swap;
  if (!same || *dtype == Dtype::bool_ || !block->is_aligned(block->size)) return std::nullopt;
  if (element_count(block->shape) == 0) return copy_block(*block, *dtype);
  Shape shape = block->shape;
  Strides strides = block->strides;
  for (int64_t& stride : strides) stride /= block->size;
  Span span = span_of(*block);
  int64_t size = block->size;
  void* low = const_cast<char*>(block->data) + span.low;
  int64_t bytes = span.high - span.low;
  auto release = [owner = block.release()] { graveyard().bury(std::unique_ptr<Block>(owner)); };
  Ref<Buffer> buffer = Buffer::wrap(low, static_cast<size_t>(bytes), release);
  if (is_row_major(shape, strides)) return make_computed(*dtype, shape, std::move(buffer));
  Array flat = make_computed(*dtype, Shape{bytes / size}, std::move(buffer));
  return as_strided(flat, shape, strides, -span.low / size);
}

}  // namespace rill::python
