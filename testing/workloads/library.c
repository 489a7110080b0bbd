// A library that burns CPU, built twice: NAME is `first` or `second`. The two have frames of different sizes at the same
// places, so that the unwind information of the one leads astray in the other.
#include <stdint.h>
#include <time.h>

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

static uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

__attribute__((noinline)) uint64_t JOIN(NAME, _leaf)(void) {
  volatile char frame[FRAME];
  frame[0] = 1;
  const uint64_t start = clock_ns();
  uint64_t state = start | 1;
  do {
    for (int i = 0; i < 20000; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
  } while (clock_ns() - start < 30000000);
  return state + (uint64_t)frame[0];
}

__attribute__((noinline)) uint64_t JOIN(NAME, _run)(void) {
  volatile char frame[FRAME * 2];
  frame[0] = 1;
  return JOIN(NAME, _leaf)() + (uint64_t)frame[0];
}
