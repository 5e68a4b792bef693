#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "rill/io/zip.h"
#include "rill/runtime/parallel.h"

namespace rill::io {

namespace {

constexpr uint32_t local_mark = 0x04034b50;
constexpr uint32_t member_mark = 0x02014b50;
constexpr uint32_t end_mark = 0x06054b50;
constexpr uint32_t end64_mark = 0x06064b50;
constexpr uint32_t locator64_mark = 0x07064b50;
constexpr int64_t chunk = int64_t{1} << 20;

void require_zip(bool good, const Source& archive) {
  require<file_error>(good, "[load] {} is not a zip archive, or is cut or corrupt", archive.name());
}

template <class T>
T at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

/// The content of a member.
class Member : public Source {
 public:
  Member(Ref<Source> archive, const ZipMember& member, int64_t begin)
      : Source(fmt::format("{} of {}", member.name, archive->name())),
        archive_(std::move(archive)),
        begin_(begin),
        member_(member) {}

  int64_t size() const override { return member_.size; }
  void promise_read() const override { archive_->promise_read(); }
  void end_read() const override { archive_->end_read(); }

 protected:
  void check(uint32_t checksum) const {
    require<file_error>(checksum == member_.checksum, "[load] {} is corrupt: its checksum differs",
                        name());
  }

  Ref<Source> archive_;
  int64_t begin_;  // of its bytes in the archive
  ZipMember member_;
};

class StoredMember final : public Member {
 public:
  using Member::Member;

 private:
  void read_range(int64_t offset, int64_t bytes, void* dst) const override {
    auto* to = static_cast<char*>(dst);
    std::vector<uint32_t> checksums(static_cast<size_t>((bytes - 1) / chunk + 1));
    parallel_for(bytes, chunk, [&](int64_t begin, int64_t end) {
      archive_->read(begin_ + offset + begin, end - begin, to + begin);
      checksums[static_cast<size_t>(begin / chunk)] = static_cast<uint32_t>(
          crc32_z(0, reinterpret_cast<const Bytef*>(to + begin), static_cast<size_t>(end - begin)));
    });
    if (offset + bytes < member_.size) return;
    uLong all = checksum_before(offset);
    for (int64_t begin = 0; begin < bytes; begin += chunk) {
      all = crc32_combine(all, checksums[static_cast<size_t>(begin / chunk)],
                          std::min(chunk, bytes - begin));
    }
    check(static_cast<uint32_t>(all));
  }

  uLong checksum_before(int64_t end) const {
    std::string window;
    uLong sum = 0;
    for (int64_t place = 0; place < end; place += chunk) {
      window.resize(static_cast<size_t>(std::min(chunk, end - place)));
      archive_->read(begin_ + place, static_cast<int64_t>(window.size()), window.data());
      sum = crc32_z(sum, reinterpret_cast<const Bytef*>(window.data()), window.size());
    }
    return sum;
  }
};

class DeflatedMember final : public Member {
 public:
  using Member::Member;

 private:
  void read_range(int64_t offset, int64_t bytes, void* dst) const override {
    z_stream state{};
    if (inflateInit2(&state, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
    std::unique_ptr<z_stream, decltype(&inflateEnd)> guard(&state, &inflateEnd);
    std::string input;
    std::string skipped(static_cast<size_t>(std::min(offset, chunk)), '\0');
    int64_t consumed = 0;
    uLong sum = 0;
    for (int64_t place = 0; place < offset + bytes;) {
      bool skipping = place < offset;
      int64_t room = std::min(chunk, (skipping ? offset : offset + bytes) - place);
      auto* to = reinterpret_cast<Bytef*>(skipping ? skipped.data()
                                                   : static_cast<char*>(dst) + place - offset);
      inflate_some(state, input, consumed, to, room);
      sum = crc32_z(sum, to, static_cast<size_t>(room));
      place += room;
    }
    if (offset + bytes == member_.size) check(static_cast<uint32_t>(sum));
  }

  /// Fills `room` bytes at `to`.
  void inflate_some(z_stream& state, std::string& input, int64_t& consumed, Bytef* to,
                    int64_t room) const {
    state.next_out = to;
    state.avail_out = static_cast<uInt>(room);
    while (state.avail_out > 0) {
      if (state.avail_in == 0) {
        input.resize(static_cast<size_t>(std::min(chunk, member_.compressed - consumed)));
        archive_->read(begin_ + consumed, static_cast<int64_t>(input.size()), input.data());
        consumed += static_cast<int64_t>(input.size());
        state.next_in = reinterpret_cast<Bytef*>(input.data());
        state.avail_in = static_cast<uInt>(input.size());
      }
      int status = inflate(&state, Z_NO_FLUSH);
      bool more = status == Z_OK && (state.avail_in > 0 || consumed < member_.compressed);
      require<file_error>(state.avail_out == 0 || more,
                          "[load] {} is corrupt: its compressed bytes end early or make no sense",
                          name());
    }
  }
};

/// Where the directory lies.
struct Directory {
  uint64_t begin;
  uint64_t bytes;
  uint64_t members;
};

Directory directory64(const Source& archive, int64_t end_place, Directory otherwise) {
  if (end_place < 20) return otherwise;
  Cursor cursor(archive, end_place - 20);
  if (cursor.value<uint32_t>() != locator64_mark) return otherwise;
  cursor.value<uint32_t>();
  auto place = cursor.value<uint64_t>();
  require_zip(place <= static_cast<uint64_t>(archive.size()), archive);
  std::string end(56, '\0');
  archive.read(static_cast<int64_t>(place), 56, end.data());
  require_zip(at<uint32_t>(end, 0) == end64_mark, archive);
  return {at<uint64_t>(end, 48), at<uint64_t>(end, 40), at<uint64_t>(end, 32)};
}

Directory find_directory(const Source& archive) {
  constexpr int64_t longest = 22 + 65535;  // with a comment
  int64_t begin = std::max<int64_t>(0, archive.size() - longest);
  std::string tail(static_cast<size_t>(archive.size() - begin), '\0');
  archive.read(begin, static_cast<int64_t>(tail.size()), tail.data());
  require_zip(tail.size() >= 22, archive);
  for (size_t i = tail.size() - 22;; --i) {
    if (at<uint32_t>(tail, i) == end_mark && i + 22 + at<uint16_t>(tail, i + 20) == tail.size()) {
      Directory found{at<uint32_t>(tail, i + 16), at<uint32_t>(tail, i + 12),
                      at<uint16_t>(tail, i + 10)};
      return directory64(archive, begin + static_cast<int64_t>(i), found);
    }
    require_zip(i > 0, archive);
  }
}

/// Sizes and places of 32 bits that are all ones stand in the 64-bit extra field, in this order.
void read_extra(const Source& archive, std::string_view extra, uint64_t (&numbers)[3]) {
  while (extra.size() >= 4) {
    auto kind = at<uint16_t>(extra, 0);
    size_t length = at<uint16_t>(extra, 2);
    require_zip(4 + length <= extra.size(), archive);
    std::string_view field = extra.substr(4, length);
    if (kind == 1) {
      for (uint64_t& number : numbers) {
        if (number != 0xffffffff) continue;
        require_zip(field.size() >= 8, archive);
        number = at<uint64_t>(field, 0);
        field.remove_prefix(8);
      }
    }
    extra.remove_prefix(4 + length);
  }
}

}  // namespace

std::vector<ZipMember> read_zip(const Source& archive) {
  Directory directory = find_directory(archive);
  auto total = static_cast<uint64_t>(archive.size());
  require_zip(directory.begin <= total && directory.bytes <= total - directory.begin, archive);
  require_zip(directory.members <= directory.bytes / 46, archive);
  Cursor cursor(archive, static_cast<int64_t>(directory.begin));
  std::vector<ZipMember> members;
  for (uint64_t i = 0; i < directory.members; ++i) {
    std::string head = cursor.text(46);
    require_zip(at<uint32_t>(head, 0) == member_mark, archive);
    std::string name = cursor.text(at<uint16_t>(head, 28));
    std::string extra = cursor.text(at<uint16_t>(head, 30));
    cursor.skip(at<uint16_t>(head, 32));
    uint64_t numbers[3] = {at<uint32_t>(head, 24), at<uint32_t>(head, 20), at<uint32_t>(head, 42)};
    read_extra(archive, extra, numbers);
    auto [size, compressed, place] = numbers;
    // Deflate makes at most 1032 bytes of one.
    require_zip(compressed <= total && place <= total && size / 1032 <= compressed, archive);
    members.push_back({std::move(name), at<uint16_t>(head, 8), at<uint16_t>(head, 10),
                       at<uint32_t>(head, 16), static_cast<int64_t>(compressed),
                       static_cast<int64_t>(size), static_cast<int64_t>(place)});
  }
  return members;
}

Ref<Source> open_member(const Ref<Source>& archive, const ZipMember& member) {
  std::string head(30, '\0');
  archive->read(member.place, 30, head.data());
  require_zip(at<uint32_t>(head, 0) == local_mark, *archive);
  int64_t begin = member.place + 30 + at<uint16_t>(head, 26) + at<uint16_t>(head, 28);
  require_zip(begin <= archive->size() && member.compressed <= archive->size() - begin, *archive);
  bool encrypted = (member.flags & 1) != 0;
  require<file_error>(!encrypted && (member.method == Z_DEFLATED || member.method == 0),
                      "[load] {} of {} is encrypted or compressed by an unknown method",
                      printable(member.name), archive->name());
  if (member.method == Z_DEFLATED) return make_ref<DeflatedMember>(archive, member, begin);
  require_zip(member.size == member.compressed, *archive);
  return make_ref<StoredMember>(archive, member, begin);
}

}  // namespace rill::io
