/* The fastest upstream that speaks enough HTTP/1.1: answers every POST with the same body, after a fixed delay.
 *
 *     cc -O2 -o upstream upstream.c && ./upstream PORT DELAY_MS ANSWER_FILE
 *
 * One thread, epoll, keep-alive. It reads the head for Content-Length, drops the body, and never copies the answer.
 * Since the delay is the same for all, the answers that wait stand in one queue in the order of their arrival.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 8192
#define HEAD 16384

struct connection {
    int length;          /* bytes of an unfinished head in `head` */
    long body_left;      /* bytes of the body still to come */
    uint32_t generation; /* tells a waiting answer that its connection is gone */
    char head[HEAD];
};

struct waiting {
    int fd;
    uint32_t generation;
    int64_t due;
};

static struct connection *connections[CONNECTIONS];
static struct waiting queue[CONNECTIONS];
static unsigned first, last;
static char *answer;
static size_t answer_length;
static int64_t delay;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    answer = malloc(size + 256);
    int head = sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %ld\r\n\r\n", size);
    answer_length = head + fread(answer + head, 1, size, file);
    fclose(file);
}

static void drop(int fd) {
    connections[fd]->generation++;
    connections[fd]->length = 0;
    connections[fd]->body_left = 0;
    close(fd);
}

static void reply(int fd) {
    size_t sent = 0;
    while (sent < answer_length) {
        ssize_t count = send(fd, answer + sent, answer_length - sent, MSG_NOSIGNAL);
        if (count > 0) sent += count;
        else if (count < 0 && errno == EAGAIN) continue;
        else return;
    }
}

static void complete(int fd) {
    if (!delay) { reply(fd); return; }
    struct waiting *slot = &queue[last++ % CONNECTIONS];
    slot->fd = fd;
    slot->generation = connections[fd]->generation;
    slot->due = now() + delay;
}

static int due_milliseconds(void) {
    while (first != last) {
        struct waiting *slot = &queue[first % CONNECTIONS];
        int64_t left = slot->due - now();
        if (left > 0) return (int)(left / 1000000) + 1;
        if (connections[slot->fd]->generation == slot->generation) reply(slot->fd);
        first++;
    }
    return -1;
}

/* Take as many complete requests as there are out of what has come; keep an unfinished head for the next call. */
static void consume(int fd, char *data, ssize_t count) {
    struct connection *c = connections[fd];
    while (count > 0) {
        if (c->body_left) {
            ssize_t taken = count < c->body_left ? count : c->body_left;
            data += taken; count -= taken; c->body_left -= taken;
            if (!c->body_left) complete(fd);
            continue;
        }
        ssize_t room = HEAD - 1 - c->length, taken = count < room ? count : room;
        if (!taken) { drop(fd); return; }
        memcpy(c->head + c->length, data, taken);
        int before = c->length;
        c->length += taken;
        c->head[c->length] = 0;
        char *end = memmem(c->head, c->length, "\r\n\r\n", 4);
        if (!end) { data += taken; count -= taken; continue; }
        ssize_t used = end + 4 - c->head - before;
        data += used; count -= used;
        end[2] = 0;
        char *length = strcasestr(c->head, "\r\ncontent-length:");
        c->body_left = length ? atol(length + 17) : 0;
        c->length = 0;
        if (!c->body_left) complete(fd);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: upstream PORT DELAY_MS ANSWER_FILE\n"); return 2; }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the benchmark */
    prctl(PR_SET_TIMERSLACK, 1000);
    delay = (int64_t)(atof(argv[2]) * 1e6);
    load(argv[3]);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) { perror("bind"); return 1; }
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    static char data[1 << 18];
    for (;;) {
        int ready = epoll_wait(poll, events, 256, due_milliseconds());
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (peer < 0) continue;
                if (peer >= CONNECTIONS) { close(peer); continue; }
                if (!connections[peer]) connections[peer] = calloc(1, sizeof(struct connection));
                setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event = (struct epoll_event){.events = EPOLLIN, .data.fd = peer};
                epoll_ctl(poll, EPOLL_CTL_ADD, peer, &event);
                continue;
            }
            ssize_t count = recv(fd, data, sizeof data, 0);
            if (count > 0) consume(fd, data, count);
            else if (count == 0 || errno != EAGAIN) drop(fd);
        }
    }
}
