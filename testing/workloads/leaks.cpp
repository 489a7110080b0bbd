// Leaks of known places among sites that grow for good reasons. Runs until it is ended; its pace is even, and a step that came late is
// made up for.
//
// Leaks: buffers that nobody holds, a registry that only grows, chains that are dropped whole. Not leaks: a cache that warms and then
// replaces, a queue with rushes, a list that is cleared now and then, what is made at the start, a vector that doubles.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

// Never in line, so that each is a frame of its own, and not a tail call.
#define SITE __attribute__((noinline, noclone))
#define RETURN(value) \
  do {                \
    auto kept = value;\
    asm volatile("" : "+r"(kept)); \
    return kept;      \
  } while (0)

struct Chain {
  Chain *next;
  char rest[8000];
};

static char *volatile lost;
// What is registered: it only grows.
static char *volatile registry[1 << 20];

#define TOUCHED(size)                                   \
  do {                                                  \
    char *block = static_cast<char *>(std::malloc(size)); \
    block[0] = block[(size)-1] = 1;                     \
    RETURN(block);                                      \
  } while (0)

SITE static char *lost_buffer() { TOUCHED(20000); }
SITE static char *registered() { TOUCHED(12000); }
SITE static Chain *chained(Chain *next) {
  auto *link = static_cast<Chain *>(std::malloc(sizeof(Chain)));
  std::memset(link, 1, sizeof(Chain));
  link->next = next;
  RETURN(link);
}
SITE static char *cache_entry() { TOUCHED(16000); }
SITE static char *queue_entry() { TOUCHED(16000); }
SITE static char *sawtooth_entry() { TOUCHED(16000); }
SITE static char *start_up() { TOUCHED(16000); }
SITE static char *doubled(char *old, std::size_t size) { RETURN(static_cast<char *>(std::realloc(old, size))); }

int main() {
  std::vector<char *> cache, saw, started;
  std::deque<char *> queue;
  std::size_t capacity = 60000;
  char *vector = doubled(nullptr, capacity);
  unsigned random = 1;
  for (int i = 0; i < 300; i++) started.push_back(start_up());
  std::puts("begun");
  std::fflush(stdout);
  const auto begin = std::chrono::steady_clock::now();
  // Twenty steps a second.
  for (unsigned step = 0;; step++) {
    lost = lost_buffer();
    registry[step % (1 << 20)] = registered();
    if (step % 10 == 0) {
      Chain *chain = nullptr;
      for (int i = 0; i < 10; i++) chain = chained(chain);
      lost = reinterpret_cast<char *>(chain);
      lost = nullptr;
    }
    random = random * 1103515245 + 12345;
    if (cache.size() < 80) {
      cache.push_back(cache_entry());
    } else {
      char *&entry = cache[(random >> 8) % cache.size()];
      std::free(entry);
      entry = cache_entry();
    }
    if (step % 100 < 20) for (int i = 0; i < 3; i++) queue.push_back(queue_entry());
    if (!queue.empty()) {
      std::free(queue.front());
      queue.pop_front();
    }
    if (step % 120 == 0) {
      for (char *entry : saw) std::free(entry);
      saw.clear();
    }
    saw.push_back(sawtooth_entry());
    if (step % 40 == 39 && capacity < (64 << 20)) vector = doubled(vector, capacity *= 2);
    std::this_thread::sleep_until(begin + std::chrono::milliseconds(50L * (step + 1)));
  }
}
