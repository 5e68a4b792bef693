// Paths and file-like objects of Python.
#pragma once

#include "common.h"

namespace rill::python {

/// Whether the object is a path: str, bytes or os.PathLike.
bool is_path(nb::handle file);
/// The path as the system wants it; "~" is no home.
std::string to_path(nb::handle file);

/// A file-like object from where it stands now; its position moves. Every call needs the GIL.
class PythonSource final : public io::Source {
 public:
  /// Throws for what cannot seek.
  explicit PythonSource(nb::object file);
  int64_t size() const override { return size_; }
  /// Moves the position of the object to a byte of the source.
  void seek(int64_t offset) const;

 private:
  void read_range(int64_t offset, int64_t bytes, void* dst) const override;

  nb::object file_;
  int64_t begin_;
  int64_t size_;
};

bool can_seek(nb::handle file);
/// Everything from where the object stands, in memory.
Ref<io::Source> read_all(nb::handle file);

/// A file-like object with write(). Takes the GIL.
class PythonSink final : public io::Sink {
 public:
  explicit PythonSink(nb::object file) : write_(file.attr("write")) {}
  using Sink::write;
  void write(const void* data, size_t bytes) override;

 private:
  nb::object write_;
};

/// How errors call a file-like object.
std::string name_of_file(nb::handle file);

}  // namespace rill::python
