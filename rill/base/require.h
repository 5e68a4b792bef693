// How Rill refuses: one verb for a user's mistake, one for a broken invariant.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace rill {

/// A wrong kind of argument: TypeError in Python. (std::invalid_argument is ValueError,
/// std::out_of_range IndexError, std::bad_alloc MemoryError, std::runtime_error RuntimeError.)
struct type_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// An axis that an array does not have: AxisError in Python, a ValueError and an IndexError.
struct axis_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// Throws `Error` with a message "[operation] expectation, fact" unless `condition` holds.
template <class Error = std::invalid_argument, class... Args>
inline void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]] {
    throw Error(fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace rill

/// Stops the process: the program is in a state that its author believed impossible.
#define RILL_ASSERT(condition)                                                           \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "rill: broken invariant: %s (%s:%d)\n", #condition, __FILE__, \
                   __LINE__);                                                            \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
