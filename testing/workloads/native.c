// Burns CPU at the bottom of main > outer > middle > burn_leaf, reached in the way that MODE names,
//
//     native SECONDS MODE [LIBRARY LIBRARY]
//
// for SECONDS of CPU time. The modes:
//
//     plain     by calls
//     thread    by calls, in a thread that is not the main one
//     signal    in a handler, while outer's callee `interrupted` runs
//     altstack  the same, the handler on a stack of its own
//     switch    on another stack, which `on_stack` switches to as rustc does when its stack gets short
//     context   on another stack, by makecontext(3)
//     vdso      in clock_gettime(2), so that most samples lie in the vdso
//     realign   below a function that realigns its stack, so that only a row with an expression finds its caller
//     library   in functions of the two libraries, which are loaded, called and unloaded in turn
//
// Prints `ready` once it burns, and at its end the truth: nanoseconds of CPU time in burn_leaf (in the mode `library`: in each
// library, and how often the second lay where the first had lain).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline))

static volatile uint64_t sink;
static uint64_t spent, deadline;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// By CPU time, so that a busy machine takes none of the samples away.
static int running(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID) < deadline; }

// What follows each call keeps it from being a tail call, which would take the caller off the stack.
NOINLINE uint64_t burn_leaf(void) {
  const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  uint64_t state = start | 1, now;
  do {
    for (int i = 0; i < 20000; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
    now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  } while (now - start < 5000000);
  spent += now - start;
  return state;
}
NOINLINE uint64_t middle(void) { return burn_leaf() + 1; }
NOINLINE uint64_t outer(void) {
  uint64_t sum = 0;
  while (running()) sum += middle();
  return sum + 2;
}

static void *thread_main(void *argument) {
  sink += outer();
  return argument;
}

static void handler(int number) {
  (void)number;
  sink += middle();
}
NOINLINE uint64_t interrupted(void) {
  raise(SIGUSR1);
  return clock_ns(CLOCK_MONOTONIC) | 1;
}
NOINLINE uint64_t interrupting(void) {
  uint64_t sum = 0;
  while (running()) sum += interrupted();
  return sum;
}

#if defined(__x86_64__)
// on_stack(top, function): calls the function on the stack that ends at `top`.
uint64_t on_stack(void *top, uint64_t (*function)(void));
__asm__(
    ".text\n.globl on_stack\n.type on_stack,@function\non_stack:\n.cfi_startproc\n"
    "push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp,-16\nmov %rsp,%rbp\n.cfi_def_cfa_register %rbp\n"
    "mov %rdi,%rsp\ncall *%rsi\nmov %rbp,%rsp\npop %rbp\n.cfi_def_cfa %rsp,8\nret\n.cfi_endproc\n.size on_stack,.-on_stack\n");
#endif

static ucontext_t here, there;
static void context_main(void) { sink += outer(); }

NOINLINE uint64_t ask_the_time(void) {
  uint64_t sum = 0;
  struct timespec now;
  const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < 100000; ++i) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    sum += (uint64_t)now.tv_nsec;
  }
  spent += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
  return sum;
}

#ifndef PLAIN_ONLY
NOINLINE uint64_t realigned(int size) {
  // A size that is not known and an alignment above the ABI's: the compiler reaches its caller's frame by a saved pointer.
  _Alignas(128) volatile char aligned[256];
  volatile char *some = __builtin_alloca((size_t)size);
  some[0] = aligned[0] = 1;
  return middle() + (uint64_t)some[0] + (uint64_t)aligned[0];
}
NOINLINE uint64_t realigning(int size) {
  uint64_t sum = 0;
  while (running()) sum += realigned(size) + 1;
  return sum;
}

static void libraries(char **paths) {
  uint64_t in[2] = {0, 0}, same = 0, other = 0;
  uintptr_t last = 0;
  for (int which = 0; running(); which ^= 1) {
    void *library = dlopen(paths[which], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) exit(1);
    uint64_t (*run)(void) = (uint64_t(*)(void))dlsym(library, which ? "second_run" : "first_run");
    Dl_info info;
    if (run == NULL || !dladdr((void *)run, &info)) exit(1);
    if ((uintptr_t)info.dli_fbase == last) ++same; else ++other;
    last = (uintptr_t)info.dli_fbase;
    const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    sink += run() + 1;
    in[which] += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
    dlclose(library);
  }
  printf("{\"first_run\": %llu, \"second_run\": %llu, \"same\": %llu, \"other\": %llu}\n", (unsigned long long)in[0],
         (unsigned long long)in[1], (unsigned long long)same, (unsigned long long)other);
}
#endif

int main(int argc, char **argv) {
  const char *mode = argc > 2 ? argv[2] : "plain";
  static char stack[1 << 20] __attribute__((aligned(4096)));
  deadline = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + (uint64_t)((argc > 1 ? atof(argv[1]) : 10) * 1e9);
  printf("ready\n");
  fflush(stdout);
  if (!strcmp(mode, "plain")) {
    sink += outer();
  } else if (!strcmp(mode, "thread")) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_main, NULL) != 0 || pthread_join(thread, NULL) != 0) return 1;
  } else if (!strcmp(mode, "signal") || !strcmp(mode, "altstack")) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = mode[0] == 'a' ? SA_ONSTACK : 0};
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&alternate, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0) return 1;
    sink += interrupting();
  } else if (!strcmp(mode, "vdso")) {
    while (running()) sink += ask_the_time();
#ifndef PLAIN_ONLY
  } else if (!strcmp(mode, "switch")) {
    sink += on_stack(stack + sizeof stack, outer);
  } else if (!strcmp(mode, "context")) {
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    there.uc_link = &here;
    makecontext(&there, context_main, 0);
    swapcontext(&here, &there);
  } else if (!strcmp(mode, "realign")) {
    sink += realigning(argc * 16);
  } else if (!strcmp(mode, "library")) {
    libraries(argv + 3);
    return 0;
#endif
  } else {
    return 2;
  }
  printf("{\"burn_leaf\": %llu}\n", (unsigned long long)spent);
  return 0;
}
