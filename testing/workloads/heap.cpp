// A heap of known content: a leak, a cache that is full and churns, a sawtooth. Allocates for some seconds at an even pace, prints what
// each site has allocated and what of it is live, and waits to be ended, or ends. All of it is the same however long it takes.
//
//   heap [SECONDS [end]]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

struct Site {
  unsigned long allocated = 0;
  unsigned long live = 0;
};

static Site leaked, cached, sawn;
static char *volatile lost;

// Never in line, so that each is a frame of its own, and not a tail call.
#define SITE __attribute__((noinline, noclone))
#define RETURN(value) \
  do {                \
    auto kept = value;\
    asm volatile("" : "+r"(kept)); \
    return kept;      \
  } while (0)

SITE static char *make(Site &site, std::size_t size) {
  char *block = new char[size];
  block[0] = 1;
  site.allocated += size;
  site.live += size;
  RETURN(block);
}

static void drop(Site &site, char *block, std::size_t size) {
  site.live -= size;
  delete[] block;
}

SITE static char *leak_site() { RETURN(make(leaked, 20000)); }
SITE static char *cache_site() { RETURN(make(cached, 10000)); }
SITE static char *sawtooth_site() { RETURN(make(sawn, 30000)); }

int main(int argc, char **argv) {
  const int steps = 1000, seconds = argc > 1 ? std::atoi(argv[1]) : 16;
  std::vector<char *> cache(12800, nullptr), teeth;
  std::size_t next = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int step = 0; step < steps; step++) {
    for (int i = 0; i < 13; i++) lost = leak_site();
    for (int i = 0; i < 26; i++) {
      char *&place = cache[next++ % cache.size()];
      if (place) drop(cached, place, 10000);
      place = cache_site();
    }
    if (step % 300 == 0) {
      for (char *tooth : teeth) drop(sawn, tooth, 30000);
      teeth.clear();
    }
    for (int i = 0; i < 8; i++) teeth.push_back(sawtooth_site());
    std::this_thread::sleep_until(begin + std::chrono::milliseconds(1000L * seconds * (step + 1) / steps));
  }
  std::printf("leak_site %lu %lu\ncache_site %lu %lu\nsawtooth_site %lu %lu\nend\n", leaked.allocated, leaked.live, cached.allocated, cached.live,
              sawn.allocated, sawn.live);
  std::fflush(stdout);
  if (argc < 3) std::this_thread::sleep_for(std::chrono::hours(1));
}
