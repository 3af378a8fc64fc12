// Catch2 version 2 has no library with a main function; version 3 brings its own and this file is
// not built.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
