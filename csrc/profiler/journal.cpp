#include "profiler/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "profiler/files.h"

namespace eden::profiler {
namespace {

constexpr const char* kFormat = "eden-journal";
constexpr int kVersion = 1;
constexpr const char* kChecksum = "crc32";

// CRC-32 of ISO 3309, as zlib computes it.
std::string checksum_of(std::string_view text) {
  uint32_t crc = 0xffffffffu;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", ~crc);
  return digits;
}

std::string encode(Json entry) {
  entry[kChecksum] = checksum_of(json_text(entry));
  return json_text(entry) + "\n";
}

std::optional<Json> decode(const std::string& line) {
  Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!entry.is_object()) return std::nullopt;
  const Json checksum = entry.value(kChecksum, Json());
  entry.erase(kChecksum);
  if (checksum != Json(checksum_of(json_text(entry)))) return std::nullopt;
  return entry;
}

bool starts_with(const std::string& text, const std::string& beginning) {
  return text.compare(0, beginning.size(), beginning) == 0;
}

std::string shown(const Json& object, const std::string& field) {
  return object.contains(field) ? json_text(object[field]).substr(0, 200) : "missing";
}

}  // namespace

Journal::Journal(std::string path, const Json& fingerprint) : path_(std::move(path)) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) {
    throw FileError(path_, std::string("cannot be used as a journal: ") + std::strerror(errno));
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
  if (flock(file_, LOCK_EX | LOCK_NB) != 0) throw FileError(path_, "in use by another process");
  const Json header = {{"format", kFormat}, {"version", kVersion}, {"fingerprint", fingerprint}};
  const std::string content = read_file(path_);
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t end; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1) {
    lines.push_back(content.substr(begin, end - begin));
  }
  const std::string torn = content.substr(begin);
  std::vector<Json> entries;
  size_t length = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::optional<Json> entry = decode(lines[i]);
    if (!entry) {
      if (i + 1 == lines.size() && i > 0 && torn.empty()) break;
      throw FileError(path_, "line " + std::to_string(i + 1) +
                                 ": damaged, its checksum is wrong; or this is no journal");
    }
    entries.push_back(std::move(*entry));
    length += lines[i].size() + 1;
  }
  if (entries.empty()) {
    const std::string beginning = encode(header).substr(0, 24);
    if (!torn.empty() && !starts_with(torn, beginning) && !starts_with(beginning, torn)) {
      throw FileError(path_, "line 1: no journal, and it is not overwritten");
    }
    if (ftruncate(file_, 0) != 0) {
      throw FileError(path_, std::string("cannot be written: ") + std::strerror(errno));
    }
    write(encode(header));
    return;
  }
  compare(entries[0], header);
  for (size_t i = 1; i < entries.size(); ++i) {
    const Json trial = entries[i].value("trial", Json());
    const Json difference = entries[i].value("difference", Json());
    const int64_t wanted = static_cast<int64_t>(i) - 1;
    if (!trial.is_number_integer() || !difference.is_number() || trial != Json(wanted)) {
      throw FileError(path_, "line " + std::to_string(i + 1) + ": found " +
                                 json_text(entries[i]).substr(0, 80) + "; allowed is trial " +
                                 std::to_string(wanted));
    }
    history_.push_back({wanted, difference.get<double>()});
  }
  if (ftruncate(file_, static_cast<off_t>(length)) != 0) {
    throw FileError(path_, std::string("cannot be written: ") + std::strerror(errno));
  }
}

void Journal::compare(const Json& found, const Json& wanted) const {
  for (const char* field : {"format", "version"}) {
    if (shown(found, field) != shown(wanted, field)) {
      throw FileError(path_, std::string("line 1: ") + field + ": found " + shown(found, field) +
                                 ", allowed is " + shown(wanted, field));
    }
  }
  const Json before = found.value("fingerprint", Json()), now = wanted["fingerprint"];
  if (!before.is_object()) {
    throw FileError(path_, "line 1: fingerprint: found " + json_text(before).substr(0, 80) +
                               ", allowed is an object");
  }
  for (const Json* fields : {&now, &before}) {
    for (const auto& [field, value] : fields->items()) {
      if (!now.contains(field) || !before.contains(field) || now[field] != before[field]) {
        throw FileError(path_, "the journal of another run: " + field + " was " +
                                   shown(before, field) + " there and is " + shown(now, field) +
                                   " here");
      }
    }
  }
}

void Journal::write(const std::string& line) const {
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = ::write(file_, line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw FileError(path_, std::string("cannot be written: ") + std::strerror(errno));
    }
    done += static_cast<size_t>(count);
  }
}

void Journal::append(const Report& report) {
  write(encode({{"trial", report.id}, {"difference", report.difference}}));
}

}  // namespace eden::profiler
