// Python's view of dtypes, devices and streams.
#pragma once

#include "common.h"

namespace rill::python {

/// The Python object of a dtype.
struct DtypeObject {
  Dtype dtype;
};

/// A name for one stream in each thread that uses it.
struct ThreadLocalStream {
  Device device;
  int index = 0;
  /// This thread's stream; made when it first asks.
  Stream here() const;
};

std::string to_string(Device device);
std::string to_string(Stream stream);
nb::object dtype_object(Dtype dtype);

}  // namespace rill::python
