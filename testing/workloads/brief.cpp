// A short life: burns MILLISECONDS of CPU time in `burn_brief`, beside what starting took, and is gone.
//
//     brief MILLISECONDS

#include <cstdint>
#include <cstdlib>
#include <ctime>

static uint64_t cpu_ns() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return uint64_t(now.tv_sec) * 1000000000 + uint64_t(now.tv_nsec);
}

[[gnu::noinline]] static uint64_t burn_brief(uint64_t until) {
    uint64_t state = until | 1;
    while (cpu_ns() < until) {
        for (int i = 0; i < 5000; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
    }
    return state;
}

int main(int argc, char **argv) {
    double milliseconds = argc > 1 ? atof(argv[1]) : 10;
    return burn_brief(cpu_ns() + uint64_t(milliseconds * 1e6)) == 0 ? 1 : 0;
}
