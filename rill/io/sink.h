// Where bytes go: a file, or what else can be written to.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rill::io {

/// Takes bytes in order.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const void* data, size_t bytes) = 0;

  void write(std::string_view text) { write(text.data(), text.size()); }
};

/// Writes a file beside `path` and gives it that name on commit(): until then, and after an error,
/// the old file is what it was, and arrays still to be read from it stay as they are. What is not
/// a regular file, such as a pipe, is written to as it is. Throws std::runtime_error.
class FileSink final : public Sink {
 public:
  explicit FileSink(const std::string& path);
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;
  ~FileSink() override;

  using Sink::write;
  void write(const void* data, size_t bytes) override;
  void commit();

 private:
  /// Has the file system find room for the next bytes at once, where there are many and it can:
  /// half the time of ext4 goes to finding it page by page.
  void reserve(size_t bytes);

  std::string path_;
  std::string partial_;  // empty: the file itself is written
  int fd_ = -1;
};

}  // namespace rill::io
