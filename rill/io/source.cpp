#include "rill/io/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>

#include "rill/runtime/parallel.h"

namespace rill::io {

namespace {

constexpr int64_t read_chunk = int64_t{4} << 20;
constexpr int64_t small_file = int64_t{64} << 10;
constexpr int64_t window_bytes = int64_t{256} << 10;

class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    require<file_error>(fd_ >= 0, "[load] Failed to open file {}: {}", printable(path),
                        std::strerror(errno));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }

  struct stat status() const {
    struct stat status {};
    ::fstat(fd_, &status);
    return status;
  }

  void read(const std::string& name, int64_t offset, int64_t bytes, char* dst) const {
    while (bytes > 0) {
      ssize_t got = ::pread(fd_, dst, static_cast<size_t>(bytes), offset);
      if (got < 0 && errno == EINTR) continue;
      require<file_error>(got >= 0, "[load] cannot read {}: {}", name, std::strerror(errno));
      require<file_error>(got > 0, "[load] {} ends at byte {}: it was cut after it was opened",
                          name, offset);
      offset += got;
      dst += got;
      bytes -= got;
    }
  }

 private:
  int fd_;
};

class FileSource final : public Source {
 public:
  FileSource(const std::string& path, std::shared_ptr<Descriptor> file)
      : Source(path), path_(path), file_(std::move(file)), status_(file_->status()) {}

  int64_t size() const override { return status_.st_size; }
  void promise_read() const override {
    std::lock_guard lock(mutex_);
    ++promised_;
  }
  void end_read() const override {
    std::lock_guard lock(mutex_);
    if (--promised_ <= 0) file_.reset();
  }

 private:
  std::shared_ptr<Descriptor> file() const {
    std::lock_guard lock(mutex_);
    if (!file_) {
      auto again = std::make_shared<Descriptor>(path_);
      struct stat now = again->status();
      bool same = now.st_dev == status_.st_dev && now.st_ino == status_.st_ino &&
                  now.st_size == status_.st_size && now.st_mtim.tv_sec == status_.st_mtim.tv_sec &&
                  now.st_mtim.tv_nsec == status_.st_mtim.tv_nsec;
      require<file_error>(same, "[load] {} has changed since it was loaded", name());
      file_ = std::move(again);
    }
    return file_;
  }

  void read_range(int64_t offset, int64_t bytes, void* dst) const override {
    std::shared_ptr<Descriptor> open = file();
    parallel_for(bytes, read_chunk, [&](int64_t begin, int64_t end) {
      open->read(name(), offset + begin, end - begin, static_cast<char*>(dst) + begin);
    });
  }

  std::string path_;
  mutable std::mutex mutex_;  // guards file_ and promised_
  mutable std::shared_ptr<Descriptor> file_;
  mutable int64_t promised_ = 0;
  struct stat status_;
};

class MemorySource final : public Source {
 public:
  MemorySource(std::string_view name, Ref<Buffer> block, int64_t bytes)
      : Source(name), block_(std::move(block)), bytes_(bytes) {}

  int64_t size() const override { return bytes_; }
  Ref<Buffer> memory() const override { return block_; }

 private:
  void read_range(int64_t offset, int64_t bytes, void* dst) const override {
    parallel_for(bytes, read_chunk, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<char*>(dst) + begin,
                  static_cast<const char*>(block_->data()) + offset + begin,
                  static_cast<size_t>(end - begin));
    });
  }

  Ref<Buffer> block_;
  int64_t bytes_;
};

/// The bytes of the UTF-8 character at the start of `text`; 0 if there is none. Refuses overlong
/// forms and surrogates as far as their first two bytes tell, which is all there is to tell.
size_t utf8_length(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  auto next = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return next(1) ? 2 : 0;
  if (lead >= 0xe0 && lead < 0xf0) {
    bool good = (lead != 0xe0 || byte(1) >= 0xa0) && (lead != 0xed || byte(1) < 0xa0);
    return good && next(1) && next(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead < 0xf5) {
    bool good = (lead != 0xf0 || byte(1) >= 0x90) && (lead != 0xf4 || byte(1) < 0x90);
    return good && next(1) && next(2) && next(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    size_t length = utf8_length(text);
    bool is_control = length <= 1 && static_cast<uint8_t>(text[0]) < 0x20;
    if (length == 0 || is_control) result += '?';
    else result += text.substr(0, length);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

void Source::read(int64_t offset, int64_t bytes, void* dst) const {
  require<file_error>(offset >= 0 && bytes >= 0 && bytes <= size() && offset <= size() - bytes,
                      "[load] {} is cut or corrupt: {} bytes are wanted at byte {} of {}", name(),
                      bytes, offset, size());
  if (bytes > 0) read_range(offset, bytes, dst);
}

Ref<Source> open_source(const std::string& path) {
  auto file = std::make_shared<Descriptor>(path);
  struct stat status = file->status();
  require<file_error>(S_ISREG(status.st_mode), "[load] Failed to open file {}: not a regular file",
                      printable(path));
  if (status.st_size > small_file) return make_ref<FileSource>(path, std::move(file));
  Ref<Buffer> block = Buffer::allocate(static_cast<size_t>(status.st_size));
  file->read(path, 0, status.st_size, static_cast<char*>(block->data()));
  return memory_source(path, std::move(block), status.st_size);
}

Ref<Source> memory_source(std::string_view name, Ref<Buffer> block, int64_t bytes) {
  return make_ref<MemorySource>(name, std::move(block), bytes);
}

void Cursor::require_left(uint64_t bytes) const {
  require<file_error>(bytes <= static_cast<uint64_t>(std::max<int64_t>(left(), 0)),
                      "[load] {} is cut or corrupt: {} bytes are wanted at byte {} of {}",
                      source_.name(), bytes, place_, source_.size());
}

void Cursor::skip(int64_t bytes) {
  require_left(static_cast<uint64_t>(bytes));
  place_ += bytes;
}

void Cursor::read(void* dst, int64_t bytes) {
  require_left(static_cast<uint64_t>(bytes));
  if (bytes > window_bytes) {
    source_.read(place_, bytes, dst);
  } else if (bytes > 0) {
    int64_t begin = place_ - window_begin_;
    if (begin < 0 || begin + bytes > static_cast<int64_t>(window_.size())) {
      window_.resize(static_cast<size_t>(std::min(left(), window_bytes)));
      source_.read(place_, static_cast<int64_t>(window_.size()), window_.data());
      window_begin_ = place_;
      begin = 0;
    }
    std::memcpy(dst, window_.data() + begin, static_cast<size_t>(bytes));
  }
  place_ += bytes;
}

std::string Cursor::text(uint64_t bytes) {
  require_left(bytes);
  std::string result(bytes, '\0');
  read(result.data(), static_cast<int64_t>(bytes));
  return result;
}

}  // namespace rill::io
