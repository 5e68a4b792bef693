#include "rill/io/sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <tuple>

#include "rill/io/source.h"
#include "rill/runtime/signals_blocked.h"

namespace rill::io {

namespace {

/// The path with symbolic links followed, so that a link stays one.
std::string resolved(const std::string& path) {
  std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  return real ? std::string(real.get()) : path;
}

std::string partial_name(const std::string& path) {
  static std::atomic<uint64_t> count{0};
  return fmt::format("{}.{}-{}.partial", path, ::getpid(), count.fetch_add(1));
}

constexpr int64_t large = 4 << 20;  // bytes: of them the costs below are worth a system call more

/// Closes the last handle of a removed file, whereupon the system frees its pages and blocks, which
/// takes 12 ms for 256 MB. A thread does it; while that is busy with one file, the caller waits for
/// the next, so no more than one takes room that nobody sees.
void close_beside(int file) {
  static std::atomic_flag busy;
  if (busy.test_and_set(std::memory_order_acquire)) {
    ::close(file);
    return;
  }
  try {
    detail::SignalsBlocked blocked;
    std::thread([file] {
      ::close(file);
      busy.clear(std::memory_order_release);
    }).detach();
  } catch (const std::system_error&) {  // the system has no more threads for us
    ::close(file);
    busy.clear(std::memory_order_release);
  }
}

void remove_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct stat status {};
  const bool lasts = file >= 0 && ::fstat(file, &status) == 0 && status.st_size >= large;
  ::unlink(path.c_str());
  if (lasts) {
    close_beside(file);
  } else if (file >= 0) {
    ::close(file);
  }
}

/// Gives a file its name. An old file of that name is exchanged for it and then removed: ext4
/// writes a file to the disk at once when it is renamed over another, which takes long.
bool give_name(const std::string& partial, const std::string& path) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    remove_file(partial);
    return true;
  }
  return ::rename(partial.c_str(), path.c_str()) == 0;
}

}  // namespace

FileSink::FileSink(const std::string& path) : path_(resolved(path)) {
  struct stat status {};
  bool exists = ::stat(path_.c_str(), &status) == 0;
  mode_t mode = exists ? status.st_mode & 0777 : 0666;
  require<std::runtime_error>(!exists || ::access(path_.c_str(), W_OK) == 0,
                              "[save] Failed to open {}: {}", printable(path),
                              std::strerror(errno));
  if (!exists || S_ISREG(status.st_mode)) {
    partial_ = partial_name(path_);
    fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd_ < 0) partial_.clear();  // a folder that takes no new files, a name at its limit
  }
  if (fd_ < 0) fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  require<std::runtime_error>(fd_ >= 0, "[save] Failed to open {}: {}", printable(path),
                              std::strerror(errno));
}

FileSink::~FileSink() {
  if (fd_ >= 0) ::close(fd_);
  if (fd_ >= 0 && !partial_.empty()) ::unlink(partial_.c_str());
}

void FileSink::reserve(size_t bytes) {
  if (partial_.empty() || static_cast<int64_t>(bytes) < large) return;
  const off_t here = ::lseek(fd_, 0, SEEK_CUR);
  if (here >= 0)
    std::ignore = ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, here, static_cast<off_t>(bytes));
}

void FileSink::write(const void* data, size_t bytes) {
  reserve(bytes);
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t written = ::write(fd_, next, bytes);
    if (written < 0 && errno == EINTR) continue;
    require<std::runtime_error>(written >= 0, "[save] cannot write {}: {}", printable(path_),
                                std::strerror(errno));
    next += written;
    bytes -= static_cast<size_t>(written);
  }
}

void FileSink::commit() {
  int closed = ::close(fd_);
  fd_ = -1;
  bool done = closed == 0;
  if (!partial_.empty()) {
    done = done && give_name(partial_, path_);
    if (!done) ::unlink(partial_.c_str());
  }
  require<std::runtime_error>(done, "[save] cannot write {}: {}", printable(path_),
                              std::strerror(errno));
}

}  // namespace rill::io
