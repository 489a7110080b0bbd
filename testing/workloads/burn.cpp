// Burns CPU in three functions at 70/20/10 %, in as many threads as asked.
//
//     burn SECONDS THREADS [cpu]
//
// With `cpu` the seconds are of each thread's CPU time, so that a busy machine makes it slow and not short.
//
// Prints `ready` once it burns, and at its end the truth: a JSON object of function name to nanoseconds of CPU time that all
// threads spent in it, by each thread's own CPU clock, which is read inside the function. So the truth holds whatever
// the optimizer does and however busy the machine is.
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

std::atomic<uint64_t> spent[3];
std::atomic<uint64_t> sink;
double seconds = 10;
clockid_t ends_by = CLOCK_MONOTONIC;

uint64_t clock_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

// Always inlined, so that a symbolizer has to find it in the debug information.
inline __attribute__((always_inline)) uint64_t mix(uint64_t state) {
  for (int i = 0; i < 20000; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
  }
  return state;
}

inline __attribute__((always_inline)) uint64_t burn(int which, uint64_t nanoseconds) {
  const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  uint64_t state = start | 1, now;
  do {
    state = mix(state);
    now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  } while (now - start < nanoseconds);
  spent[which] += now - start;
  return state;
}

}  // namespace

// Slices whose sum (33 ms) is no simple multiple of a sampling period, so that samples fall on all parts of the cycle.
// The addition after the call keeps it from becoming a tail call, which would take the caller off the stack.
__attribute__((noinline)) uint64_t burn_hot() { return burn(0, 23100000) + 1; }
__attribute__((noinline)) uint64_t burn_warm() { return burn(1, 6600000) + 2; }
__attribute__((noinline)) uint64_t burn_cool() { return burn(2, 3300000) + 3; }

__attribute__((noinline)) uint64_t work() {
  const uint64_t end = clock_ns(ends_by) + uint64_t(seconds * 1e9);
  uint64_t sum = 0;
  while (clock_ns(ends_by) < end) {
    sum += burn_hot();
    sum += burn_warm();
    sum += burn_cool();
  }
  return sum;
}

extern "C" void* thread_main(void*) {
  sink += work();
  return nullptr;
}

int main(int argc, char** argv) {
  seconds = argc > 1 ? atof(argv[1]) : 10;
  const int threads = argc > 2 ? atoi(argv[2]) : 1;
  if (argc > 3 && strcmp(argv[3], "cpu") == 0) ends_by = CLOCK_THREAD_CPUTIME_ID;
  printf("ready\n");
  fflush(stdout);
  std::vector<pthread_t> others(threads > 1 ? threads - 1 : 0);
  for (pthread_t& thread : others) {
    if (pthread_create(&thread, nullptr, thread_main, nullptr) != 0) return 1;
  }
  sink += work();
  for (pthread_t thread : others) pthread_join(thread, nullptr);
  printf("{\"burn_hot\": %llu, \"burn_warm\": %llu, \"burn_cool\": %llu}\n", (unsigned long long)spent[0].load(),
         (unsigned long long)spent[1].load(), (unsigned long long)spent[2].load());
  return 0;
}
