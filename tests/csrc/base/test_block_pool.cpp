// Is memory used again, bounded, distinct for every holder, and safe among threads and forks?
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "base/block_pool.h"
#include "catch2.h"

using eden::BlockPool;

TEST_CASE("Blocks hold what was asked for, with little more, aligned") {
  for (std::size_t bytes : {1u, 4095u, 4096u, 4097u, 65536u, 65537u, 1000000u, 1u << 26}) {
    const std::size_t size = BlockPool::block_bytes(bytes);
    CHECK(size >= bytes);
    CHECK(size % BlockPool::kAlignment == 0);
    CHECK(size <= bytes + (bytes > 32768 ? bytes / 8 : BlockPool::kAlignment));
    CHECK(BlockPool::block_bytes(size) == size);
    BlockPool pool(0);
    void* block = pool.take(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % BlockPool::kAlignment == 0);
    std::memset(block, 1, bytes);
    pool.give_back(block, bytes);
    CHECK(pool.idle_bytes() == 0);
  }
}

TEST_CASE("The newest block of a class is used again, another class's is not") {
  BlockPool pool(1 << 20);
  void* first = pool.take(100000);
  void* second = pool.take(100000);
  CHECK(first != second);
  pool.give_back(first, 100000);
  pool.give_back(second, 100000);
  CHECK(pool.idle_bytes() == 2 * BlockPool::block_bytes(100000));
  void* smaller = pool.take(50000);
  CHECK(smaller != first);
  CHECK(smaller != second);
  CHECK(pool.take(99999) == second);
  CHECK(pool.take(100000) == first);
  CHECK(pool.idle_bytes() == 0);
  pool.give_back(first, 100000);
  pool.give_back(second, 99999);
  pool.give_back(smaller, 50000);
}

TEST_CASE("What lies idle stays within the capacity, the oldest goes first") {
  constexpr std::size_t kBytes = 1 << 16;
  BlockPool pool(3 * kBytes);
  std::vector<void*> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(pool.take(kBytes));
  void* large = pool.take(4 * kBytes);
  for (void* block : blocks) pool.give_back(block, kBytes);
  CHECK(pool.idle_bytes() == 3 * kBytes);
  pool.give_back(large, 4 * kBytes);
  CHECK(pool.idle_bytes() == 3 * kBytes);
  for (int i = 3; i > 0; --i) CHECK(pool.take(kBytes) == blocks[static_cast<std::size_t>(i)]);
  for (int i = 3; i > 0; --i) pool.give_back(blocks[static_cast<std::size_t>(i)], kBytes);
  void* two = pool.take(2 * kBytes);
  pool.give_back(two, 2 * kBytes);
  CHECK(pool.idle_bytes() == 3 * kBytes);
  CHECK(pool.take(2 * kBytes) == two);
  pool.give_back(two, 2 * kBytes);
  pool.clear();
  CHECK(pool.idle_bytes() == 0);
}

TEST_CASE("More than an address space holds is refused") {
  BlockPool pool(1 << 20);
  CHECK_THROWS_AS(pool.take(std::size_t{1} << 62), std::bad_alloc);
  CHECK_THROWS_AS(pool.take(~std::size_t{0}), std::bad_alloc);
}

TEST_CASE("Threads never hold the same block") {
  BlockPool pool(1 << 20);
  std::atomic<int> shared{0};
  std::vector<std::thread> threads;
  for (unsigned char mark = 1; mark <= 4; ++mark) {
    threads.emplace_back([&pool, &shared, mark] {
      std::vector<unsigned char*> held(8);
      for (int round = 0; round < 200; ++round) {
        for (std::size_t i = 0; i < held.size(); ++i) {
          held[i] = static_cast<unsigned char*>(pool.take(4096 << (i % 4)));
          held[i][0] = held[i][4095] = mark;
        }
        for (std::size_t i = 0; i < held.size(); ++i) {
          if (held[i][0] != mark || held[i][4095] != mark) ++shared;
          pool.give_back(held[i], 4096 << (i % 4));
        }
        if (round % 50 == 0) pool.clear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(shared == 0);
  CHECK(pool.idle_bytes() <= pool.capacity());
}

TEST_CASE("A forked process can take and give back while another thread does") {
  BlockPool pool(1 << 20);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) pool.give_back(pool.take(4096), 4096);
  });
  int failed = 0;
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);  // ends a child that waits for a lock
      pool.give_back(pool.take(4096), 4096);
      _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    failed += status != 0;
  }
  stop = true;
  other.join();
  CHECK(failed == 0);
}
