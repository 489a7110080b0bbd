// Keeps CPUs busy and counts what gets done: the load under which profilers are measured.
//
//     flk-load SECONDS COUNTERS THREADS [PAUSE_MS]
//
// Thread n runs on CPU n. Threads with an even number work right below their start routine; those with an odd number at
// the bottom of 100 frames of some 400 bytes, so that their stacks need a copy of 40 KiB to be followed to the root. A unit
// of work reads 256 KiB of memory, so that whatever a profiler does to the caches shows in the count. COUNTERS is a file
// of one 64-bit count for each thread, which whoever measures maps and reads while this runs. With PAUSE_MS each unit is
// followed by that pause. Ends after SECONDS whatever happens.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

volatile uint64_t* counters;
uint64_t end_ns;
long pause_ms;
constexpr int WORDS = 32768;
constexpr int DEPTH = 100;

uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

}  // namespace

// About 100 microseconds of arithmetic over the whole table.
__attribute__((noinline)) uint64_t unit(uint64_t* table) {
  uint64_t state = table[0] | 1;
  for (int i = 0; i < WORDS; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    table[i] += state;
  }
  return state;
}

// A hundred units between two looks at the clock.
__attribute__((noinline)) uint64_t units(int thread, uint64_t* table) {
  uint64_t sum = 0;
  for (int i = 0; i < 100 && (i == 0 || pause_ms == 0); ++i) {
    sum += unit(table);
    counters[thread] = counters[thread] + 1;
  }
  if (pause_ms > 0) usleep(useconds_t(pause_ms) * 1000);
  return sum;
}

// What follows the call keeps it from becoming a loop; the buffer makes a frame of about 400 bytes.
__attribute__((noinline)) uint64_t descend(int depth, int thread, uint64_t* table) {
  volatile char buffer[320];
  buffer[depth % 320] = char(depth);
  const uint64_t value = depth > 0 ? descend(depth - 1, thread, table) : units(thread, table);
  return value + uint64_t(buffer[depth % 320]);
}

__attribute__((noinline)) uint64_t work(int thread) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(thread, &cpus);
  if (pause_ms == 0) sched_setaffinity(0, sizeof cpus, &cpus);
  std::vector<uint64_t> table(WORDS, 1);
  uint64_t sum = 0;
  while (now_ns() < end_ns) sum += thread % 2 == 0 ? units(thread, table.data()) : descend(DEPTH, thread, table.data());
  return sum;
}

extern "C" void* thread_main(void* thread) {
  return reinterpret_cast<void*>(work(int(reinterpret_cast<intptr_t>(thread))) | 1);
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const int threads = atoi(argv[3]);
  end_ns = now_ns() + uint64_t(atof(argv[1]) * 1e9);
  pause_ms = argc > 4 ? atol(argv[4]) : 0;
  const int file = open(argv[2], O_RDWR);
  void* map = mmap(nullptr, size_t(threads) * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file < 0 || map == MAP_FAILED) return 1;
  counters = static_cast<volatile uint64_t*>(map);
  std::vector<pthread_t> others(threads > 1 ? size_t(threads) - 1 : 0);
  for (size_t i = 0; i < others.size(); ++i) {
    if (pthread_create(&others[i], nullptr, thread_main, reinterpret_cast<void*>(i + 1)) != 0) return 1;
  }
  printf("%llu\n", (unsigned long long)work(0));
  for (pthread_t thread : others) pthread_join(thread, nullptr);
  return 0;
}
