// The machine on which kernels run here: one block after another, its threads as fibers. A thread
// runs until it waits or ends; which one is next, a seed decides. Under ThreadSanitizer every fiber
// counts as a thread of its own, and barriers alone put what they do in order, so a race is found
// in whatever order they run. Compiled without sanitizers: its own records are nobody's race.
#include "cuda_runtime.h"

#if defined(EDEN_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif
#include <ucontext.h>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

uint64_t seed = 1;
Plant plant;
std::set<int> barriers;

namespace {

constexpr int kMostThreads = 1024;
constexpr int kWarp = 32;
constexpr size_t kStackBytes = size_t{1} << 17;
using Resume = void* [5];  // as __builtin_setjmp asks for

enum class State { kReady, kAtBarrier, kInWarp, kEnded };

struct Fiber {
  Resume resume;
  char* stack = nullptr;
  State state = State::kEnded;
  uint32_t mask = 0;         // of the warp's lanes that it waits for
  uint32_t warp_rounds = 0;  // times that it waited for them
  uint64_t number = 0;       // that it exchanges
  void* sanitizer = nullptr;
};

Fiber fibers[kMostThreads];
int threads = 0;  // of a block
int ready[kMostThreads];
int ready_count = 0, waiting = 0, ended = 0;
uint32_t rounds = 0;  // barriers that the block has passed
Fiber* current = nullptr;
Resume launcher;  // where the launching thread goes on
void* launcher_sanitizer = nullptr;
const std::function<void()>* body = nullptr;
uint64_t state_of_random = 0;
int64_t begun = 0;
int64_t races = 0;  // that ThreadSanitizer has reported of a launch

// SplitMix64.
uint64_t next_random() {
  uint64_t z = state_of_random += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
int random_below(int count) {
  return static_cast<int>((next_random() >> 32) * static_cast<uint64_t>(count) >> 32);
}

// What ThreadSanitizer is told: what came before `before` is seen behind `behind`. A barrier that
// follows another takes another word, so that who leaves the first late does not see more than
// that.
char order_of_block[2], order_of_launch;
char order_of_warp[kMostThreads / kWarp][2];
#if defined(EDEN_THREAD_SANITIZER)
void before(void* what) { __tsan_release(what); }
void behind(void* what) { __tsan_acquire(what); }
void now_runs(void* fiber) {
  // The launching thread sees what was done until it goes on.
  __tsan_switch_to_fiber(fiber, fiber == launcher_sanitizer ? 0 : __tsan_switch_to_fiber_no_sync);
}
void* new_fiber() { return __tsan_create_fiber(0); }
void* this_fiber() { return __tsan_get_current_fiber(); }
#else
void before(void*) {}
void behind(void*) {}
void now_runs(void*) {}
void* new_fiber() { return nullptr; }
void* this_fiber() { return nullptr; }
#endif

// Both must be no part of what calls them: a compiler is told nothing of the other stack.
[[gnu::noinline, noreturn]] void leap(Resume& to) { __builtin_longjmp(to, 1); }
[[gnu::noinline]] void change(Resume& from, Resume& to) {
  if (__builtin_setjmp(from) == 0) leap(to);
}
[[gnu::noinline]] void begin_on(Resume& from, const ucontext_t& context) {
  if (__builtin_setjmp(from) == 0) setcontext(&context);
}

void go_to(Fiber* fiber) {
  Fiber* const from = current;
  if (fiber == from) return;
  current = fiber;
  if (fiber != nullptr) threadIdx.x = static_cast<unsigned>(fiber - fibers);
  now_runs(fiber != nullptr ? fiber->sanitizer : launcher_sanitizer);
  change(from != nullptr ? from->resume : launcher, fiber != nullptr ? fiber->resume : launcher);
}

void make_ready(Fiber& fiber) {
  fiber.state = State::kReady;
  ready[ready_count++] = static_cast<int>(&fiber - fibers);
}

// Any of those that can go on; the launcher where there is none, or they have raced.
void go_on() {
  if (ready_count == 0 || races != 0) return go_to(nullptr);
  const int at = random_below(ready_count);
  Fiber& chosen = fibers[ready[at]];
  ready[at] = ready[--ready_count];
  go_to(&chosen);
}

// A fiber's whole life: the threads of its number of all blocks.
void run_threads() {
  Fiber& self = *current;
  go_to(nullptr);
  for (;;) {
    behind(&order_of_launch);
    (*body)();
    before(&order_of_launch);
    self.state = State::kEnded;
    ++ended;
    go_on();
  }
}

void make(Fiber& fiber) {
  if (fiber.stack != nullptr) return;
  fiber.stack = new char[kStackBytes];
  fiber.sanitizer = new_fiber();
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, run_threads, 0);
  current = &fiber;
  now_runs(fiber.sanitizer);
  begin_on(launcher, context);
}

// What was left of a block that got stuck cannot be gone on with.
void forget() {
  for (char& order : order_of_block) behind(&order);
  for (auto& orders : order_of_warp) {
    for (char& order : orders) behind(&order);
  }
  for (Fiber& fiber : fibers) {
    delete[] fiber.stack;
    fiber = Fiber{};
  }
}

void run_block() {
  ready_count = waiting = ended = 0;
  rounds = 0;
  begun += threads;
  for (int i = 0; i < threads; ++i) {
    fibers[i].warp_rounds = 0;
    make_ready(fibers[i]);
  }
  before(&order_of_launch);
  go_on();
  behind(&order_of_launch);
  if (ended == threads && races == 0) return;
  const std::string found =
      std::to_string(ended) + " of " + std::to_string(threads) + " threads of a block ended, " +
      std::to_string(waiting) +
      " wait for the block and the others for their warp, or for the end of a race";
  forget();
  throw Stuck(found);
}

void wait_for_warp(uint32_t mask) {
  Fiber& self = *current;
  const auto number = static_cast<int>(&self - fibers);
  Fiber* const warp = fibers + number / kWarp * kWarp;
  char* const order = &order_of_warp[number / kWarp][self.warp_rounds++ % 2];
  before(order);
  self.state = State::kInWarp;
  self.mask = mask;
  bool all = true;
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    all = all && warp[lane].state == State::kInWarp && warp[lane].mask == mask;
  }
  if (all) {
    for (int lane = 0; lane < kWarp; ++lane) {
      if (mask >> lane & 1) make_ready(warp[lane]);
    }
  }
  go_on();
  behind(order);
}

bool is_missing(int line) {
  barriers.insert(line);
  return plant.missing_barrier == line;
}

}  // namespace

int64_t threads_run() { return begun; }

void yield() {
  make_ready(*current);
  go_on();
}

void block_barrier(int line) {
  if (is_missing(line)) return;
  char* const order = &order_of_block[rounds % 2];
  before(order);
  current->state = State::kAtBarrier;
  // A thread that has ended will not come: then nobody gets behind the barrier.
  if (++waiting == threads) {
    waiting = 0;
    ++rounds;
    for (int i = 0; i < threads; ++i) make_ready(fibers[i]);
  }
  go_on();
  behind(order);
}

void warp_barrier(int line, uint32_t mask) {
  if (!is_missing(line)) wait_for_warp(mask);
}

uint64_t exchange(uint32_t mask, uint64_t mine, int lane) {
  Fiber& self = *current;
  self.number = mine;
  wait_for_warp(mask);
  const Fiber* const warp = fibers + (&self - fibers) / kWarp * kWarp;
  const uint64_t found = warp[lane % kWarp].number;
  wait_for_warp(mask);
  return found;
}

uint32_t ballot(uint32_t mask, bool mine) {
  Fiber& self = *current;
  self.number = mine ? 1 : 0;
  wait_for_warp(mask);
  const Fiber* const warp = fibers + (&self - fibers) / kWarp * kWarp;
  uint32_t found = 0;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1) found |= static_cast<uint32_t>(warp[lane].number) << lane;
  }
  wait_for_warp(mask);
  return found;
}

void launch(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  threads = static_cast<int>(blockDim.x);
  if (threads < 1 || threads > kMostThreads || threads % kWarp != 0 ||
      blockDim.y * blockDim.z * gridDim.z != 1) {
    throw std::invalid_argument("a launch of more dimensions, or threads, than kernels here have");
  }
  state_of_random = seed++;
  races = 0;
  body = &thread;
  launcher_sanitizer = this_fiber();
  for (int i = 0; i < threads; ++i) make(fibers[i]);
  std::vector<dim3> blocks;
  for (unsigned y = 0; y < gridDim.y; ++y) {
    for (unsigned x = 0; x < gridDim.x; ++x) blocks.push_back({x, y, 0});
  }
  while (!blocks.empty()) {
    const auto at = static_cast<size_t>(random_below(static_cast<int>(blocks.size())));
    blockIdx = blocks[at];
    blocks[at] = blocks.back();
    blocks.pop_back();
    run_block();
  }
}

}  // namespace simt

// ThreadSanitizer calls this, of whatever thread it found to race.
extern "C" void __tsan_on_report(void*) { ++simt::races; }
