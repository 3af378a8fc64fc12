// Locks that a fork leaves free: a lock that another thread held at that moment would stay locked
// in the child for ever.
#pragma once

#include <mutex>

namespace eden {

// A mutex that a forking thread holds while it forks.
class ForkLock {
 public:
  // Throws std::bad_alloc.
  ForkLock();
  ~ForkLock();
  ForkLock(const ForkLock&) = delete;
  ForkLock& operator=(const ForkLock&) = delete;

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

}  // namespace eden
