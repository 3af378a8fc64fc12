// Do kept weak cells give the bits that finding them gives, and are they those of the load at hand?
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "catch2.h"
#include "memory/corrupt/kept_flips.h"
#include "memory/corrupt/load_work.h"

namespace {

using eden::Correction;
using eden::FlipCache;
using eden::Load;
using eden::ModelKind;
using eden::Storage;
using eden::ValueType;

constexpr size_t kFree = size_t{1} << 24;
constexpr int64_t kElements = 40000;

struct Memory {
  std::vector<int64_t> rows, table;
};

Memory cells(double ber_zero, double ber_one, double failure, uint64_t address = 64) {
  const auto row = eden::make_region(ber_zero, ber_one, failure, address, Correction::kNone);
  return {{row.begin(), row.end()}, {}};
}

Memory lines(ModelKind model, double probability, double failure) {
  std::vector<double> of_line(37);
  for (size_t i = 0; i < of_line.size(); ++i) of_line[i] = i % 3 == 0 ? 0.0 : probability;
  const auto row = eden::make_lines_region(model, eden::TableKind::kMeasured, failure, 4096,
                                           Correction::kNone, 0, 37, 1280, 64);
  return {{row.begin(), row.end()}, eden::make_line_table(of_line.data(), of_line.size())};
}

Load load_of(const Memory& memory, eden::LoadShape shape = {1, 1, kElements}) {
  Load load;
  load.regions = memory.rows.data();
  load.region_count = 1;
  load.table = memory.table.data();
  load.table_size = static_cast<int64_t>(memory.table.size());
  load.chip = 5;
  load.access = 9;
  load.shape = shape;
  return load;
}

std::vector<float> values(int64_t count) {
  std::vector<float> x(static_cast<size_t>(count));
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(static_cast<int32_t>((i * 2654435761u) >> 8 & 0xffff) - 32768) / 8192;
  }
  return x;
}

using Kept = std::shared_ptr<const eden::KeptLoad>;

// One load as the operators do it; what the cache knew of it.
Kept use(FlipCache& cache, const Load& load) {
  const auto in = values(load.shape.sample_size());
  auto out = in, expected = in;
  const eden::LoadWork found(load, ValueType::kFloat32, Storage::kFloat32, in.data(),
                             expected.data());
  found.run(0, found.pieces());
  const eden::LoadWork work(load, ValueType::kFloat32, Storage::kFloat32, in.data(), out.data());
  FlipCache::Answer answer = cache.find(load, work.width(), work.patches());
  const Kept kept = answer.kept;
  if (kept != nullptr) {
    work.run_kept(0, work.pieces(), *kept);
  } else if (answer.wanted != nullptr) {
    work.run_and_keep(0, work.pieces(), *answer.wanted);
  } else {
    work.run(0, work.pieces());
  }
  cache.keep(std::move(answer));
  REQUIRE(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0);
  return kept;
}

}  // namespace

TEST_CASE("kept cells give the same bits in every storage, few or many, in place or not") {
  const auto in = values(2 * 3 * 5000);
  const float scale = 0.03f;
  for (const Memory& memory :
       {cells(1e-5, 1e-4, 1.0), cells(2e-3, 2e-3, 1.0), cells(0.05, 0.1, 0.5),
        lines(ModelKind::kBitline, 2e-3, 0.5), lines(ModelKind::kBitline, 1e-4, 1.0),
        lines(ModelKind::kWordline, 2e-3, 1.0)}) {
    for (const Storage storage : {Storage::kFloat32, Storage::kFloat16, Storage::kInt8,
                                  Storage::kInt4, Storage::kSign, Storage::kInt8SignMagnitude}) {
      for (const Correction correction : {Correction::kNone, Correction::kZero}) {
        Load load = load_of(memory, {2, 3, 5000});
        load.conversion.scale = &scale;
        load.conversion.correction = correction;
        load.conversion.low = -3.0f;
        load.conversion.high = 3.0f;
        eden::KeptLoad kept(1000);
        for (uint64_t access = 0; access < 3; ++access) {
          load.access = access;
          auto expected = in, out = in, same = in;
          const eden::LoadWork found(load, ValueType::kFloat32, storage, in.data(),
                                     expected.data());
          found.run(0, found.pieces());
          const eden::LoadWork work(load, ValueType::kFloat32, storage, in.data(), out.data());
          const eden::LoadWork in_place(load, ValueType::kFloat32, storage, same.data(),
                                        same.data());
          if (access == 0) {
            work.run_and_keep(0, work.pieces(), kept);
          } else {
            work.run_kept(0, work.pieces(), kept);
          }
          in_place.run_kept(0, in_place.pieces(), kept);
          REQUIRE(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0);
          REQUIRE(std::memcmp(same.data(), expected.data(), out.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("a load is kept from its second time on") {
  const Memory memory = cells(1e-5, 1e-4, 1.0);
  FlipCache cache(kFree);
  CHECK(use(cache, load_of(memory)) == nullptr);
  CHECK(cache.bytes() == 0);
  CHECK(use(cache, load_of(memory)) == nullptr);
  CHECK(cache.bytes() > 0);
  const Kept kept = use(cache, load_of(memory));
  CHECK(kept != nullptr);
  CHECK(kept->bytes() < cache.bytes());
  // Only failures depend on it.
  Load later = load_of(memory);
  ++later.access;
  CHECK(use(cache, later) == kept);
  cache.clear();
  CHECK(cache.bytes() == 0);
  CHECK(use(cache, load_of(memory)) == nullptr);
  CHECK(use(cache, load_of(memory)) == nullptr);
  CHECK(use(cache, load_of(memory)) != nullptr);
}

TEST_CASE("whatever changes in place is another load") {
  Memory memory = lines(ModelKind::kBitline, 1e-3, 1.0);
  FlipCache cache(kFree);
  Load load = load_of(memory);
  for (int i = 0; i < 2; ++i) use(cache, load);
  REQUIRE(use(cache, load) != nullptr);
  ++load.chip;
  CHECK(use(cache, load) == nullptr);
  --load.chip;
  load.shape.inner -= 100;
  CHECK(use(cache, load) == nullptr);
  load.shape.inner += 100;
  memory.rows[eden::kAddress] += 64;
  CHECK(use(cache, load) == nullptr);
  memory.rows[eden::kAddress] -= 64;
  const int64_t entry = memory.table[2];
  memory.table[2] = eden::weak_thresholds(0.2).sparse > 0 ? memory.table[0] : entry;
  REQUIRE(memory.table[2] != entry);
  CHECK(use(cache, load) == nullptr);
  memory.table[2] = entry;
  CHECK(use(cache, load) != nullptr);
}

TEST_CASE("of a measured table the lines of the operand count") {
  // 4,000 lines of wordlines or bitlines; the operand lies in lines from `first` on.
  struct Place {
    ModelKind model;
    uint64_t address;
    int64_t elements;
    size_t inside, outside;  // entries
  };
  constexpr int64_t kLines = 4000, kRowBits = 1280, kRows = 64;
  std::vector<double> rates(kLines, 1e-3);
  const std::vector<int64_t> table = eden::make_line_table(rates.data(), rates.size());
  for (const Place& place : {
           Place{ModelKind::kWordline, 10 * kRowBits, 80, 11, 12},
           Place{ModelKind::kWordline, 3998 * kRowBits + 32, 100, 0, 2},
           Place{ModelKind::kWordline, 3998 * kRowBits + 32, 40, 3999, 0},
           // Columns of one row.
           Place{ModelKind::kBitline, 7 * kRowBits + 320, 20, 320, 319},
           Place{ModelKind::kBitline, 7 * kRowBits + 320, 20, 959, 960},
           // All columns of two subarrays, which are lines 1,280 to 3,839.
           Place{ModelKind::kBitline, 127 * kRowBits + 640, 40, 3839, 3840},
           Place{ModelKind::kBitline, 127 * kRowBits + 640, 40, 1280, 1279},
           // Lines 3,840 to 5,119, of which the last are those from 0 on.
           Place{ModelKind::kBitline, 192 * kRowBits, 80, 3840, 3839},
           Place{ModelKind::kBitline, 192 * kRowBits, 80, 1119, 1120},
       }) {
    INFO(place.address << ", " << place.inside << ", " << place.outside);
    const auto row =
        eden::make_lines_region(place.model, eden::TableKind::kMeasured, 1.0, place.address,
                                Correction::kNone, 0, kLines, kRowBits, kRows);
    Memory memory{{row.begin(), row.end()}, table};
    FlipCache cache(kFree);
    const Load load = load_of(memory, {1, 1, place.elements});
    for (int i = 0; i < 2; ++i) use(cache, load);
    REQUIRE(use(cache, load) != nullptr);
    const auto changed = [&](size_t entry) {
      // Of what is looked at first every 250th is a part, whoever has it.
      REQUIRE((entry % 250 != 0 || entry == 0));
      const int64_t before = std::exchange(memory.table[2 * entry], table[0] + 1);
      const Kept kept = use(cache, load);
      memory.table[2 * entry] = before;
      return kept == nullptr;
    };
    if (place.outside != 0) CHECK_FALSE(changed(place.outside));
    CHECK(changed(place.inside));
    CHECK(use(cache, load) != nullptr);
  }
}

TEST_CASE("a list grows no longer than it is worth") {
  // Of bitlines, whose rates are in a table, it is not known before.
  const Memory dense = lines(ModelKind::kBitline, 0.3, 1.0);
  FlipCache cache(kFree);
  const Load load = load_of(dense, {1, 1, 20 * kElements});
  for (int i = 0; i < 4; ++i) CHECK(use(cache, load) == nullptr);
  eden::KeptLoad little(1000, 5000);
  const auto in = values(load.shape.sample_size());
  auto out = in, expected = in;
  const eden::LoadWork work(load, ValueType::kFloat32, Storage::kFloat32, in.data(), out.data());
  REQUIRE(work.patches() > 2);
  const eden::LoadWork found(load, ValueType::kFloat32, Storage::kFloat32, in.data(),
                             expected.data());
  found.run(0, found.pieces());
  work.run_and_keep(0, work.pieces(), little);
  CHECK(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0);
  CHECK_FALSE(little.whole());
  size_t listed = 0;
  for (int64_t which = 0; which < work.patches(); ++which) listed += !little.patch(which).empty();
  CHECK(listed == 1);
}

TEST_CASE("what costs more to keep than to find is not kept") {
  FlipCache cache(kFree);
  const Memory none = cells(0.0, 0.0, 1.0), failing = cells(1e-4, 1e-4, 0.5),
               dense = cells(2e-3, 2e-3, 1.0), rows = lines(ModelKind::kWordline, 1e-3, 0.5);
  for (const Memory& memory : {none, failing, dense, rows}) {
    for (int i = 0; i < 4; ++i) CHECK(use(cache, load_of(memory)) == nullptr);
  }
  // That the dense load is not worth it is known after its second time.
  const Load load = load_of(dense);
  CHECK(cache.find(load, 32, 1).wanted == nullptr);
  // The failures of bitlines' cells are judged anew at each access.
  const Memory bitlines = lines(ModelKind::kBitline, 1e-3, 0.5);
  Load failing_load = load_of(bitlines);
  for (int i = 0; i < 2; ++i, ++failing_load.access) use(cache, failing_load);
  CHECK(use(cache, failing_load) != nullptr);
  FlipCache nothing(0);
  const Memory few = cells(1e-4, 1e-4, 1.0);
  for (int i = 0; i < 4; ++i) CHECK(use(nothing, load_of(few)) == nullptr);
}

TEST_CASE("kept cells stay within the capacity, and stay until they are stale") {
  constexpr size_t kCapacity = 12000;
  FlipCache cache(kCapacity);
  std::vector<Memory> memories;
  for (uint64_t i = 0; i < 8; ++i) memories.push_back(cells(1e-4, 1e-4, 1.0, i << 32));
  const auto kept = [&] {
    size_t count = 0;
    for (const Memory& memory : memories) count += use(cache, load_of(memory)) != nullptr;
    CHECK(cache.bytes() <= kCapacity);
    return count;
  };
  kept();
  kept();
  const size_t fit = kept();
  CHECK(fit > 0);
  CHECK(fit < memories.size());
  CHECK(kept() == fit);
  // The first load is forgotten for a new one once it is stale.
  const Memory last = memories.back();
  for (uint64_t i = 0; i <= FlipCache::kStale; ++i) {
    Load load = load_of(last);
    load.chip = 1000 + i;
    cache.find(load, 32, 1);
  }
  Load load = load_of(last);
  load.chip = 1;
  for (int i = 0; i < 2; ++i) use(cache, load);
  CHECK(use(cache, load) != nullptr);
  CHECK(cache.bytes() <= kCapacity);
  CHECK(use(cache, load_of(memories[0])) == nullptr);
}

TEST_CASE("threads share kept cells, and a fork has a cache that works") {
  const Memory memory = lines(ModelKind::kBitline, 1e-3, 0.5);
  FlipCache cache(kFree);
  const auto in = values(kElements);
  std::vector<std::vector<float>> out(4, in);
  std::atomic<int> waiting{4};
  std::vector<std::thread> team;
  for (auto& mine : out) {
    team.emplace_back([&] {
      --waiting;
      while (waiting != 0) std::this_thread::yield();
      for (int i = 0; i < 20; ++i) {
        const Load load = load_of(memory);
        const eden::LoadWork work(load, ValueType::kFloat32, Storage::kFloat32, in.data(),
                                  mine.data());
        auto answer = cache.find(load, 32, work.patches());
        if (answer.kept != nullptr) {
          work.run_kept(0, work.pieces(), *answer.kept);
        } else if (answer.wanted != nullptr) {
          work.run_and_keep(0, work.pieces(), *answer.wanted);
        } else {
          work.run(0, work.pieces());
        }
        cache.keep(std::move(answer));
        if (i == 10) cache.clear();
      }
    });
  }
  for (std::thread& thread : team) thread.join();
  for (const auto& other : out) {
    CHECK(std::memcmp(other.data(), out[0].data(), in.size() * sizeof(float)) == 0);
  }
  const pid_t child = fork();
  if (child == 0) {
    cache.clear();
    _exit(cache.bytes() == 0 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
