// Burns CPU at the bottom of a deep recursion whose frames are large: its stacks need a large copy to be unwound.
//
//     deep SECONDS DEPTH
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

static uint64_t clock_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

__attribute__((noinline)) uint64_t bottom() {
  const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  uint64_t state = start | 1;
  do {
    for (int i = 0; i < 20000; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
  } while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - start < 5000000);
  return state;
}

// What follows the call keeps it from becoming a loop; the buffer makes a frame of about 400 bytes.
__attribute__((noinline)) uint64_t descend(int depth) {
  volatile char buffer[320];
  buffer[depth % 320] = char(depth);
  const uint64_t value = depth > 0 ? descend(depth - 1) : bottom();
  return value + uint64_t(buffer[depth % 320]);
}

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 10;
  const int depth = argc > 2 ? atoi(argv[2]) : 60;
  printf("ready\n");
  fflush(stdout);
  const uint64_t end = clock_ns(CLOCK_MONOTONIC) + uint64_t(seconds * 1e9);
  uint64_t sum = 0;
  while (clock_ns(CLOCK_MONOTONIC) < end) sum += descend(depth);
  fprintf(stderr, "%llu\n", (unsigned long long)sum);
  return 0;
}
