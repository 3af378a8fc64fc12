// Files as every part of EDEN treats them: read whole, written whole or not at all, and named by
// the errors about them.
#pragma once

#include <string>
#include <vector>

#include "base/refusal.h"

namespace eden::profiler {

// Throws FileError if it cannot be read.
std::string read_file(const std::string& path);

// SHA-256 in hexadecimal digits: what journals and results name a file by.
std::string digest_of(const std::string& content);

// Makes the folder of a file that is to be written and tries whether it can be, before anything is
// computed. Throws FileError, also where something else than a file is in the way, or one of the
// files that are read, whichever way their names lead there.
void check_output(const std::string& path, const std::vector<std::string>& inputs);

// Puts a new file in the place of the old one only when all of it is on the disk. Throws FileError.
void write_whole(const std::string& path, const std::string& content);

}  // namespace eden::profiler
