// A course of decisions, written as one function that waits for what is observed: a coroutine. Its
// steps stand in the order in which they are made, however many observations lie between them.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace eden {

// Begins when it is resumed or awaited, and owns its frame. What it throws comes up in the course
// that awaits it.
template <class Result>
class [[nodiscard]] Course {
 public:
  struct promise_type {
    std::optional<Result> result;
    std::exception_ptr error;
    std::coroutine_handle<> awaiting = std::noop_coroutine();

    // At the end the course that awaits this one goes on.
    struct GoOn {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(
          std::coroutine_handle<promise_type> ended) const noexcept {
        return ended.promise().awaiting;
      }
      void await_resume() const noexcept {}
    };
    Course get_return_object() {
      return Course(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    GoOn final_suspend() const noexcept { return {}; }
    void return_value(Result value) { result = std::move(value); }
    void unhandled_exception() { error = std::current_exception(); }
  };

  Course(Course&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Course& operator=(Course&&) = delete;
  ~Course() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    frame_.promise().awaiting = awaiting;
    return frame_;
  }
  Result await_resume() {
    if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
    return *std::move(frame_.promise().result);
  }

  // Of the outermost course: begins it; what it ended with, none while it waits.
  void begin() { frame_.resume(); }
  std::optional<Result> result() {
    return frame_.done() ? std::optional(await_resume()) : std::nullopt;
  }

 private:
  explicit Course(std::coroutine_handle<promise_type> frame) : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
};

}  // namespace eden
