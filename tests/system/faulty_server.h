#pragma once
// A server whose system calls a test can make fail.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "testing/eventually.h"
#include "tests/system/fault_board.h"
#include "tests/system/system_fixture.h"

namespace quern {

class FaultyServerTest : public SystemTest {
 protected:
  FaultyServerTest() : board_(open_board(folder_.path() / "fault_board")) {
    // The library comes before the sanitizers' own, which they would rather not have.
    const char* options = std::getenv("ASAN_OPTIONS");
    server_environment_ = {
        std::string("LD_PRELOAD=") + QUERN_FAULT_LIBRARY,
        std::string(kFaultBoardVariable) + "=" + (folder_.path() / "fault_board").string(),
        std::string("ASAN_OPTIONS=") + (options != nullptr ? options : "") +
            ":verify_asan_link_order=0"};
  }
  ~FaultyServerTest() override { ::munmap(&board_, sizeof(FaultBoard)); }

  FaultBoard& board() { return board_; }

 private:
  static FaultBoard& open_board(const std::filesystem::path& file) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    QUERN_ASSERT(fd >= 0 && ::ftruncate(fd, sizeof(FaultBoard)) == 0);
    void* page = ::mmap(nullptr, sizeof(FaultBoard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    QUERN_ASSERT(page != MAP_FAILED);
    ::close(fd);
    return *static_cast<FaultBoard*>(page);
  }

  FaultBoard& board_;
};

}  // namespace quern
