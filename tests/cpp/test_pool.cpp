// The pool behind the tasks: loops in parallel, idling, fork and exit.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>

#include "rill/runtime/parallel.h"
#include "rill/runtime/processor_ranks.h"
#include "tasks.h"

// The thread sanitizer refuses threads in a forked child unless told otherwise.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name that the sanitizer looks for
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace rill {
namespace {

TEST(ProcessorRanks, CountThoseOfTheSet) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  for (int processor : {0, 2, 5, 64, CPU_SETSIZE - 1}) CPU_SET(processor, &usable);
  const detail::ProcessorRanks ranks(usable);
  EXPECT_EQ(ranks[0], 0);
  EXPECT_EQ(ranks[2], 1);
  EXPECT_EQ(ranks[5], 2);
  EXPECT_EQ(ranks[64], 3);
  EXPECT_EQ(ranks[CPU_SETSIZE - 1], 4);
  EXPECT_EQ(ranks[3], 2) << "not of the set: as the next that is";
  EXPECT_EQ(ranks[-1], 0) << "the system does not know";
  EXPECT_EQ(ranks[CPU_SETSIZE], CPU_SETSIZE) << "more processors than a set holds";
}

TEST(ParallelFor, CoversEveryIndexOnce) {
  for (int64_t count : {0, 1, 2, 7, 1000, 4096, 100'003}) {
    for (int64_t grain : {int64_t{1}, int64_t{3}, int64_t{64}, int64_t{1'000'000}}) {
      std::vector<std::atomic<uint8_t>> hits(count);
      std::atomic<bool> regular{true};
      parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        if (begin % grain != 0 || (end - begin != grain && end != count)) regular = false;
        for (int64_t i = begin; i < end; ++i) ++hits[i];
      });
      EXPECT_TRUE(regular);
      for (auto& hit : hits) ASSERT_EQ(hit, 1);
    }
  }
}

TEST(ParallelFor, UsesSeveralThreads) {
  if (parallel_width() < 2) GTEST_SKIP();
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  parallel_for(20, 1, [&](int64_t, int64_t) {
    most = std::max<int>(most, ++inside);
    std::this_thread::sleep_for(milliseconds(2));
    --inside;
  });
  EXPECT_GE(most, 2);
  EXPECT_LE(most, parallel_width());
}

TEST(ParallelFor, Nests) {
  std::atomic<int64_t> sum{0};
  parallel_for(20, 1, [&](int64_t i, int64_t) {
    parallel_for(50, 7, [&](int64_t begin, int64_t end) {
      parallel_for(end - begin, 2, [&](int64_t b, int64_t e) { sum += (e - b) * i; });
    });
  });
  EXPECT_EQ(sum, 50 * 19 * 20 / 2);
}

TEST(ParallelFor, KeepsToTheProcessorsWhereLoopsNest) {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  for (int round = 0; round < 20; ++round) {
    parallel_for(2 * parallel_width(), 1, [&](int64_t, int64_t) {
      for (int i = 0; i < 3; ++i) {
        parallel_for(8, 1, [&](int64_t, int64_t) {
          most = std::max<int>(most, ++inside);
          using Clock = std::chrono::steady_clock;
          const auto end = Clock::now() + microseconds(20);
          while (Clock::now() < end) continue;
          --inside;
        });
      }
    });
  }
  // One may be preempted, and replaced when it has been waited for too long.
  EXPECT_LE(most, parallel_width() + 1);
}

TEST(ParallelFor, HelpsInsideAfterFinishingOutside) {
  if (parallel_width() != 2) GTEST_SKIP() << "written for two threads";
  std::atomic<bool> short_done{false};
  std::mutex mutex;
  std::set<std::thread::id> threads;  // that ran chunks of the long one after the short one ended
  parallel_for(2, 1, [&](int64_t branch, int64_t) {
    if (branch == 0) {
      std::this_thread::sleep_for(milliseconds(5));
      short_done = true;
      return;
    }
    parallel_for(400, 1, [&](int64_t, int64_t) {
      std::this_thread::sleep_for(microseconds(200));
      if (!short_done) return;
      std::scoped_lock lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
  });
  EXPECT_GE(threads.size(), 2u);
}

TEST(ParallelFor, RethrowsOneExceptionAfterAllChunks) {
  std::atomic<int> runs{0};
  auto body = [&](int64_t begin, int64_t) {
    ++runs;
    if (begin % 10 == 3) throw std::out_of_range("chunk");
  };
  EXPECT_THROW(parallel_for(1000, 1, body), std::out_of_range);
  EXPECT_EQ(runs, 1000);
  EXPECT_THROW(parallel_for(1, 1, [](int64_t, int64_t) { throw 1; }), int);
}

TEST(ParallelFor, WorksFromManyThreadsAndInsideTasks) {
  run_threads(8, [](int thread) {
    for (int round = 0; round < 300; ++round) {
      std::atomic<int64_t> sum{0};
      auto work = [&] {
        parallel_for(100, 9, [&](int64_t b, int64_t e) { sum += (b + e - 1) * (e - b); });
      };
      if ((round + thread) % 2) {
        work();
      } else {
        auto task = call(work);
        LocalQueue local;
        submit(task, round % 4 ? &local : nullptr);
        wait_for(*task, local, never);
      }
      ASSERT_EQ(sum, 99 * 100);
    }
  });
}

TEST(Pool, UsesNoProcessorWhenIdle) {
  parallel_for(16, 1, [](int64_t, int64_t) { std::this_thread::sleep_for(microseconds(100)); });
  std::vector<Strand> strands(16);
  for (auto& strand : strands) {
    auto task = call(never);
    strand.append(task);
    submit(task, nullptr);
  }
  drain();
  std::this_thread::sleep_for(milliseconds(20));
  double before = cpu_milliseconds();
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_LT(cpu_milliseconds() - before, 2);
}

TEST(Fork, FirstFinishesWhatIsQueuedAndBothSidesGoOn) {
  for (int round = 0; round < 5; ++round) {
    int runs = 0;
    Strand strand;
    for (int i = 0; i < 50; ++i) {
      auto task = call([&] {
        std::this_thread::sleep_for(microseconds(200));
        ++runs;
      });
      strand.append(task);
      submit(task, nullptr);
    }
    auto use = [&] {
      auto task = call([&] { runs += 1000; });
      strand.append(task);
      submit(task, nullptr);
      wait_for_all({task});
      std::atomic<int> sum{0};
      parallel_for(100, 1, [&](int64_t, int64_t) { ++sum; });
      return runs == 1050 && sum == 100;
    };
    EXPECT_EQ(exit_code_of_child([&] { std::_Exit(use() ? 7 : 1); }), 7);
    EXPECT_TRUE(use());
  }
}

TEST(Fork, WorksWhileOtherThreadsEvaluate) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "in the child the sanitizer mistakes new threads for those of the parent";
#endif
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      LocalQueue local;
      auto task = call([] {}, 1000);
      submit(task, &local);
      wait_for(*task, local, never);
      parallel_for(4, 1, [](int64_t, int64_t) {});
    }
  });
  for (int round = 0; round < 10; ++round) {
    int code = exit_code_of_child([] {
      int runs = 0;
      auto task = call([&] { ++runs; });
      submit(task, nullptr);
      wait_for_all({task});
      std::_Exit(runs == 1 ? 7 : 1);
    });
    EXPECT_EQ(code, 7);
  }
  stop = true;
  busy.join();
}

// Registered before the pool registers its handler, so this runs after that.
std::atomic<int> runs_before_exit{-1};
const int registered = std::atexit([] {
  if (runs_before_exit >= 0) _exit(runs_before_exit == 100 ? 7 : 1);
});

TEST(Exit, RunsWhatIsQueued) {
  ASSERT_EQ(registered, 0);
  int code = exit_code_of_child([] {
    runs_before_exit = 0;
    static Strand* strand = new Strand;
    for (int i = 0; i < 100; ++i) {
      auto task = call([] {
        std::this_thread::sleep_for(microseconds(500));
        ++runs_before_exit;
      });
      strand->append(task);
      submit(task, nullptr);
    }
  });
  EXPECT_EQ(code, 7);
}

TEST(Exit, GivesUpOnWhatCanNeverRun) {
  int code = exit_code_of_child([] {
    runs_before_exit = 100;
    auto* missing = new Ref<Task>(call(never));  // never submitted
    auto* task = new Ref<Task>(call(never));
    add_edge(**missing, *task);
    submit(*task, nullptr);
  });
  EXPECT_EQ(code, 7);
}

}  // namespace
}  // namespace rill
