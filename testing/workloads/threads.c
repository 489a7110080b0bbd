// Two threads with names of their own, `reader` and `writer`, which burn READER and WRITER seconds of CPU time.
//
//     threads READER WRITER
//
// Prints `ready` once both burn, and at its end the truth: nanoseconds of CPU time of each.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct part {
  const char *name;
  double seconds;
  uint64_t spent;
};

static uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *burn(void *argument) {
  struct part *part = argument;
  pthread_setname_np(pthread_self(), part->name);
  volatile uint64_t sink = 0;
  while (clock_ns() < (uint64_t)(part->seconds * 1e9)) {
    for (int i = 0; i < 20000; ++i) sink += (uint64_t)i;
  }
  part->spent = clock_ns();
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  struct part parts[] = {{"reader", atof(argv[1]), 0}, {"writer", atof(argv[2]), 0}};
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i) {
    if (pthread_create(&threads[i], NULL, burn, &parts[i]) != 0) return 1;
  }
  printf("ready\n");
  fflush(stdout);
  for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  printf("{\"reader\": %llu, \"writer\": %llu}\n", (unsigned long long)parts[0].spent, (unsigned long long)parts[1].spent);
  return 0;
}
