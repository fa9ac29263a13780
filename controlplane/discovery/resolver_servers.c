#include "controlplane/discovery/resolver_servers.h"

#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"

/* What c-ares has open, one for each server and protocol. */
struct resolver_socket {
    struct resolver_socket  *next;
    struct resolver_servers *servers;
    ev_io                    io;
};

enum { TRIES = 2, DATAGRAM_MAX = 1232 }; /* of each server; RFC 9715 */
enum { IDLE_US = 600000000 };

static const char resolv_conf[] = "/etc/resolv.conf";

/* ---- turning ---- */

void resolver_servers_wait(struct resolver_servers *s) {
    struct timeval tv;
    ev_timer_stop(s->loop, &s->timer);
    if (!ares_timeout(s->channel, NULL, &tv))
        return;
    ev_timer_set(&s->timer, (double)tv.tv_sec + (double)tv.tv_usec / 1e6, 0.);
    ev_timer_start(s->loop, &s->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events) {
    struct resolver_servers *s = timer->data;
    (void)loop;
    (void)events;
    ares_process_fd(s->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_servers_wait(s);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events) {
    struct resolver_servers *s = ((struct resolver_socket *)io->data)->servers;
    ares_socket_t fd = io->fd; /* the socket may be gone after this */
    (void)loop;
    ares_process_fd(s->channel, events & EV_READ ? fd : ARES_SOCKET_BAD, events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    resolver_servers_wait(s);
}

static struct resolver_socket **find_socket(struct resolver_servers *s, int fd) {
    struct resolver_socket **at = &s->sockets;
    while (*at && (*at)->io.fd != fd)
        at = &(*at)->next;
    return at;
}

static void drop_socket(struct resolver_socket **at) {
    struct resolver_socket *gone = *at;
    *at = gone->next;
    ev_io_stop(gone->servers->loop, &gone->io);
    hg_free(gone);
}

static struct resolver_socket *add_socket(struct resolver_servers *s) {
    struct resolver_socket *socket = hg_calloc(1, sizeof *socket);
    if (!socket)
        return NULL; /* what comes there is not seen: the query times out */
    socket->servers = s;
    socket->next = s->sockets;
    s->sockets = socket;
    ev_init(&socket->io, on_io);
    socket->io.data = socket;
    return socket;
}

/* c-ares says what it wants to know of a socket; nothing at all: it is about to close it. */
static void on_socket(void *context, ares_socket_t fd, int wants_read, int wants_write) {
    struct resolver_servers *s = context;
    struct resolver_socket **at = find_socket(s, fd), *socket = *at;
    if (!wants_read && !wants_write) {
        if (socket)
            drop_socket(at);
        return;
    }
    if (!socket && !(socket = add_socket(s)))
        return;
    ev_io_stop(s->loop, &socket->io);
    ev_io_set(&socket->io, fd, (wants_read ? EV_READ : 0) | (wants_write ? EV_WRITE : 0));
    ev_io_start(s->loop, &socket->io);
}

/* ---- life ---- */

static size_t count_servers(const struct resolver_servers *s) {
    struct ares_addr_port_node *list = NULL;
    size_t count = 0;
    if (ares_get_servers_ports(s->channel, &list) == ARES_SUCCESS)
        for (const struct ares_addr_port_node *n = list; n; n = n->next)
            count++;
    ares_free_data(list);
    return count ? count : 1;
}

/* The second try waits twice as long as the first, and all servers get both. Where there are several, the next is asked when
 * one answers SERVFAIL or REFUSED, and c-ares does not say so; where there is one, that answer is wanted. */
static int open_channel(struct resolver_servers *s, size_t servers) {
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
                                   .timeout = (int)(s->timeout / 1000 / (3 * servers)),
                                   .tries = TRIES,
                                   .ednspsz = DATAGRAM_MAX,
                                   .sock_state_cb = on_socket,
                                   .sock_state_cb_data = s};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB;
    options.timeout = options.timeout > 1 ? options.timeout : 1;
    if (servers == 1)
        options.flags |= ARES_FLAG_NOCHECKRESP;
    s->count = servers;
    if (ares_init_options(&s->channel, &options, mask) != ARES_SUCCESS) {
        s->channel = NULL;
        return -1;
    }
    return s->text[0] && ares_set_servers_ports_csv(s->channel, s->text) != ARES_SUCCESS ? -1 : 0;
}

static void destroy(struct resolver_servers *s) {
    if (s->channel)
        ares_destroy(s->channel);
    while (s->sockets)
        drop_socket(&s->sockets);
    ev_timer_stop(s->loop, &s->timer);
    hg_free(s->text);
    hg_free(s);
}

/* How many servers there are is known when they are read, and says how long to wait for each. */
static int open_servers(struct resolver_servers *s) {
    if (!s->text || open_channel(s, 1) < 0)
        return -1;
    size_t count = count_servers(s);
    ares_destroy(s->channel);
    return open_channel(s, count);
}

static struct resolver_servers *create(struct ev_loop *loop, const char *text, uint64_t timeout) {
    struct resolver_servers *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->loop = loop;
    s->text = hg_strdup(text);
    s->timeout = timeout;
    ev_init(&s->timer, on_timer);
    s->timer.data = s;
    s->stamp = file_stamp_of(resolv_conf);
    if (open_servers(s) == 0)
        return s;
    destroy(s);
    return NULL;
}

/* ---- the list ---- */

static bool is_stale(const struct resolver_servers *s, const struct file_stamp *now) {
    return !s->text[0] && !file_stamp_equal(&s->stamp, now);
}

static bool is_idle(const struct resolver_servers *s) {
    return clock_monotonic_us() - s->found_at > IDLE_US;
}

static void drop_old(struct resolver_servers **list, const struct file_stamp *now) {
    for (struct resolver_servers **at = list; *at;) {
        struct resolver_servers *s = *at;
        if (s->under_way || (!is_stale(s, now) && !is_idle(s))) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        destroy(s);
    }
}

struct resolver_servers *resolver_servers_find(struct resolver_servers **list, struct ev_loop *loop, const char *text,
                                               uint64_t timeout) {
    const struct file_stamp now = file_stamp_of(resolv_conf);
    drop_old(list, &now);
    struct resolver_servers *s = *list;
    while (s && (strcmp(s->text, text) != 0 || s->timeout != timeout || is_stale(s, &now)))
        s = s->next;
    if (!s) {
        s = create(loop, text, timeout);
        if (!s)
            return NULL;
        s->next = *list;
        *list = s;
    }
    s->found_at = clock_monotonic_us();
    return s;
}

void resolver_servers_destroy_all(struct resolver_servers **list) {
    while (*list) {
        struct resolver_servers *s = *list;
        *list = s->next;
        destroy(s);
    }
}
