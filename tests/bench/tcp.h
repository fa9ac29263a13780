/* tcp.h — what the benchmark's two programs share: a listening socket on a port that the system picked, and a
 * loop of epoll events. Both programs print their port and serve until they are killed. Thread: one. */
#pragma once

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TCP_BACKLOG = 4096, TCP_EVENTS_MAX = 512 };

static inline struct sockaddr_in tcp_loopback(uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Small messages leave at once. */
static inline void tcp_no_delay(int fd) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

/* A non-blocking listening socket on 127.0.0.1, its port printed as one line. Failing ends the program. */
static inline int tcp_listen_and_print_port(void) {
    struct sockaddr_in address = tcp_loopback(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, TCP_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        err(EXIT_FAILURE, "listening on 127.0.0.1");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* `owner` comes back with the events of `fd`. */
static inline void tcp_watch(int epoll, int fd, uint32_t events, void *owner) {
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        err(EXIT_FAILURE, "epoll_ctl");
}

/* Serves for ever: `accepted` for each new connection of `listener`, `ready` for each event of an owner. */
static inline void tcp_serve(int epoll, int listener, void (*accepted)(int epoll, int fd),
                             void (*ready)(void *owner)) {
    struct epoll_event events[TCP_EVENTS_MAX];
    tcp_watch(epoll, listener, EPOLLIN, NULL);
    for (;;) {
        int count = epoll_wait(epoll, events, TCP_EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                ready(events[i].data.ptr);
            else
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
                    accepted(epoll, fd);
        }
    }
}
