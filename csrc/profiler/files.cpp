#include "profiler/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <system_error>
#include <vector>

#include "base/refusal.h"
#include "base/sha256.h"

namespace eden::profiler {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

const char* kind_of(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? "a folder" : "no regular file";
}

[[noreturn]] void fail_writing(const std::string& path, int error) {
  refuse_file(path, "cannot be written: ", std::strerror(error), " (folder ",
              folder_of(path).string(), ")");
}

// A new file beside the one that it is to become; gone with the object unless it has become it.
class Partial {
 public:
  explicit Partial(const std::string& path) : target_(path) {
    std::random_device random;
    const std::string name = text_of(".", random(), random(), ".partial");
    name_ = (folder_of(path) / name).string();
    // The system applies the umask, as to any new file: nothing changes it beside other threads.
    file_ = open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) fail_writing(target_, errno);
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  ~Partial() {
    if (file_ >= 0) close(file_);
    if (!name_.empty()) unlink(name_.c_str());
  }

  void become(const std::string& content) {
    for (size_t done = 0; done < content.size();) {
      const ssize_t count = write(file_, content.data() + done, content.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail_writing(target_, errno);
      done += static_cast<size_t>(count);
    }
    if (fsync(file_) != 0 || rename(name_.c_str(), target_.c_str()) != 0) {
      fail_writing(target_, errno);
    }
    name_.clear();
    // The new name is on the disk when its folder is; where folders cannot be synced it is later.
    const int folder = open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
      fsync(folder);
      close(folder);
    }
  }

 private:
  std::string target_;
  std::string name_;
  int file_ = -1;
};

}  // namespace

std::string read_file(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    refuse_file(path, "cannot be read: it is ", kind_of(path));
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) refuse_file(path, "cannot be read: ", std::strerror(errno));
  std::string content(static_cast<size_t>(file.tellg()), '\0');
  file.seekg(0);
  if (!file.read(content.data(), static_cast<std::streamsize>(content.size()))) {
    refuse_file(path, "cannot be read to its end");
  }
  return content;
}

std::string digest_of(const std::string& content) {
  Sha256 digest;
  digest.update(content);
  return digest.digits();
}

void check_output(const std::string& path, const std::vector<std::string>& inputs) {
  std::error_code error;
  for (const std::string& input : inputs) {
    if (fs::equivalent(path, input, error)) {
      refuse_file(path, "cannot be written: it is read, too, as ", input);
    }
  }
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    refuse_file(path, "cannot be written: it is ", kind_of(path));
  }
  fs::create_directories(folder_of(path), error);
  if (error) refuse_file(path, "its folder cannot be made: ", error.message());
  Partial probe(path);
}

void write_whole(const std::string& path, const std::string& content) {
  Partial(path).become(content);
}

}  // namespace eden::profiler
