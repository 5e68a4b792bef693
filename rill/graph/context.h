// Where an operation goes when nobody says: defaults per thread. Streams themselves belong to no
// thread.
#pragma once

#include <variant>

#include "rill/base/device.h"

namespace rill {

/// The `stream` argument of an operation: nothing, a Stream, or a Device (its default stream).
using StreamOrDevice = std::variant<std::monostate, Stream, Device>;

/// The stream that the argument names, on this thread. Throws if its device is not there.
Stream to_stream(const StreamOrDevice& where = {});

Device default_device();
void set_default_device(Device device);

/// The default stream of a device on this thread. The main thread starts with stream 0; another
/// thread gets a stream of its own when it first asks.
Stream default_stream(Device device);
/// The default device stays what it is.
void set_default_stream(Stream stream);

/// A new in-order queue. Throws std::invalid_argument when there is no such device.
Stream new_stream(Device device);
int stream_count();

/// The number of devices of a type that this process can use.
int device_count(DeviceType type);
void require_device(const char* operation, Device device);

/// Within its life, on this thread, the default device and stream are those of `where`.
class StreamScope {
 public:
  explicit StreamScope(const StreamOrDevice& where);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Device device_;
  Stream stream_;  // the default of that scope's device before
};

}  // namespace rill
