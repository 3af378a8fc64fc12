// Are digests those of the standard's examples, however the bytes come?
#include <string>

#include "base/sha256.h"
#include "catch2.h"

TEST_CASE("SHA-256 gives the known answers, whatever the pieces") {
  const std::pair<std::string, const char*> known[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const auto& [text, wanted] : known) {
    for (const size_t piece : {size_t{1}, size_t{55}, size_t{64}, size_t{1000}}) {
      eden::Sha256 digest;
      for (size_t i = 0; i < text.size(); i += piece) digest.update(text.substr(i, piece));
      CHECK(digest.digits() == wanted);
    }
  }
}
