#include <zlib.h>

#include <algorithm>
#include <memory>

#include "rill/io/zip.h"
#include "rill/runtime/parallel.h"

namespace rill::io {

namespace {

constexpr int64_t chunk = int64_t{1} << 20;
constexpr uint64_t limit32 = 0xffffffff;
constexpr uint32_t date_of_1980 = 1 << 5 | 1;

/// Appends the lowest `bytes` bytes of a number.
void put(std::string& text, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i));
}
uint64_t clamped(uint64_t number) { return std::min(number, limit32); }

/// Deflates one piece by itself, so that pieces can follow each other in a stream.
std::string deflated(std::string_view piece, bool last) {
  z_stream state{};
  int status =
      deflateInit2(&state, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  if (status != Z_OK) throw std::bad_alloc();
  std::unique_ptr<z_stream, decltype(&deflateEnd)> guard(&state, &deflateEnd);
  // The bound is that of Z_FINISH; the flush of a piece takes a few bytes more.
  std::string out(deflateBound(&state, piece.size()) + 16, '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
  state.avail_in = static_cast<uInt>(piece.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  status = deflate(&state, last ? Z_FINISH : Z_FULL_FLUSH);
  RILL_ASSERT(status == (last ? Z_STREAM_END : Z_OK) && state.avail_in == 0);
  return out.substr(0, state.total_out);
}

/// `head` and `body` as one stream, in pieces.
std::vector<std::string> deflated_pieces(std::string_view head, std::string_view body) {
  auto size = static_cast<int64_t>(body.size());
  auto count = static_cast<size_t>(size == 0 ? 0 : (size - 1) / chunk + 1);
  std::vector<std::string> pieces(count + 1);
  pieces[0] = deflated(head, count == 0);
  parallel_for(size, chunk, [&](int64_t begin, int64_t end) {
    pieces[static_cast<size_t>(begin / chunk) + 1] = deflated(
        body.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), end == size);
  });
  return pieces;
}

struct Entry {
  const std::string& name;
  uint64_t size;
  uint64_t compressed;
  uint64_t checksum;
  bool is_deflated;

  bool is_large() const { return std::max(size, compressed) >= limit32; }
};

/// What the local header and the directory have in common: from the version that is needed to the
/// length of the name.
std::string common_header(const Entry& entry) {
  std::string text;
  put(text, 45, 2);
  put(text, 1 << 11, 2);  // the name is UTF-8
  put(text, entry.is_deflated ? Z_DEFLATED : 0, 2);
  put(text, 0, 2);
  put(text, date_of_1980, 2);
  put(text, entry.checksum, 4);
  put(text, entry.is_large() ? limit32 : entry.compressed, 4);
  put(text, entry.is_large() ? limit32 : entry.size, 4);
  put(text, entry.name.size(), 2);
  return text;
}

/// The 64-bit extra field: the numbers that do not fit 32 bits.
std::string extra_field(const Entry& entry, uint64_t place) {
  std::string numbers;
  if (entry.is_large()) {
    put(numbers, entry.size, 8);
    put(numbers, entry.compressed, 8);
  }
  if (place >= limit32) put(numbers, place, 8);
  std::string field;
  if (!numbers.empty()) {
    put(field, 1, 2);
    put(field, numbers.size(), 2);
  }
  return field + numbers;
}

std::string local_header(const Entry& entry) {
  std::string text;
  std::string extra = extra_field(entry, 0);
  put(text, 0x04034b50, 4);
  text += common_header(entry);
  put(text, extra.size(), 2);
  return text + entry.name + extra;
}

void put_in_directory(std::string& directory, const Entry& entry, uint64_t place) {
  std::string extra = extra_field(entry, place);
  put(directory, 0x02014b50, 4);
  put(directory, 45 | 3 << 8, 2);  // made by version 4.5 on Unix
  directory += common_header(entry);
  put(directory, extra.size(), 2);
  put(directory, 0, 6);  // no comment, disk 0, no internal attributes
  put(directory, uint64_t{0100644} << 16, 4);
  put(directory, clamped(place), 4);
  directory += entry.name + extra;
}

}  // namespace

uint32_t checksum_of(std::string_view bytes) {
  auto size = static_cast<int64_t>(bytes.size());
  if (size == 0) return 0;
  std::vector<uint32_t> sums(static_cast<size_t>((size - 1) / chunk + 1));
  parallel_for(size, chunk, [&](int64_t begin, int64_t end) {
    sums[static_cast<size_t>(begin / chunk)] = static_cast<uint32_t>(crc32_z(
        0, reinterpret_cast<const Bytef*>(bytes.data()) + begin, static_cast<size_t>(end - begin)));
  });
  uLong all = 0;
  for (int64_t begin = 0; begin < size; begin += chunk) {
    all =
        crc32_combine(all, sums[static_cast<size_t>(begin / chunk)], std::min(chunk, size - begin));
  }
  return static_cast<uint32_t>(all);
}

void ZipWriter::write(std::string_view bytes) {
  sink_.write(bytes);
  place_ += bytes.size();
}

void ZipWriter::add(const std::string& name, std::string_view head, std::string_view body) {
  require(name.size() <= 65535, "[savez] a name of {} bytes is too long", name.size());
  Entry entry{name, head.size() + body.size(), head.size() + body.size(), 0, compress_};
  std::vector<std::string> pieces;
  if (compress_) {
    pieces = deflated_pieces(head, body);
    entry.compressed = 0;
    for (const std::string& piece : pieces) entry.compressed += piece.size();
  }
  entry.checksum =
      crc32_combine(checksum_of(head), checksum_of(body), static_cast<z_off_t>(body.size()));
  put_in_directory(directory_, entry, place_);
  ++count_;
  write(local_header(entry));
  if (!compress_) {
    write(head);
    write(body);
  }
  for (const std::string& piece : pieces) write(piece);
}

void ZipWriter::finish() {
  uint64_t begin = place_;
  uint64_t bytes = directory_.size();
  write(directory_);
  std::string end;
  if (begin >= limit32 || bytes >= limit32 || count_ >= 65535) {
    uint64_t end64 = place_;
    put(end, 0x06064b50, 4);
    put(end, 44, 8);
    put(end, 45 | 3 << 8, 2);
    put(end, 45, 2);
    put(end, 0, 8);
    put(end, count_, 8);
    put(end, count_, 8);
    put(end, bytes, 8);
    put(end, begin, 8);
    put(end, 0x07064b50, 4);
    put(end, 0, 4);
    put(end, end64, 8);
    put(end, 1, 4);
  }
  put(end, 0x06054b50, 4);
  put(end, 0, 4);
  put(end, std::min<uint64_t>(count_, 65535), 2);
  put(end, std::min<uint64_t>(count_, 65535), 2);
  put(end, clamped(bytes), 4);
  put(end, clamped(begin), 4);
  put(end, 0, 2);
  write(end);
}

}  // namespace rill::io
