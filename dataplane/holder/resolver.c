#include "dataplane/holder/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

enum { LOOK_UP_SECONDS = 10 };

/* ---- names ---- */

static bool is_host_name(struct str host) {
    if (host.n == 0 || host.n > RESOLVER_HOST_MAX || host.p[0] == '-' || host.p[0] == '.')
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-' && c != '.')
            return false;
    }
    return true;
}

int resolver_name_parse(struct str text, struct resolver_name *ret) {
    struct resolver_name name = {0};
    uint64_t port;
    if (address_parse(text, &name.address) == 0) {
        *ret = name;
        return 0;
    }
    struct str host = str_cut(&text, ':');
    bool is_all_digits = host.n && strspn(host.p, "0123456789.") >= host.n; /* a mistyped address */
    if (!is_host_name(host) || is_all_digits || !text.p || str_to_uint64(text, &port) < 0 || port < 1 ||
        port > 65535)
        return -1;
    memcpy(name.host, host.p, host.n);
    snprintf(name.port, sizeof name.port, "%u", (unsigned)port);
    *ret = name;
    return 0;
}

/* ---- the child ---- */

/* All in one write, which a pipe takes whole. */
static void tell_addresses(int out, const struct addrinfo *info) {
    struct address found[RESOLVER_ADDRESSES_MAX] = {0};
    size_t count = 0;
    for (; info && count < RESOLVER_ADDRESSES_MAX; info = info->ai_next) {
        if (info->ai_addrlen > sizeof found->u)
            continue;
        found[count].length = info->ai_addrlen;
        memcpy(&found[count++].u, info->ai_addr, info->ai_addrlen);
    }
    if (write(out, found, count * sizeof *found) < 0)
        _exit(1);
}

/* Sockets and channel are not for it, and would stay open as long as it lives. */
static int keep_only(int out) {
    return dup2(out, STDERR_FILENO + 1) < 0 || close_range(STDERR_FILENO + 2, ~0u, 0) < 0 ? -1
                                                                                          : STDERR_FILENO + 1;
}

static _Noreturn void look_up(const struct resolver *r, pid_t parent, int out) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    alarm(LOOK_UP_SECONDS);
    out = keep_only(out);
    if (out >= 0 && identity_drop_privileges(&r->identity, parent) == 0 &&
        getaddrinfo(r->name.host, r->name.port, &hints, &found) == 0)
        tell_addresses(out, found);
    _exit(0);
}

static void start(struct resolver *r) {
    int fds[2];
    pid_t parent = getpid();
    if (pipe2(fds, O_CLOEXEC) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        look_up(r, parent, fds[1]);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return;
    }
    r->child = pid;
    r->answers = fds[0];
    r->asked_us = clock_monotonic_us();
}

/* ---- the parent ---- */

int resolver_fd(const struct resolver *r) {
    return r->child && r->answers >= 0 ? r->answers : -1;
}

static bool is_address(const struct address *a) {
    sa_family_t family = a->u.any.sa_family;
    return (family == AF_INET && a->length == sizeof a->u.v4) ||
           (family == AF_INET6 && a->length == sizeof a->u.v6);
}

void resolver_collect(struct resolver *r) {
    struct address found[RESOLVER_ADDRESSES_MAX];
    ssize_t n = read(r->answers, found, sizeof found);
    unsigned count = n > 0 ? (unsigned)((size_t)n / sizeof *found) : 0, kept = 0;
    for (unsigned i = 0; i < count; i++)
        if (is_address(&found[i]))
            found[kept++] = found[i];
    if (kept) { /* what was known is better than nothing */
        memcpy(r->addresses, found, kept * sizeof *found);
        r->count = kept;
    }
    close(r->answers);
    r->answers = -1;
}

void resolver_reap(struct resolver *r) {
    int status;
    if (!r->child || waitpid(r->child, &status, WNOHANG) != r->child)
        return;
    if (r->answers >= 0)
        resolver_collect(r);
    r->child = 0;
}

int resolver_next(struct resolver *r, struct address *ret) {
    if (r->name.address.length) {
        *ret = r->name.address;
        return 0;
    }
    bool was_asked = r->asked_us != 0;
    bool is_stale = !was_asked || clock_monotonic_us() - r->asked_us > RESOLVER_FRESH_US;
    if (!r->child && (is_stale || r->count == 0))
        start(r);
    if (r->count == 0)
        return was_asked ? EHOSTUNREACH : EAGAIN;
    *ret = r->addresses[r->next++ % r->count];
    return 0;
}

void resolver_finish(struct resolver *r) {
    int status;
    if (!r->child)
        return;
    kill(r->child, SIGKILL);
    waitpid(r->child, &status, 0);
    if (r->answers >= 0)
        close(r->answers);
    r->child = 0;
}
