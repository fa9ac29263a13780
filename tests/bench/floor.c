/* The floor under every proxy in user space: pairs each client with a connection to the origin and forwards
 * bytes both ways. It parses nothing, pools nothing, limits nothing; what it costs is what the kernel and
 * epoll cost.
 *
 *     floor ORIGIN_PORT
 *
 * Readers never wait: sockets are read when there is something. Writers may block, which is correct only
 * because both peers of the benchmark always read. One thread. */
#include <errno.h>
#include <stdbool.h>
#include <sys/ioctl.h>

#include "tests/bench/tcp.h"

/* One hot buffer for all connections. A 64 KiB response with its head fits, so that one read takes it. */
static char buffer[128 * 1024];
static uint16_t origin_port;

struct side {
    int fd; /* -1: closed, waiting for the end of this loop turn's events */
    struct side *peer;
};

static bool send_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

/* The pair's memory stays: an event of the same loop turn may still name the other side. */
static void close_pair(struct side *s) {
    close(s->fd);
    close(s->peer->fd);
    s->fd = s->peer->fd = -1;
}

static void side_ready(void *owner) {
    struct side *s = owner;
    if (s->fd < 0)
        return;
    ssize_t n = recv(s->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !send_all(s->peer->fd, buffer, (size_t)n))
        close_pair(s);
}

static int connect_to_origin(void) {
    struct sockaddr_in address = tcp_loopback(origin_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void set_blocking(int fd) {
    ioctl(fd, FIONBIO, &(int){0});
}

static void client_accepted(int epoll, int fd) {
    int origin = connect_to_origin();
    struct side *pair = calloc(2, sizeof *pair);
    if (origin < 0 || !pair)
        err(EXIT_FAILURE, "a connection to the origin");
    pair[0] = (struct side){fd, &pair[1]};
    pair[1] = (struct side){origin, &pair[0]};
    set_blocking(fd);
    for (int i = 0; i < 2; i++) {
        tcp_no_delay(pair[i].fd);
        tcp_watch(epoll, pair[i].fd, EPOLLIN, &pair[i]);
    }
}

int main(int argc, char **argv) {
    unsigned long port = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (port == 0 || port > UINT16_MAX)
        errx(2, "usage: floor ORIGIN_PORT");
    origin_port = (uint16_t)port;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    tcp_serve(epoll, tcp_listen_and_print_port(), client_accepted, side_ready);
}
