// Tasks, the strands that order them, and waits.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>

#include "tasks.h"

namespace rill {
namespace {

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
  auto task = call([&] { where = std::this_thread::get_id(); }, 50'000'000);
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
        random() % 10 ? 0 : random() % 30'000'000);
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

}  // namespace
}  // namespace rill
