// Keeps 256 blocks of 96 KiB, which are as large as jemalloc makes them, from `keep`, and serves jemalloc's own heap profile on a port of this host.
//
//   heap-jemalloc PORT
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length);

static void *volatile kept[256];
static volatile unsigned long sink;

__attribute__((noinline)) static void keep(int place) {
    void *block = malloc(96 << 10);
    memset(block, 1, 96 << 10);
    kept[place] = block;
}

static void serve(int connection) {
    char request[4096], head[128];
    const char *path = "jemalloc.heap";
    if (read(connection, request, sizeof request) <= 0 || mallctl("prof.dump", NULL, NULL, &path, sizeof path) != 0) {
        _exit(3);
    }
    FILE *file = fopen(path, "r");
    static char text[4 << 20];
    size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    int count = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", length);
    if (write(connection, head, count) != count || write(connection, text, length) != (ssize_t)length) {
        fprintf(stderr, "the reader went away\n");
    }
    close(connection);
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons(count > 1 ? atoi(arguments[1]) : 0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
        return 2;
    }
    for (int place = 0; place < 256; place++) {
        keep(place);
    }
    puts("begun");
    fflush(stdout);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0) {
            serve(connection);
        }
        // Some CPU time, so that it is sampled.
        for (unsigned long turn = 0; turn < 3000000; turn++) {
            sink += turn;
        }
        struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
    }
}
