// Wakes on a fixed grid of the monotonic clock, works for a while, sleeps until the next turn: work in step with a timer.
//
//     steps SECONDS PERIOD_NS WORK_NS
//
// Prints `ready` once it works, and at its end the CPU time that the whole process took, by the process's own clock.
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

uint64_t clock_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

}  // namespace

__attribute__((noinline)) uint64_t burn_hot(uint64_t nanoseconds) {
  const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  uint64_t state = start | 1;
  do {
    for (int i = 0; i < 2000; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
  } while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - start < nanoseconds);
  return state;
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const uint64_t period = strtoull(argv[2], nullptr, 10), work = strtoull(argv[3], nullptr, 10);
  printf("ready\n");
  fflush(stdout);
  uint64_t turn = clock_ns(CLOCK_MONOTONIC), sum = 0;
  const uint64_t end = turn + uint64_t(atof(argv[1]) * 1e9);
  while ((turn += period) < end) {
    const timespec at = {time_t(turn / 1000000000u), long(turn % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
    sum += burn_hot(work);
  }
  printf("{\"all\": %llu}\n", static_cast<unsigned long long>(clock_ns(CLOCK_PROCESS_CPUTIME_ID)));
  return sum == 1;
}
