// Zip archives: members stored or deflated, with the 64-bit extensions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rill/io/sink.h"
#include "rill/io/source.h"

namespace rill::io {

struct ZipMember {
  std::string name;
  uint16_t flags;
  uint16_t method;
  uint32_t checksum;
  int64_t compressed;  // bytes in the archive
  int64_t size;        // bytes of the content
  int64_t place;       // of the local header
};

/// The directory of an archive. Throws file_error for what is none.
std::vector<ZipMember> read_zip(const Source& archive);

/// The content of a member. A read that reaches its end checks its checksum. Throws file_error for
/// encrypted members and methods other than stored and deflate.
Ref<Source> open_member(const Ref<Source>& archive, const ZipMember& member);

/// Writes an archive; large members are compressed by all cores. The bytes depend on the content
/// only: times are those of 1980.
class ZipWriter {
 public:
  ZipWriter(Sink& sink, bool compress) : sink_(sink), compress_(compress) {}

  /// A member whose content is `head` and then `body`.
  void add(const std::string& name, std::string_view head, std::string_view body);
  void finish();

 private:
  void write(std::string_view bytes);

  Sink& sink_;
  bool compress_;
  uint64_t place_ = 0;
  uint64_t count_ = 0;
  std::string directory_;
};

/// The CRC-32 of the bytes, by all cores.
uint32_t checksum_of(std::string_view bytes);

}  // namespace rill::io
