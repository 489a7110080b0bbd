// A program that touches known amounts of fresh memory in each of several functions.
//
//   faults mix SECONDS      touch_much 308, touch_little 77 and read_fresh 77 pages every 10 ms, reuse none
//   faults huge SECONDS     touch_huge 1920 MiB a second, of huge pages where the kernel has them
//   faults storm SECONDS    touch_storm, as fast as it can
//
// Says `ready`, works, and prints the truth as JSON: bytes by function, its CPU time in nanoseconds (`cpu`) and the page faults that
// the kernel has counted (`faults`).

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define HUGE ((size_t)2 << 20)

static size_t much, little, fresh, huge, storm;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct rusage usage(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) fail("getrusage");
    return usage;
}

static uint64_t cpu(const struct rusage *usage) {
    const struct timeval *user = &usage->ru_utime, *system = &usage->ru_stime;
    return (uint64_t)(user->tv_sec + system->tv_sec) * 1000000000 + (uint64_t)(user->tv_usec + system->tv_usec) * 1000;
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static char *map(size_t bytes, int advice) {
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) fail("mmap");
    // A kernel without huge pages knows neither advice, and needs none.
    madvise(at, bytes, advice);
    return at;
}

static void touch(char *at, size_t bytes) {
    for (size_t page = 0; page < bytes; page += PAGE) *(volatile char *)(at + page) = 1;
}

static size_t touched(size_t bytes) {
    char *at = map(bytes, MADV_NOHUGEPAGE);
    touch(at, bytes);
    munmap(at, bytes);
    return bytes;
}

__attribute__((noinline)) static void touch_much(void) { much += touched(308 * PAGE); }

__attribute__((noinline)) static void touch_little(void) { little += touched(77 * PAGE); }

__attribute__((noinline)) static void touch_storm(void) { storm += touched(8 * MIB); }

// The kernel touches the pages, on behalf of a call from here.
__attribute__((noinline)) static void read_fresh(int zero) {
    char *at = map(77 * PAGE, MADV_NOHUGEPAGE);
    if (read(zero, at, 77 * PAGE) != (ssize_t)(77 * PAGE)) fail("read");
    munmap(at, 77 * PAGE);
    fresh += 77 * PAGE;
}

__attribute__((noinline)) static void touch_huge(void) {
    size_t bytes = 4 * MIB;
    char *at = map(bytes + HUGE, MADV_HUGEPAGE);
    touch((char *)(((uintptr_t)at + HUGE - 1) & ~(uintptr_t)(HUGE - 1)), bytes);
    munmap(at, bytes + HUGE);
    huge += bytes;
}

__attribute__((noinline)) static void reuse(char *held) {
    touch(held, 16 * MIB);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    double seconds = strtod(argv[2], NULL);
    int zero = open("/dev/zero", O_RDONLY);
    if (zero < 0) fail("/dev/zero");
    char *held = map(16 * MIB, MADV_NOHUGEPAGE);
    touch(held, 16 * MIB);
    puts("ready");
    fflush(stdout);
    struct rusage before = usage();
    double begun = now(), next = begun, step = strcmp(argv[1], "mix") == 0 ? 0.01 : 0.1;
    while (now() - begun < seconds) {
        if (strcmp(argv[1], "storm") == 0) {
            touch_storm();
            continue;
        }
        if (strcmp(argv[1], "huge") == 0) {
            for (int round = 0; round < 48; round++) touch_huge();
        } else {
            touch_much();
            touch_little();
            read_fresh(zero);
            reuse(held);
        }
        next += step;
        double rest = next - now();
        if (rest > 0) usleep((useconds_t)(rest * 1e6));
    }
    struct rusage after = usage();
    printf("{\"touch_much\": %zu, \"touch_little\": %zu, \"read_fresh\": %zu, \"touch_huge\": %zu, \"touch_storm\": %zu, \"reuse\": 0, ", much, little, fresh, huge, storm);
    printf("\"cpu\": %llu, \"faults\": %ld}\n", (unsigned long long)(cpu(&after) - cpu(&before)), after.ru_minflt - before.ru_minflt);
    return 0;
}
