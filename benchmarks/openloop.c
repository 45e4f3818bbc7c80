/* Load that does not wait for answers: requests are due at random moments (Poisson), whatever happens to earlier ones.
 *
 *     cc -O2 -o openloop openloop.c -lm && ./openloop PORT RATE SECONDS CONNECTIONS REQUEST_FILE
 *
 * REQUEST_FILE is a whole HTTP/1.1 request. A latency counts from the moment the request was due, so that waiting for a
 * free connection is part of it (no coordinated omission). Each goes over a free connection chosen at random, as those of
 * many callers do, so that every worker of a server gets its share. The first tenth is warm-up. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 20)

struct connection {
    int fd;
    int64_t due;      /* of the request in flight; 0 when idle */
    size_t sent, received;
    long expected;    /* whole length of the answer, once the head is read */
    char *buffer;
};

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static char *request;
static size_t request_length;

static void push(struct connection *c) {
    while (c->sent < request_length) {
        ssize_t count = send(c->fd, request + c->sent, request_length - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count <= 0) return;
        c->sent += count;
    }
}

/* Whether the answer is complete. */
static int pull(struct connection *c, int *good) {
    for (;;) {
        ssize_t count = recv(c->fd, c->buffer + c->received, BUFFER - 1 - c->received, MSG_DONTWAIT);
        if (count == 0) { fprintf(stderr, "the server closed a connection\n"); exit(1); }
        if (count < 0) break;
        c->received += count;
    }
    c->buffer[c->received] = 0;
    if (c->expected < 0) {
        char *end = strstr(c->buffer, "\r\n\r\n");
        if (!end) return 0;
        char *length = strcasestr(c->buffer, "\r\ncontent-length:");
        c->expected = end + 4 - c->buffer + (length && length < end ? atol(length + 17) : 0);
        *good = !strncmp(c->buffer + 9, "200", 3);
    }
    return (long)c->received >= c->expected;
}

int main(int argc, char **argv) {
    if (argc != 6) { fprintf(stderr, "usage: openloop PORT RATE SECONDS CONNECTIONS REQUEST_FILE\n"); return 2; }
    double rate = atof(argv[2]), seconds = atof(argv[3]);
    int count = atoi(argv[4]);
    FILE *file = fopen(argv[5], "rb");
    if (!file) { perror(argv[5]); return 1; }
    fseek(file, 0, SEEK_END);
    request_length = ftell(file);
    rewind(file);
    request = malloc(request_length);
    if (fread(request, 1, request_length, file) != request_length) return 1;

    struct connection *connections = calloc(count, sizeof *connections);
    int *idle = malloc(count * sizeof *idle), idles = 0, set = epoll_create1(0), one = 1;
    for (int i = 0; i < count; i++) {
        struct connection *c = &connections[i];
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        c->buffer = malloc(BUFFER);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) { perror("connect"); return 1; }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &event);
        idle[idles++] = i;
    }

    size_t capacity = (size_t)(rate * seconds * 1.5) + 1000, measured = 0, bad = 0, asked = 0;
    double *latencies = malloc(capacity * sizeof *latencies);
    int64_t start = now(), end = start + (int64_t)(seconds * 1e9), warm = start + (int64_t)(seconds * 1e8), due = start;
    srand48(7);
    struct epoll_event events[256];
    for (;;) {
        int64_t t = now();
        if (t > end + 5000000000LL) break;
        while (idles && due <= t && due < end) {
            int chosen = (int)(drand48() * idles);
            struct connection *c = &connections[idle[chosen]];
            idle[chosen] = idle[--idles];
            c->due = due; c->sent = c->received = 0; c->expected = -1;
            asked++;
            push(c);
            due += (int64_t)(-log(1 - drand48()) / rate * 1e9);
        }
        if (due >= end && idles == count) break;
        int64_t wait = idles && due < end ? due - t : 1000000;
        struct timespec pause = {wait / 1000000000LL, wait > 0 ? wait % 1000000000LL : 0};
        int ready = wait > 0 ? epoll_pwait2(set, events, 256, &pause, NULL) : epoll_wait(set, events, 256, 0);
        for (int i = 0; i < ready; i++) {
            struct connection *c = &connections[events[i].data.u32];
            if (!c->due) continue;
            int good = 1;
            if (!pull(c, &good)) continue;
            if (!good) bad++;
            if (c->due >= warm && measured < capacity) latencies[measured++] = (now() - c->due) / 1e3;
            c->due = 0;
            idle[idles++] = c - connections;
        }
        for (int i = 0; i < count; i++)
            if (connections[i].due && connections[i].sent < request_length) push(&connections[i]);
    }
    qsort(latencies, measured, sizeof *latencies, by_value);
    if (!measured) { fprintf(stderr, "no answer\n"); return 1; }
    printf("{\"requests\": %zu, \"seconds\": %.3f, \"errors\": %zu, \"p50\": %.1f, \"p99\": %.1f}\n", asked, seconds, bad,
           latencies[measured / 2], latencies[(size_t)(measured * 0.99)]);
    return 0;
}
