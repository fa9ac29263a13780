#include "dataplane/net/udp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/udp_options.h"

/* ---- control data ---- */

static bool is_mapped(const struct address *a) {
    return a->u.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->u.v6.sin6_addr);
}

static bool is_wildcard(const struct address *a) {
    return a->u.any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->u.v6.sin6_addr)
                                          : a->u.v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

static void read_destination4(const void *bytes, struct address *local) {
    struct in_pktinfo info;
    memcpy(&info, bytes, sizeof info);
    if (local->u.any.sa_family == AF_INET)
        local->u.v4.sin_addr = info.ipi_spec_dst;
}

static void read_destination6(const void *bytes, struct address *local) {
    struct in6_pktinfo info;
    memcpy(&info, bytes, sizeof info);
    if (local->u.any.sa_family != AF_INET6)
        return;
    local->u.v6.sin6_addr = info.ipi6_addr;
    local->u.v6.sin6_scope_id = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
}

static void count_overflows(struct udp_socket *s, const void *bytes) {
    uint32_t now;
    memcpy(&now, bytes, sizeof now);
    stats_add(&s->worker->stats->udp_overflows_total, now - s->overflows);
    s->overflows = now;
}

static int read_int(const void *bytes) {
    int value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

struct described {
    struct address *local;
    uint8_t         ecn;
    size_t          segment;     /* 0: one datagram */
};

static void read_control(struct udp_socket *s, const struct cmsghdr *c, struct described *d) {
    const unsigned char *bytes = CMSG_DATA(c);
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
        read_destination4(bytes, d->local);
    else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
        read_destination6(bytes, d->local);
    else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
        d->ecn = bytes[0] & ECN_MASK;
    else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
        d->ecn = (uint8_t)read_int(bytes) & ECN_MASK;
    else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
        d->segment = (size_t)read_int(bytes);
    else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
        count_overflows(s, bytes);
}

/* ---- receiving ---- */

static int receive(struct udp_socket *s) {
    struct udp_worker *u = s->worker->udp;
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        u->pieces[i] = (struct iovec){u->bytes[i], sizeof u->bytes[i]};
        u->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &u->remotes[i].u, .msg_namelen = sizeof u->remotes[i].u, .msg_iov = &u->pieces[i], .msg_iovlen = 1,
            .msg_control = u->control[i], .msg_controllen = sizeof u->control[i]};
    }
    return recvmmsg(s->fd, u->messages, UDP_BATCH, MSG_DONTWAIT, NULL);
}

/* Returns the number of datagrams. */
static unsigned deliver(struct udp_socket *s, unsigned index) {
    struct udp_worker *u = s->worker->udp;
    struct msghdr *m = &u->messages[index].msg_hdr;
    struct described about = {.local = &u->locals[index]};
    size_t n = u->messages[index].msg_len;
    unsigned count = 0;
    u->remotes[index].length = m->msg_namelen;
    u->locals[index] = s->local;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        read_control(s, c, &about);
    struct udp_datagram d = {
        .bytes = u->bytes[index], .remote = &u->remotes[index], .local = about.local, .ecn = about.ecn};
    do {
        d.n = about.segment && about.segment < n ? about.segment : n;
        s->ops->on_datagram(s, &d);
        d.bytes += d.n;
        n -= d.n;
        count++;
    } while (n && s->is_open);
    return count;
}

static unsigned deliver_all(struct udp_socket *s, unsigned messages) {
    struct stats *stats = s->worker->stats;
    unsigned count = 0;
    for (unsigned i = 0; i < messages && s->is_open; i++) {
        stats_add(&stats->udp_received_bytes_total, s->worker->udp->messages[i].msg_len);
        count += deliver(s, i);
    }
    stats_add(&stats->udp_received_total, count);
    if (s->is_open && s->ops->on_batch_end)
        s->ops->on_batch_end(s);
    return count;
}

static void report_error(struct udp_socket *s, int error) {
    if (error != EAGAIN && error != EINTR && s->ops->on_error)
        s->ops->on_error(s, error);
}

/* The readiness is told again in the next turn when something is left. */
static void read_turn(struct udp_socket *s) {
    unsigned delivered = 0;
    int messages;
    do {
        messages = receive(s);
        if (messages < 0) {
            report_error(s, errno);
            return;
        }
        delivered += deliver_all(s, (unsigned)messages);
    } while (s->is_open && messages == UDP_BATCH && delivered < UDP_TURN_DATAGRAMS);
}

/* ---- waiting ---- */

/* A held socket is watched through a set of its own: libev leaves a descriptor in its set when the watcher stops, and its
 * owner may close it on another thread. */
static void watch_writable(struct udp_socket *s, bool wanted) {
    s->is_blocked = wanted;
    if (s->is_held) {
        struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0)};
        epoll_ctl(s->ready.fd, EPOLL_CTL_MOD, s->fd, &event);
        return;
    }
    ev_io_stop(s->worker->loop, &s->ready);
    ev_io_set(&s->ready, s->fd, EV_READ | (wanted ? EV_WRITE : 0));
    ev_io_start(s->worker->loop, &s->ready);
}

static void resume_sending(struct udp_socket *s) {
    struct pollfd state = {.fd = s->fd, .events = POLLOUT};
    if (poll(&state, 1, 0) <= 0 || !(state.revents & (POLLOUT | POLLERR)))
        return;
    watch_writable(s, false);
    if (s->ops->on_writable)
        s->ops->on_writable(s);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int events) {
    (void)loop;
    (void)events;
    struct udp_socket *s = io->data;
    if (s->is_blocked)
        resume_sending(s);
    if (s->is_open)
        read_turn(s);
}

/* ---- opening and closing ---- */

static bool make_shared(struct worker *w) {
    if (!w->udp && (w->udp = hg_malloc(sizeof *w->udp))) /* not cleared: a page is used when something comes */
        w->udp->first_held = NULL;
    return w->udp != NULL;
}

struct memory {
    uint32_t figures[SK_MEMINFO_VARS];
};

static struct memory memory_of(int fd) {
    struct memory m = {0};
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, m.figures, &(socklen_t){sizeof m.figures});
    return m;
}

bool udp_is_half_full(const struct udp_socket *s) {
    struct memory m = memory_of(s->fd);
    return m.figures[SK_MEMINFO_RMEM_ALLOC] > m.figures[SK_MEMINFO_RCVBUF] / 2;
}

/* 0, or -1 with errno. */
static int set_up(struct udp_socket *s, struct worker *w, int fd, const struct udp_ops *ops) {
    *s = (struct udp_socket){.worker = w, .ops = ops, .fd = fd, .local.length = sizeof s->local.u};
    if (getsockname(fd, &s->local.u.any, &s->local.length) < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &(int){1}, sizeof(int));
    s->overflows = memory_of(fd).figures[SK_MEMINFO_DROPS]; /* what was lost before is not ours to count */
    s->has_segmentation = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &(int){0}, &(socklen_t){sizeof(int)}) == 0;
    return 0;
}

static void begin(struct udp_socket *s, int watched) {
    s->is_open = true;
    ev_io_init(&s->ready, on_ready, watched, EV_READ);
    s->ready.data = s;
    ev_io_start(s->worker->loop, &s->ready);
}

static int set_with(int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) {
        int error = errno;
        close(set);
        errno = error;
        return -1;
    }
    return set;
}

int udp_open(struct udp_socket *s, struct worker *w, int fd, const struct udp_ops *ops) {
    if (!make_shared(w))
        return ENOMEM;
    int set = set_up(s, w, fd, ops) < 0 ? -1 : set_with(fd);
    if (set < 0)
        return errno;
    s->is_held = true;
    s->next_held = w->udp->first_held;
    s->link = &w->udp->first_held;
    if (s->next_held)
        s->next_held->link = &s->next_held;
    *s->link = s;
    begin(s, set);
    return 0;
}

/* 0, or -1 with errno. */
static int prepare_connected(int fd, const struct address *remote, size_t receive_buffer, size_t send_buffer) {
    if (udp_set_options(fd, remote->u.any.sa_family, false) < 0)
        return -1;
    udp_set_buffer(fd, SO_RCVBUF, receive_buffer);
    udp_set_buffer(fd, SO_SNDBUF, send_buffer);
    return connect(fd, &remote->u.any, remote->length);
}

int udp_connect(struct udp_socket *s, struct worker *w, const struct address *remote, size_t receive_buffer,
                size_t send_buffer, const struct udp_ops *ops) {
    if (!make_shared(w))
        return ENOMEM;
    int fd = socket(remote->u.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (prepare_connected(fd, remote, receive_buffer, send_buffer) < 0 || set_up(s, w, fd, ops) < 0) {
        int error = errno;
        close(fd);
        return error;
    }
    begin(s, fd);
    return 0;
}

void udp_close(struct udp_socket *s) {
    if (!s->is_open)
        return;
    s->is_open = false;
    ev_io_stop(s->worker->loop, &s->ready);
    close(s->ready.fd); /* the set of a held one: the kernel forgets the socket with it */
    if (!s->is_held)
        return;
    *s->link = s->next_held;
    if (s->next_held)
        s->next_held->link = s->link;
}

struct udp_socket *udp_find_held(const struct worker *w, const struct address *bound) {
    struct udp_socket *s = w->udp ? w->udp->first_held : NULL;
    while (s && !address_equal(&s->local, bound))
        s = s->next_held;
    return s;
}

/* ---- sending ---- */

struct burst {
    const struct address *remote, *local;
    uint8_t               ecn;
    bool                  is_ipv4;
};

union control {
    struct cmsghdr header;
    char           bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))];
};

static void add_control(struct msghdr *m, union control *control, int level, int type, const void *value, size_t n) {
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control->bytes + m->msg_controllen);
    *c = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(n)};
    memcpy(CMSG_DATA(c), value, n);
    m->msg_control = control;
    m->msg_controllen += CMSG_SPACE(n);
}

static void add_source(struct msghdr *m, union control *control, const struct address *local) {
    if (local->u.any.sa_family == AF_INET6) {
        struct in6_pktinfo info = {.ipi6_addr = local->u.v6.sin6_addr, .ipi6_ifindex = local->u.v6.sin6_scope_id};
        add_control(m, control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    } else {
        struct in_pktinfo info = {.ipi_spec_dst = local->u.v4.sin_addr};
        add_control(m, control, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    }
}

/* One system call. `segment` 0: one datagram. 0 or an errno. */
static int send_once(struct udp_socket *s, const struct burst *b, const uint8_t *bytes, size_t n, uint16_t segment) {
    union control control = {0};
    struct iovec piece = {(void *)bytes, n};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};
    int traffic_class = b->ecn;
    if (b->remote) {
        m.msg_name = (void *)&b->remote->u;
        m.msg_namelen = b->remote->length;
    }
    if (b->local)
        add_source(&m, &control, b->local);
    if (traffic_class)
        add_control(&m, &control, b->is_ipv4 ? IPPROTO_IP : IPPROTO_IPV6, b->is_ipv4 ? IP_TOS : IPV6_TCLASS, &traffic_class,
                    sizeof traffic_class);
    if (segment)
        add_control(&m, &control, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    ssize_t sent;
    do
        sent = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

/* Whole segments. */
static size_t burst_size(const struct udp_socket *s, size_t segment) {
    size_t count = s->has_segmentation ? UDP_BURST_MAX / segment : 1;
    return segment * (count < 1 ? 1 : count < UDP_BURST_SEGMENTS ? count : UDP_BURST_SEGMENTS);
}

/* EIO: the device of this path has no checksums to offload. EINVAL: too large for its MTU, which a single one will say. */
static bool is_for_singles(int error) {
    return error == EIO || error == EINVAL || error == EOPNOTSUPP || error == ENOPROTOOPT;
}

static int send_all(struct udp_socket *s, const struct burst *b, const uint8_t *bytes, size_t n, size_t segment) {
    size_t most = burst_size(s, segment);
    while (s->sent < n) {
        size_t left = n - s->sent, size = left < most ? left : most;
        int error = send_once(s, b, bytes + s->sent, size, size > segment ? (uint16_t)segment : 0);
        if (error && size > segment && is_for_singles(error)) {
            if (error != EINVAL)
                s->has_segmentation = false;
            most = segment;
            continue;
        }
        if (error)
            return error;
        stats_add(&s->worker->stats->udp_sent_total, (size + segment - 1) / segment);
        stats_add(&s->worker->stats->udp_sent_bytes_total, size);
        s->sent += size;
    }
    return 0;
}

int udp_send(struct udp_socket *s, const struct address *remote, const struct address *local, const uint8_t *bytes, size_t n,
             size_t segment, uint8_t ecn) {
    struct burst b = {.ecn = ecn & ECN_MASK};
    if (s->is_held) {
        b.remote = remote;
        b.local = local && !is_wildcard(local) ? local : NULL;
    }
    const struct address *peer = b.remote ? b.remote : &s->local;
    b.is_ipv4 = peer->u.any.sa_family == AF_INET || is_mapped(peer);
    s->sent = 0;
    int error = send_all(s, &b, bytes, n, segment < UINT16_MAX ? segment : UINT16_MAX);
    if (error == EAGAIN) {
        stats_add(&s->worker->stats->udp_send_blocked_total, 1);
        if (!s->is_blocked)
            watch_writable(s, true);
    } else if (error) {
        stats_add(&s->worker->stats->udp_send_errors_total, 1);
    }
    return error;
}
