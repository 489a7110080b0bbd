/* Keeps ten megabytes more in each second, and writes to them so that they count, until it is killed. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *volatile newest;

__attribute__((noinline)) static void hoard(void) {
  char *block = malloc(100000);
  memset(block, 1, 100000);
  memcpy(block, (char *)&newest, sizeof newest);
  newest = block;
}

int main(void) {
  for (;;) {
    hoard();
    struct timespec pause = {.tv_nsec = 10000000};
    nanosleep(&pause, NULL);
  }
}
