// The task runtime: order, edges, strands, loops, waits, fork and exit.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "rill/runtime/parallel.h"
#include "rill/runtime/task.h"

// The thread sanitizer refuses threads in a forked child unless told otherwise.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name that the sanitizer looks for
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace rill {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

std::atomic<int64_t> live_tasks{0};

class Call final : public Task {
 public:
  explicit Call(std::function<void()> body, uint64_t nanoseconds = 0) : body_(std::move(body)) {
    cost = nanoseconds;
    live_tasks.fetch_add(1, std::memory_order_relaxed);
  }
  ~Call() override { live_tasks.fetch_sub(1, std::memory_order_relaxed); }

 protected:
  void run() noexcept override { std::exchange(body_, nullptr)(); }

 private:
  std::function<void()> body_;
};

Ref<Task> call(std::function<void()> body, uint64_t nanoseconds = 0) {
  return make_ref<Call>(std::move(body), nanoseconds);
}

constexpr auto never = [] {};

void wait_for_all(const std::vector<Ref<Task>>& tasks) {
  LocalQueue local;
  for (const auto& task : tasks) wait_for(*task, local, never);
}

void run_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (auto& thread : threads) thread.join();
}

double cpu_milliseconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto ms = [](timeval time) { return time.tv_sec * 1e3 + time.tv_usec * 1e-3; };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

/// The exit code of a child process that runs `body` and then calls exit(0).
int exit_code_of_child(const std::function<void()>& body) {
  pid_t child = fork();
  if (child == 0) {
    body();
    std::exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Ref, DeletesTheObjectWithItsLastReference) {
  int64_t before = live_tasks;
  Ref<Task> a = call(never);
  Ref<Task> b = a;
  EXPECT_EQ(a->reference_count(), 2u);
  a = nullptr;
  EXPECT_EQ(live_tasks, before + 1);
  b = Ref<Task>();
  EXPECT_EQ(live_tasks, before);
}

TEST(Tasks, RunOnTheWaitingThreadWhenSmall) {
  std::thread::id where;
  auto task = call([&] { where = std::this_thread::get_id(); });
  LocalQueue local;
  submit(task, &local);
  EXPECT_FALSE(task->done());
  wait_for(*task, local, never);
  EXPECT_TRUE(task->done());
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(Tasks, RunOnAWorkerWhenLarge) {
  std::thread::id where;
  auto task = call([&] { where = std::this_thread::get_id(); }, 5'000'000);
  LocalQueue local;
  submit(task, &local);
  wait_for(*task, local, never);
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(Tasks, RunWithoutAWaitWhenGivenToThePool) {
  std::atomic<int> runs{0};
  submit(call([&] { ++runs; }), nullptr);
  drain();
  EXPECT_EQ(runs, 1);
}

TEST(Tasks, WaitForEverythingThatTheyHaveAnEdgeFrom) {
  constexpr int fan = 100;  // more than the edges that a task holds inline
  std::atomic<int> runs{0};
  int seen = -1;
  auto last = call([&] { seen = runs; });
  std::vector<Ref<Task>> first;
  for (int i = 0; i < fan; ++i) {
    first.push_back(call([&] { ++runs; }));
    add_edge(*first.back(), last);
    add_edge(*first.back(), last);  // twice is once
  }
  LocalQueue local;
  submit(last, &local);
  for (int i = 0; i < fan; ++i) submit(first[i], i % 2 ? &local : nullptr);
  wait_for(*last, local, never);
  EXPECT_EQ(seen, fan);
  auto later = call(never);
  add_edge(*last, later);  // from a task that is done: nothing to wait for
  submit(later, &local);
  wait_for(*later, local, never);
}

TEST(Tasks, LeftInALocalQueueGoToThePool) {
  std::atomic<int> runs{0};
  {
    LocalQueue local;
    for (int i = 0; i < 10; ++i) submit(call([&] { ++runs; }), &local);
    auto now = call(never);
    LocalQueue other;
    submit(now, &other);
    wait_for(*now, other, never);
  }
  drain();
  EXPECT_EQ(runs, 10);
}

TEST(Tasks, AreDeletedWhenTheyHaveRun) {
  drain();
  int64_t before = live_tasks;
  Strand strand;
  LocalQueue local;
  for (int i = 0; i < 1000; ++i) {
    auto task = call(never);
    strand.append(task);
    submit(task, i % 2 ? &local : nullptr);
  }
  local.hand_over();
  drain();
  EXPECT_LE(live_tasks, before + 1);
  EXPECT_EQ(strand.last(), nullptr);  // lets go of the last one
  EXPECT_EQ(live_tasks, before);
}

TEST(Strand, RunsTasksInTheOrderOfAppending) {
  Strand strand;
  LocalQueue local;
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    auto task = call([&order, i] { order.push_back(i); });
    strand.append(task);
    submit(task, i % 3 ? &local : nullptr);
  }
  wait_for(*strand.last(), local, never);
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(Strand, KeepsEachThreadsOrderWhenEightSubmit) {
  constexpr int threads = 8, count = 100'000;
  Strand strand;
  std::vector<int> next(threads, 0);  // not atomic: the strand is the lock
  bool in_order = true;
  run_threads(threads, [&](int thread) {
    LocalQueue local;
    for (int i = 0; i < count; ++i) {
      auto task = call([&, thread, i] { in_order &= next[thread]++ == i; });
      strand.append(task);
      submit(task, i % 2 ? &local : nullptr);
      if (i % 1000 == 999) wait_for(*task, local, never);
    }
  });
  drain();
  EXPECT_TRUE(in_order);
  EXPECT_EQ(next, std::vector<int>(threads, count));
}

TEST(Strand, TellsItsLastTaskWhileOthersAppend) {
  Strand strand;
  std::atomic<bool> stop{false};
  std::atomic<int64_t> runs{0};
  std::atomic<int64_t> appended{0};
  auto append = [&](int) {
    for (int i = 0; i < 20'000; ++i) {
      auto task = call([&] { runs.fetch_add(1, std::memory_order_relaxed); });
      strand.append(task);
      appended.fetch_add(1, std::memory_order_release);
      submit(task, nullptr);
    }
  };
  auto synchronize = [&](int) {
    while (!stop) {
      int64_t before = appended.load(std::memory_order_acquire);
      if (auto last = strand.last()) wait_for_all({last});
      EXPECT_GE(runs.load(), before);
    }
  };
  std::thread readers([&] { run_threads(3, synchronize); });
  run_threads(2, append);
  stop = true;
  readers.join();
  drain();
  EXPECT_EQ(runs, 40'000);
  EXPECT_EQ(strand.last(), nullptr);
}

TEST(Strand, TakesALongChainWithoutRecursion) {
  constexpr int length = 1'000'000;
  for (bool locally : {true, false}) {
    Strand strand;
    LocalQueue local;
    int64_t runs = 0;
    auto gate = call(never);
    strand.append(gate);
    for (int i = 0; i < length; ++i) {
      auto task = call([&] { ++runs; });
      strand.append(task);
      submit(task, nullptr);
    }
    submit(gate, locally ? &local : nullptr);
    wait_for(*strand.last(), local, never);
    EXPECT_EQ(runs, length);
  }
}

TEST(Strand, ComesByTheTenThousand) {
  constexpr int count = 10'000;
  std::vector<Strand> strands(count);
  std::vector<int> runs(count, 0);
  LocalQueue local;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < count; ++i) {
      auto task = call([&runs, i] { ++runs[i]; });
      strands[i].append(task);
      submit(task, round == 1 ? nullptr : &local);
    }
  }
  for (auto& strand : strands) {
    if (auto last = strand.last()) wait_for(*last, local, never);
  }
  EXPECT_EQ(runs, std::vector<int>(count, 3));
  static_assert(sizeof(Strand) + sizeof(Task) <= 112);
}

/// Random tasks over several strands; each checks that all it depends on has written.
void check_random_graph(unsigned seed) {
  constexpr int strands = 8, count = 4000;
  std::mt19937 random(seed);
  std::vector<Strand> queue(strands);
  std::vector<int> version(strands, 0);  // of each strand; not atomic on purpose
  std::vector<int> expected(strands, 0);
  std::vector<int> written(count, 0);
  std::vector<Ref<Task>> tasks;
  std::atomic<int> wrong{0};
  LocalQueue local;
  for (int i = 0; i < count; ++i) {
    int strand = static_cast<int>(random() % strands);
    std::vector<int> inputs;
    for (unsigned k = random() % 6; i > 0 && k > 0; --k) {
      inputs.push_back(std::max<int>(0, i - 1 - static_cast<int>(random() % 50)));
    }
    int turn = expected[strand]++;
    auto task = call(
        [&, i, strand, turn, inputs] {
          bool right = version[strand]++ == turn;
          for (int input : inputs) right &= written[input] == input + 1;
          written[i] = i + 1;
          wrong += !right;
        },
        random() % 10 ? 0 : random() % 3'000'000);
    queue[strand].append(task);
    for (int input : inputs) add_edge(*tasks[input], task);
    tasks.push_back(task);
    submit(task, random() % 2 ? &local : nullptr);
    if (random() % 200 == 0) wait_for(*tasks[random() % tasks.size()], local, never);
  }
  for (auto& strand : queue) {
    if (auto last = strand.last()) wait_for(*last, local, never);
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(version, expected);
  for (const auto& task : tasks) EXPECT_TRUE(task->done());
}

TEST(Tasks, RespectEveryEdgeOfRandomGraphs) {
  for (unsigned seed = 0; seed < 10; ++seed) check_random_graph(seed);
}

TEST(Tasks, RespectEveryEdgeWhenThreadsBuildGraphsSideBySide) {
  run_threads(4, [](int thread) { check_random_graph(100 + thread); });
}

TEST(Wait, EndsWhenAnotherThreadRunsTheTarget) {
  auto slow = call([] { std::this_thread::sleep_for(milliseconds(10)); });
  submit(slow, nullptr);
  run_threads(4, [&](int) { wait_for_all({slow}); });
  EXPECT_TRUE(slow->done());
}

TEST(Wait, CallsInterruptWhileItBlocks) {
  auto slow = call([] { std::this_thread::sleep_for(milliseconds(180)); });
  submit(slow, nullptr);
  LocalQueue local;
  int calls = 0;
  wait_for(*slow, local, [&] { ++calls; });
  EXPECT_GE(calls, 2);
  EXPECT_LE(calls, 4);
}

TEST(Wait, EndsWithTheExceptionOfInterruptAndLosesNoTask) {
  std::atomic<int> runs{0};
  Strand strand;
  LocalQueue local;
  for (int i = 0; i < 300; ++i) {
    auto task = call([&] {
      std::this_thread::sleep_for(milliseconds(1));
      ++runs;
    });
    strand.append(task);
    submit(task, &local);
  }
  auto last = strand.last();
  auto stop = [] { throw std::runtime_error("interrupted"); };
  EXPECT_THROW(wait_for(*last, local, stop), std::runtime_error);
  EXPECT_FALSE(last->done());
  EXPECT_THROW(wait_for(*last, local, stop), std::runtime_error);  // now it blocks
  EXPECT_TRUE(local.empty());
  wait_for(*last, local, never);
  EXPECT_EQ(runs, 300);
}

TEST(Wait, SharesWorthwhileWorkWithTheWorkers) {
  if (worker_count() < 2) GTEST_SKIP();
  std::thread::id where[2];
  Ref<Task> tasks[2];
  LocalQueue local;
  for (int i = 0; i < 2; ++i) {
    tasks[i] = call(
        [&where, i] {
          where[i] = std::this_thread::get_id();
          std::this_thread::sleep_for(milliseconds(5));
        },
        1'500'000);
    submit(tasks[i], &local);
  }
  Task* targets[] = {tasks[0].get(), tasks[1].get()};
  wait_for(targets, local, never);
  EXPECT_NE(where[0], where[1]);
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
