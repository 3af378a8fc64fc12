#include "base/fork_lock.h"

#include <pthread.h>

#include <new>
#include <vector>

namespace eden {
namespace {

struct Locks {
  std::mutex mutex;
  std::vector<ForkLock*> all;
};

Locks& locks() {
  // Never destroyed: memory is given back after the end of main, too.
  static Locks& locks = *new Locks;
  return locks;
}

void before_fork() {
  locks().mutex.lock();
  for (ForkLock* lock : locks().all) lock->lock();
}

void after_fork() {
  for (ForkLock* lock : locks().all) lock->unlock();
  locks().mutex.unlock();
}

}  // namespace

ForkLock::ForkLock() {
  static const int registered = pthread_atfork(before_fork, after_fork, after_fork);
  if (registered != 0) throw std::bad_alloc();
  const std::lock_guard guard(locks().mutex);
  locks().all.push_back(this);
}

ForkLock::~ForkLock() {
  const std::lock_guard guard(locks().mutex);
  std::erase(locks().all, this);
}

}  // namespace eden
