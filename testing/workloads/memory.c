// A program that has a known amount of memory of one kind.
//
//   memory anon MIB          anonymous memory, touched
//   memory shmem MIB         shared memory of the kernel's own file system (a memfd), touched
//   memory file MIB PATH     pages of a file, in two processes that share them
//   memory grow MIB          so many MiB of anonymous memory more in each second
//
// Says `ready` when it has it, and stays until it is ended.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static const size_t MIB = 1 << 20;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static char *map(size_t bytes, int flags, int fd) {
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) fail("mmap");
    return at;
}

// Ever more: a step each tenth of a second, by the clock, so that late steps are made up for.
__attribute__((noinline)) static void grow(size_t mib) {
    size_t step = mib * MIB / 10 / 4096 * 4096, reserved = 4096 * MIB;
    char *at = map(reserved, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    madvise(at, reserved, MADV_NOHUGEPAGE);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (size_t used = 0; used + step <= reserved; used += step) {
        memset(at + used, 1, step);
        next.tv_nsec += 100000000;
        if (next.tv_nsec >= 1000000000) {
            next.tv_sec++;
            next.tv_nsec -= 1000000000;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    const char *kind = argv[1];
    size_t mib = strtoul(argv[2], NULL, 10), bytes = mib * MIB;
    if (strcmp(kind, "anon") == 0) {
        memset(map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1), 1, bytes);
    } else if (strcmp(kind, "shmem") == 0) {
        int fd = memfd_create("memory", 0);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) fail("memfd");
        memset(map(bytes, MAP_SHARED, fd), 1, bytes);
    } else if (strcmp(kind, "file") == 0 && argc > 3) {
        int fd = open(argv[3], O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) fail(argv[3]);
        memset(map(bytes, MAP_SHARED, fd), 1, bytes);
        int parent = getpid(), pipes[2];
        char byte = 0;
        if (pipe(pipes) != 0) fail("pipe");
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) return 0;
            char *at = map(bytes, MAP_SHARED, fd);
            for (size_t page = 0; page < bytes; page += 4096) byte += *(volatile char *)(at + page);
            if (write(pipes[1], &byte, 1) != 1) return 1;
            for (;;) pause();
        }
        if (read(pipes[0], &byte, 1) != 1) return 1;
    } else if (strcmp(kind, "grow") != 0) {
        return 2;
    }
    puts("ready");
    fflush(stdout);
    if (strcmp(kind, "grow") == 0) grow(mib);
    for (;;) pause();
}
