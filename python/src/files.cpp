#include "files.h"

#include <cstring>

#include "convert.h"

namespace rill::python {

namespace {

constexpr int64_t write_chunk = int64_t{8} << 20;

/// The bytes that file.read(count) gave.
nb::bytes read_bytes(nb::handle file, int64_t count) {
  nb::object got = file.attr("read")(count);
  require(PyBytes_Check(got.ptr()) != 0, "[load] {} is not open in binary mode: read() gave {}",
          name_of_file(file), type_of(got));
  return nb::borrow<nb::bytes>(got);
}

}  // namespace

bool is_path(nb::handle file) {
  return PyUnicode_Check(file.ptr()) || PyBytes_Check(file.ptr()) ||
         nb::hasattr(file, "__fspath__");
}

std::string to_path(nb::handle file) {
  PyObject* bytes = nullptr;
  if (PyUnicode_FSConverter(file.ptr(), &bytes) == 0) throw nb::python_error();
  nb::bytes path = nb::steal<nb::bytes>(bytes);
  return {path.c_str(), path.size()};
}

std::string name_of_file(nb::handle file) {
  nb::object name = nb::getattr(file, "name", nb::none());
  return nb::isinstance<nb::str>(name) ? nb::cast<std::string>(name) : type_of(file);
}

bool can_seek(nb::handle file) {
  return nb::hasattr(file, "seekable") && nb::hasattr(file, "tell") &&
         nb::cast<bool>(file.attr("seekable")());
}

PythonSource::PythonSource(nb::object file) : Source(name_of_file(file)), file_(std::move(file)) {
  begin_ = nb::cast<int64_t>(file_.attr("tell")());
  size_ = nb::cast<int64_t>(file_.attr("seek")(0, 2)) - begin_;
  seek(0);
}

void PythonSource::seek(int64_t offset) const { file_.attr("seek")(begin_ + offset); }

void PythonSource::read_range(int64_t offset, int64_t bytes, void* dst) const {
  seek(offset);
  auto* next = static_cast<char*>(dst);
  while (bytes > 0) {
    nb::bytes got = read_bytes(file_, std::min(bytes, write_chunk));
    auto count = static_cast<int64_t>(got.size());
    require<io::file_error>(count > 0 && count <= bytes, "[load] {} ends early", name());
    std::memcpy(next, got.c_str(), got.size());
    next += count;
    bytes -= count;
  }
}

Ref<io::Source> read_all(nb::handle file) {
  nb::bytes all = read_bytes(file, -1);
  Ref<Buffer> block = Buffer::allocate(all.size());
  std::memcpy(block->data(), all.c_str(), all.size());
  return io::memory_source(name_of_file(file), std::move(block), static_cast<int64_t>(all.size()));
}

void PythonSink::write(const void* data, size_t bytes) {
  nb::gil_scoped_acquire acquire;
  const auto* next = static_cast<const char*>(data);
  auto left = static_cast<int64_t>(bytes);
  while (left > 0) {
    int64_t count = std::min(left, write_chunk);
    // A copy: the object may keep what it is given.
    nb::object written = write_(nb::bytes(next, static_cast<size_t>(count)));
    if (PyLong_Check(written.ptr())) {  // a raw file may take a part
      auto taken = nb::cast<int64_t>(written);
      require<std::runtime_error>(taken > 0 && taken <= count, "[save] write() returned {}", taken);
      count = taken;
    }
    next += count;
    left -= count;
  }
}

}  // namespace rill::python
