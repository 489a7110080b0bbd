/* Allocates and frees so many times, in a pattern, and prints the nanoseconds that a pair took. With -DOPERATORS and -lstdc++ by C++'s operators. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef OPERATORS
void *_Znwm(size_t size);
void _ZdlPv(void *block);
#define ALLOCATE _Znwm
#define RELEASE _ZdlPv
#else
#define ALLOCATE malloc
#define RELEASE free
#endif

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv) {
  enum { SLOTS = 4096 };
  static void *slots[SLOTS];
  const long pairs = argc > 1 ? atol(argv[1]) : 20000000;
  const int mixed = argc > 2 && argv[2][0] == 'm';
  unsigned random = 12345;
  const double begin = now();
  for (long i = 0; i < pairs; i++) {
    if (mixed) {
      random = random * 1664525u + 1013904223u;
      void **slot = &slots[random >> 20];
      RELEASE(*slot);
      *slot = ALLOCATE(16 + (random >> 8) % 512);
    } else {
      void *volatile block = ALLOCATE(64);
      RELEASE(block);
    }
  }
  printf("%.3f\n", (now() - begin) / (double)pairs);
  return 0;
}
