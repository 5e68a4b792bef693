// Where bytes come from: a file, memory, or a member of a zip archive.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "rill/base/ref.h"
#include "rill/base/require.h"
#include "rill/memory/buffer.h"

namespace rill::io {

/// A file that is not what it claims to be, or cannot be read: RuntimeError in Python.
using file_error = std::runtime_error;

/// The text with question marks in place of control characters and of what is not UTF-8: names in
/// files may be any bytes, messages may not.
std::string printable(std::string_view text);

/// Bytes that can be read at any place, by any thread, as often as one likes.
class Source : public RefCounted {
 public:
  explicit Source(std::string_view name) : name_(printable(name)) {}

  /// How errors call it.
  const std::string& name() const { return name_; }
  virtual int64_t size() const = 0;
  /// Copies bytes [offset, offset + bytes) to `dst`. Throws file_error where there are fewer.
  void read(int64_t offset, int64_t bytes, void* dst) const;
  /// The block whose first size() bytes are this source; null where there is none.
  virtual Ref<Buffer> memory() const { return nullptr; }

  /// Somebody will read later. Once every promised read has ended, a file may be closed; a read
  /// that comes nevertheless opens it again.
  virtual void promise_read() const {}
  virtual void end_read() const {}

 private:
  virtual void read_range(int64_t offset, int64_t bytes, void* dst) const = 0;

  std::string name_;
};

/// Opens a file for reading. Its content stays that of now even if another file takes its name.
/// Throws file_error. Small files are read at once and hold no file descriptor.
Ref<Source> open_source(const std::string& path);

/// The first `bytes` bytes of a block.
Ref<Source> memory_source(std::string_view name, Ref<Buffer> block, int64_t bytes);

/// Reads values one after the other, through a window of the source.
class Cursor {
 public:
  explicit Cursor(const Source& source, int64_t offset = 0) : source_(source), place_(offset) {}

  int64_t place() const { return place_; }
  int64_t left() const { return source_.size() - place_; }
  void read(void* dst, int64_t bytes);
  void skip(int64_t bytes);
  /// `bytes` bytes; refuses more than there are before it allocates.
  std::string text(uint64_t bytes);

  template <class T>
    requires std::is_trivially_copyable_v<T>
  T value() {
    T result;
    read(&result, sizeof(T));
    return result;
  }

 private:
  void require_left(uint64_t bytes) const;

  const Source& source_;
  int64_t place_;
  std::string window_;
  int64_t window_begin_ = 0;
};

}  // namespace rill::io
