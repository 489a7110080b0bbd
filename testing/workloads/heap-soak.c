/* Allocates and frees by every function there is, in four threads and in children, and says what the heap's table holds in the end.
 * Every block is freed, and its first and last byte are written and looked at: one that is not a thread's own would show. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 512, CHILDREN = 8 };

struct slot {
  unsigned char *block;
  size_t size;
};

static void check(const struct slot *slot, unsigned char mark) {
  if (slot->block && (slot->block[0] != mark || slot->block[slot->size - 1] != mark)) {
    puts("corrupt");
    fflush(stdout);
    abort();
  }
}

static void allocate(struct slot *slot, unsigned kind, size_t size) {
  void *block = NULL;
  switch (kind) {
  case 0:
    block = realloc(slot->block, size);
    break;
  case 1:
    block = reallocarray(slot->block, 2, size);
    size *= 2;
    break;
  default:
    free(slot->block);
    if (kind == 2) block = calloc(1, size);
    else if (kind == 3) block = posix_memalign(&block, 64, size) ? NULL : block;
    else if (kind == 4) block = aligned_alloc(32, size = (size + 31) & ~(size_t)31);
    else if (kind == 5) block = memalign(64, size);
    else if (kind == 6 && size < 100) block = valloc(size);
    else block = malloc(size);
  }
  if (!block) abort();
  slot->block = block;
  slot->size = size;
}

static void *work(void *argument) {
  unsigned char mark = (unsigned char)(long)argument;
  unsigned random = mark * 7919u + 1;
  struct slot slots[SLOTS];
  memset(slots, 0, sizeof slots);
  for (int i = 0; i < 400000; i++) {
    random = random * 1664525u + 1013904223u;
    struct slot *slot = &slots[(random >> 8) % SLOTS];
    check(slot, mark);
    allocate(slot, random >> 28 & 7, (random >> 17) % 3000 + 1);
    slot->block[0] = slot->block[slot->size - 1] = mark;
  }
  for (int i = 0; i < SLOTS; i++) free(slots[i].block);
  return NULL;
}

/* The words of the heap's table; null where there is none. */
static const unsigned long *find(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long start = 0;
  while (fgets(line, sizeof line, maps))
    if (strstr(line, "/memfd:flamekeeper-heap")) sscanf(line, "%lx", &start);
  fclose(maps);
  return (const unsigned long *)start;
}

/* `before` are the samples that were live when the program began. */
static void table(unsigned long before) {
  const unsigned long *header = find();
  if (!header) {
    puts("no table");
    return;
  }
  const unsigned long *entries = header + 512;
  unsigned long found = 0;
  for (int i = 0; i < 16384; i++) found += entries[i * 4] > 1;
  printf("taken %lu live %lu freed %lu full %lu replaced %lu entries %lu\n", header[17] - before, header[18] - before, header[19], header[20],
         header[21], found - before);
}

int main(void) {
  /* A buffer that stdio would allocate at the first line is never freed, and would be a live sample now and then. */
  static char lines[BUFSIZ];
  setvbuf(stdout, lines, _IOFBF, sizeof lines);
  /* A library may keep a block from its constructor to the end, as the memory for exceptions of libstdc++, which jemalloc brings. */
  const unsigned long *header = find();
  unsigned long before = header ? header[18] : 0;
  pthread_t threads[THREADS];
  int bad = 0, status;
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)(i + 1));
  for (long i = 0; i < CHILDREN; i++)
    if (fork() == 0) {
      work((void *)(i + 100));
      table(0);
      fflush(stdout);
      _exit(0);
    }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  while (wait(&status) > 0) bad |= status;
  printf("children %d\n", bad);
  table(before);
  return bad != 0;
}
