#include "profiler/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/refusal.h"
#include "profiler/files.h"

namespace eden::profiler {
namespace {

constexpr const char* kFormat = "eden-journal";
constexpr int kVersion = 3;

// The end of a line whose bytes before it are `body`. `checksum` is that of the line before, and
// afterwards its own.
std::string seal(const std::string& body, uint32_t& checksum) {
  checksum = static_cast<uint32_t>(
      crc32(checksum, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
  char text[32];
  std::snprintf(text, sizeof text, ",\"crc32\":\"%08x\"}", static_cast<unsigned>(checksum));
  return text;
}

std::string encode(const Json& entry, uint32_t& checksum) {
  std::string body = entry.dump(-1, ' ', /*ensure_ascii=*/true);
  body.pop_back();  // the brace, which the seal sets again
  return body + seal(body, checksum);
}

std::optional<Json> decode(const std::string& line, uint32_t& checksum) {
  constexpr size_t kSealBytes = std::string_view(R"(,"crc32":"00000000"})").size();
  if (line.size() < kSealBytes) return std::nullopt;
  const std::string body = line.substr(0, line.size() - kSealBytes);
  if (line.substr(body.size()) != seal(body, checksum)) return std::nullopt;
  const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  return entry.is_object() ? std::optional(entry) : std::nullopt;
}

std::string field_of(const Json& object, const std::string& field) {
  return object.contains(field) ? shown(object[field], 200) : "missing";
}

}  // namespace

Journal::Journal(std::string path, const Json& fingerprint) : path_(std::move(path)) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) {
    refuse_file(path_, "cannot be used as a journal: ", std::strerror(errno));
  }
  try {
    open(fingerprint);
  } catch (...) {
    close(file_);
    throw;
  }
}

Journal::~Journal() {
  fsync(file_);
  close(file_);
}

void Journal::open(const Json& fingerprint) {
  struct stat status{};
  if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode)) {
    refuse_file(path_, "cannot be used as a journal: it is no regular file");
  }
  if (flock(file_, LOCK_EX | LOCK_NB) != 0) refuse_file(path_, "in use by another process");
  const Json header = {{"format", kFormat}, {"version", kVersion}, {"fingerprint", fingerprint}};
  const std::string content = read_file(path_);
  size_t begin = 0, number = 0;
  for (size_t end; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = content.substr(begin, end - begin);
    uint32_t checksum = checksum_;
    const std::optional<Json> entry = decode(line, checksum);
    ++number;
    if (number == 1) check_version(entry ? *entry : Json::parse(line, nullptr, false));
    // A torn line, behind which only its newline came, is dropped.
    if (!entry && number > 1 && end + 1 == content.size()) break;
    if (!entry) {
      refuse_file(path_, "line ", number,
                  ": damaged, its checksum is wrong; or this is no journal");
    }
    number == 1 ? compare(*entry, header) : read(*entry, number);
    checksum_ = checksum;
  }
  if (number == 0) {
    const std::string wanted = encode(header, checksum_), beginning = wanted.substr(0, 24);
    if (content.substr(0, beginning.size()) != beginning.substr(0, content.size())) {
      refuse_file(path_, "line 1: no journal, and it is not overwritten");
    }
    cut(0);
    write(wanted);
  } else {
    cut(begin);
  }
}

void Journal::check_version(const Json& found) const {
  if (!found.is_object() || found.value("format", Json()) != kFormat) return;
  if (found.value("version", Json()) == kVersion) return;
  refuse_file(path_, "line 1: version: found ", field_of(found, "version"), ", allowed is ",
              kVersion, ", this version of eden's: begin anew");
}

void Journal::compare(const Json& found, const Json& wanted) const {
  const Json before = found.value("fingerprint", Json()), now = wanted["fingerprint"];
  if (!before.is_object()) {
    refuse_file(path_, "line 1: fingerprint: found ", shown(before), ", allowed is an object");
  }
  for (const Json* fields : {&now, &before}) {
    for (const auto& [field, value] : fields->items()) {
      if (!now.contains(field) || !before.contains(field) || now[field] != before[field]) {
        refuse_file(path_, "the journal of another run: ", field, " was ", field_of(before, field),
                    " there and is ", field_of(now, field), " here");
      }
    }
  }
}

void Journal::read(const Json& entry, size_t line) {
  const int64_t wanted = static_cast<int64_t>(history_.size());
  const Json difference = entry.value("difference", Json()), budget = entry.value("budget", Json());
  if (entry.value("trial", Json()) == Json(wanted)) {
    if (difference.is_null() && budget.is_number_unsigned()) {
      budgets_.push_back({wanted, budget});
      return;
    }
    if (budget.is_null() && difference.is_number()) {
      history_.push_back({wanted, difference});
      return;
    }
  }
  refuse_file(path_, "line ", line, ": found ", shown(entry), "; allowed is trial ", wanted);
}

void Journal::cut(size_t length) const {
  if (ftruncate(file_, static_cast<off_t>(length)) != 0) {
    refuse_file(path_, "cannot be written: ", std::strerror(errno));
  }
}

void Journal::write(const std::string& line) const {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(file_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_file(path_, "cannot be written: ", std::strerror(errno));
    done += static_cast<size_t>(count);
  }
}

void Journal::append(const Report& report) {
  write(encode({{"trial", report.id}, {"difference", report.difference}}, checksum_));
}

void Journal::append(const Budget& budget) {
  write(encode({{"trial", budget.trial}, {"budget", budget.observations}}, checksum_));
}

}  // namespace eden::profiler
