// A crowd that costs a profiler work: many processes, mappings and threads, and a storm of forks, for a bounded time.
//
//     crowd SECONDS PROCESSES MAPPINGS THREADS FORKS_PER_SECOND
//
// It is safe to run: it touches only its own children, each of which dies with its parent (PR_SET_PDEATHSIG) and by its own
// alarm, whatever happens to the rest; memory is a few kilobytes a thread. Says "ready" when all are there, and at its end
// how many forks the storm made.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

static unsigned seconds;
// Shared by all: how many children are ready, and what the storm made.
struct Counts {
  std::atomic<uint64_t> ready, forks;
};
static Counts* counts;

static uint64_t clock_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

static void nap(uint64_t ns) {
  timespec time = {time_t(ns / 1000000000u), long(ns % 1000000000u)};
  nanosleep(&time, nullptr);
}

__attribute__((noinline)) void flicker(uint64_t ns) {
  const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - start < ns) {
  }
}

// A child that cannot outlive its parent nor its time.
static pid_t child(pid_t parent) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  alarm(seconds + 60);
  return 0;
}

// Wakes now and then, each at another moment, so that each is sampled at some time.
[[noreturn]] static void idler(unsigned number) {
  ++counts->ready;
  nap(uint64_t(number % 1000) * 1000000u);
  for (;;) {
    flicker(100000);
    nap(1000000000u);
  }
}

// Pages of this program's own code, each a mapping of its own: neighbours are not joined, for their offsets do not follow.
[[noreturn]] static void mapper(unsigned mappings) {
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  for (unsigned i = 0; i < mappings; ++i) {
    if (mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, self, 0) == MAP_FAILED) _exit(2);
  }
  ++counts->ready;
  for (;;) {
    flicker(20000000);
    nap(200000000u);
  }
}

static void* thread(void*) {
  ++counts->ready;
  for (;;) {
    flicker(20000);
    nap(2000000000u);
  }
}

[[noreturn]] static void crowded(unsigned threads) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 32 << 10);
  for (unsigned i = 0; i < threads; ++i) {
    pthread_t id;
    if (pthread_create(&id, &small, thread, nullptr) != 0) _exit(3);
  }
  for (;;) nap(1000000000u);
}

// Half of the children end at once, half run another program.
[[noreturn]] static void storm(unsigned each_second) {
  ++counts->ready;
  const pid_t self = getpid();
  uint64_t next = clock_ns(CLOCK_MONOTONIC);
  for (;;) {
    const pid_t pid = child(self);
    if (pid == 0) {
      if (counts->forks % 2 == 0) execl("/bin/true", "true", nullptr);
      _exit(0);
    }
    if (pid < 0) _exit(4);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    ++counts->forks;
    next += 1000000000u / each_second;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if (now < next) nap(next - now);
    else next = now;
  }
}

int main(int argc, char** argv) {
  if (argc != 6) return fprintf(stderr, "usage: crowd SECONDS PROCESSES MAPPINGS THREADS FORKS_PER_SECOND\n"), 2;
  seconds = unsigned(atoi(argv[1]));
  const unsigned processes = unsigned(atoi(argv[2])), mappings = unsigned(atoi(argv[3]));
  const unsigned threads = unsigned(atoi(argv[4])), forks = unsigned(atoi(argv[5]));
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return perror("mmap"), 1;
  counts = new (shared) Counts{};
  alarm(seconds + 60);
  const pid_t self = getpid();
  std::vector<pid_t> children;
  uint64_t expected = 0;
  auto add = [&](uint64_t ready, auto body) {
    const pid_t pid = child(self);
    if (pid == 0) body();
    if (pid > 0) children.push_back(pid), expected += ready;
    return pid > 0;
  };
  bool made = true;
  for (unsigned i = 0; i < processes && made; ++i) made = add(1, [&] { idler(i); });
  if (mappings > 0) made = made && add(1, [&] { mapper(mappings); });
  for (unsigned left = threads; left > 0 && made;) {
    const unsigned part = left < 1000 ? left : 1000;
    made = add(part, [&] { crowded(part); });
    left -= part;
  }
  if (forks > 0) made = made && add(1, [&] { storm(forks); });
  const uint64_t start = clock_ns(CLOCK_MONOTONIC);
  while (made && counts->ready < expected && clock_ns(CLOCK_MONOTONIC) - start < 60000000000u) nap(10000000);
  if (made && counts->ready >= expected) {
    puts("ready");
    fflush(stdout);
    nap(uint64_t(seconds) * 1000000000u);
  } else {
    puts("this machine does not allow so many");
  }
  for (const pid_t pid : children) kill(pid, SIGKILL);
  for (const pid_t pid : children) waitpid(pid, nullptr, 0);
  printf("{\"forks\": %llu}\n", static_cast<unsigned long long>(counts->forks.load()));
  return 0;
}
