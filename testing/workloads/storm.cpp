// A storm of executions: runs PROGRAM MILLISECONDS so many times a second, every fourth time by a name that was never used
// before and is gone afterwards, and prints at the end how often.
//
//     storm PER_SECOND SECONDS PROGRAM MILLISECONDS

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <unordered_map>

extern char **environ;

// Programs that run at one time: where the machine is busy, each takes long to end.
static const size_t MOST = 32;

static double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    double rate = atof(argv[1]), seconds = atof(argv[2]), start = now();
    std::string program = argv[3];
    long count = 0;
    std::unordered_map<pid_t, std::string> running;
    auto reap = [&](int options) {
        pid_t ended = waitpid(-1, nullptr, options);
        if (ended <= 0) return false;
        if (running[ended] != program) unlink(running[ended].c_str());
        running.erase(ended);
        return true;
    };
    puts("ready");
    fflush(stdout);
    while (now() - start < seconds) {
        std::string path = program;
        if (count % 4 == 3) {
            path += "-" + std::to_string(getpid()) + "-" + std::to_string(count);
            if (link(program.c_str(), path.c_str()) != 0) return 3;
        }
        char *arguments[] = {path.data(), argv[4], nullptr};
        pid_t child;
        if (posix_spawn(&child, path.c_str(), nullptr, nullptr, arguments, environ) != 0) return 4;
        running[child] = path;
        count++;
        while (reap(WNOHANG)) {}
        while (running.size() >= MOST) reap(0);
        double ahead = double(count) / rate - (now() - start);
        if (ahead > 0) usleep(useconds_t(ahead * 1e6));
    }
    while (!running.empty()) reap(0);
    printf("{\"execs\": %ld}\n", count);
}
