/* Blocks that one side allocates and the other frees, across RTLD_DEEPBIND; and allocation in a signal handler's way. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static void tick(int signal) { ticks += signal > 0; }

int main(int argc, char **argv) {
  void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_DEEPBIND);
  if (!library) return puts(dlerror()), 1;
  char *(*make)(size_t) = (char *(*)(size_t))dlsym(library, "deep_make");
  void (*release)(void *) = (void (*)(void *))dlsym(library, "deep_free");
  signal(SIGALRM, tick);
  struct itimerval timer = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &timer, NULL);
  for (int i = 0; i < 200000; i++) {
    free(make(100 + i % 2000));
    release(malloc(100 + i % 2000));
    char *kept = realloc(make(64), 5000);
    if (kept[63] != 7) return puts("lost content"), 1;
    release(kept);
  }
  dlclose(library);
  puts(ticks > 0 ? "fine" : "no signal came");
  return 0;
}
