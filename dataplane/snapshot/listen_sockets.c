#include "dataplane/snapshot/listen_sockets.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ev.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/map.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/listener_transports.h"
#include "dataplane/snapshot/resource_set.h"

struct listen_address {
    struct listen_address *next;
    struct listen_sockets *owner;
    struct address         asked, bound;
    struct address         held;          /* as the holder knows it: of UDP beside TCP with the port that TCP was given */
    bool                   is_udp;
    unsigned               backlog;       /* TCP */
    struct holder_udp_wish udp;
    struct socket_use      use;           /* UDP */
    bool                   is_new;        /* added by the open preparation */
    bool                   is_asked;      /* the holder was; false: UDP that waits for the port of TCP */
    bool                   is_wanted;     /* by the snapshot that is being released to; only there */
    bool                   is_leaving;    /* by no snapshot: open as long as it is used */
    bool                   was_leaving;   /* before the open preparation */
    unsigned               count;         /* 0: not answered yet */
    int                   *fds;
    char                   listener[RESOURCE_NAME_MAX + 1];
    size_t                 index;         /* in Listener.addresses; for errors */
};

struct listen_sockets {
    struct holder_client  *holder;
    struct ev_loop        *loop;
    unsigned               workers;
    struct listen_address *first;
    struct map             by_address[2]; /* as asked; the second UDP's */
    bool                   has_forgotten_others;
    struct holder_udp      steering;      /* of the last answer; the same for all */
    bool                   has_steering;
    ev_async               released;      /* a worker uses a socket no longer */
    /* the open preparation */
    unsigned               waiting;       /* for so many answers */
    struct error_list     *errors;
    void                 (*done)(void *arg);
    void                  *arg;
};

/* What a snapshot wants of one address. */
struct wanted {
    const char            *listener;
    size_t                 index;
    bool                   is_udp;
    bool                   has_tcp;       /* UDP: TCP is wanted beside it, so they have one port */
    unsigned               backlog;
    struct holder_udp_wish udp;
    struct address         address;
};

/* ---- one address ---- */

static struct listen_address *find(const struct listen_sockets *s, const struct address *a, bool is_udp) {
    return map_get(&s->by_address[is_udp], address_key(a));
}

static void address_free(struct listen_address *a) {
    holder_cancel(a->owner->holder, a);
    for (unsigned i = 0; i < a->count; i++)
        close(a->fds[i]);
    hg_free(a->fds);
    hg_free(a);
}

/* Where it hangs; there and in the holder. */
static void drop(struct listen_sockets *s, struct listen_address **at) {
    struct listen_address *a = *at;
    *at = a->next;
    map_remove(&s->by_address[a->is_udp], address_key(&a->asked));
    /* Without memory it is dropped with the others when the next data plane begins. */
    if (a->is_asked)
        (a->is_udp ? holder_unlisten_udp : holder_unlisten)(s->holder, &a->held);
    address_free(a);
}

static void complain(struct listen_sockets *s, const struct wanted *w, const struct address *a, int error) {
    char text[ADDRESS_TEXT_MAX], resource[RESOURCE_NAME_MAX + 16], path[32];
    const char *of = w->is_udp ? " for UDP" : "";
    address_format(a, text);
    snprintf(resource, sizeof resource, "listener/%s", w->listener);
    snprintf(path, sizeof path, "addresses[%zu]", w->index);
    struct error *e = error == EADDRINUSE ? error_addf(s->errors, ERROR_ADDRESS_IN_USE, "%s is in use%s", text, of)
                                          : error_addf(s->errors, error == ENOMEM ? ERROR_MEMORY : ERROR_IO,
                                                       "cannot listen on %s%s: %s", text, of, strerror(error));
    error_set_resource(s->errors, e, resource, path);
}

/* ---- UDP ---- */

/* On a worker's thread. */
static void on_release(void *owner) {
    struct listen_sockets *s = owner;
    ev_async_send(s->loop, &s->released);
}

/* Those that no snapshot wants and nobody reads from. */
static void drop_unused(struct listen_sockets *s) {
    for (struct listen_address **at = &s->first; *at;)
        if ((*at)->is_leaving && atomic_load_explicit(&(*at)->use.users, memory_order_acquire) == 0)
            drop(s, at);
        else
            at = &(*at)->next;
}

static void on_released(struct ev_loop *loop, ev_async *watcher, int events) {
    (void)loop;
    (void)events;
    drop_unused(watcher->data);
}

static void warn_of_buffer(const struct listen_address *a, const char *what, const char *limit, uint32_t asked,
                           uint32_t got) {
    char text[ADDRESS_TEXT_MAX];
    if (got >= asked)
        return;
    address_format(&a->bound, text);
    log_warning(what, LOG_S("listener", a->listener), LOG_S("address", text), LOG_U("asked", asked), LOG_U("bytes", got),
                LOG_S("limit", limit));
}

static void take_steering(struct listen_address *a, const struct holder_udp *answer) {
    a->owner->steering = *answer;
    a->owner->has_steering = true;
    warn_of_buffer(a, "the system gives UDP sockets a smaller receive buffer", "net.core.rmem_max", a->udp.receive_buffer,
                   answer->receive_buffer);
    warn_of_buffer(a, "the system gives UDP sockets a smaller send buffer", "net.core.wmem_max", a->udp.send_buffer,
                   answer->send_buffer);
}

static void finish_waiting(struct listen_sockets *s) {
    void (*done)(void *) = s->done;
    s->done = NULL;
    s->errors = NULL;
    done(s->arg);
}

static int take_sockets(struct listen_address *a, struct holder_answer *answer) {
    a->fds = hg_memdup(answer->fds, answer->count * sizeof *a->fds);
    if (!a->fds)
        return ENOMEM;
    a->count = answer->count;
    a->bound = answer->address;
    answer->count = 0;
    return 0;
}

static void on_sockets(void *owner, struct holder_answer *answer);

static int ask_holder(struct listen_address *a) {
    struct listen_sockets *s = a->owner;
    a->is_asked = true;
    return a->is_udp ? holder_listen_udp(s->holder, &a->held, s->workers, &a->udp, on_sockets, a)
                     : holder_listen(s->holder, &a->held, s->workers, a->backlog, on_sockets, a);
}

/* One of those that are waited for has come, or never will. */
static void answered(struct listen_address *a, int error) {
    struct listen_sockets *s = a->owner;
    if (error)
        complain(s, &(struct wanted){.listener = a->listener, .index = a->index, .is_udp = a->is_udp}, &a->held, error);
    if (--s->waiting == 0 && s->done)
        finish_waiting(s);
}

/* UDP that waited for the port of TCP. Where TCP was refused that has been said. */
static void ask_beside(const struct listen_address *tcp, bool is_refused) {
    struct listen_address *udp = find(tcp->owner, &tcp->asked, true);
    if (!udp || udp->is_asked)
        return;
    udp->held = tcp->bound;
    if (is_refused)
        answered(udp, 0);
    else if (ask_holder(udp) < 0)
        answered(udp, ENOMEM);
}

static void on_sockets(void *owner, struct holder_answer *answer) {
    struct listen_address *a = owner;
    int error = answer->error ? answer->error : answer->count ? take_sockets(a, answer) : EIO;
    if (!a->is_udp)
        ask_beside(a, error != 0);
    else if (!error)
        take_steering(a, &answer->udp);
    answered(a, error);
}

/* Whether it is to be asked for only when TCP has a port. */
static bool waits_for_tcp(struct listen_address *a, bool has_tcp) {
    const struct listen_address *tcp = has_tcp ? find(a->owner, &a->asked, false) : NULL;
    if (!tcp || address_port(&a->asked))
        return false;
    a->held = tcp->bound;
    return tcp->count == 0;
}

static int ask_for(struct listen_sockets *s, const struct wanted *w) {
    struct listen_address *a = hg_calloc(1, sizeof *a);
    if (!a)
        return ENOMEM;
    *a = (struct listen_address){.next = s->first, .owner = s, .asked = w->address, .bound = w->address, .held = w->address,
                                 .is_udp = w->is_udp, .backlog = w->backlog, .udp = w->udp, .is_new = true,
                                 .use = {.on_release = on_release, .owner = s}, .index = w->index};
    snprintf(a->listener, sizeof a->listener, "%s", w->listener);
    int status = map_set(&s->by_address[a->is_udp], address_key(&a->asked), a);
    if (status == 0 && !waits_for_tcp(a, w->has_tcp) && ask_holder(a) < 0) {
        map_remove(&s->by_address[a->is_udp], address_key(&a->asked));
        status = -1;
    }
    if (status < 0) {
        hg_free(a);
        return ENOMEM;
    }
    s->first = a;
    s->waiting++;
    return 0;
}

/* ---- what a snapshot wants ---- */

typedef void for_wanted(struct listen_sockets *s, const struct wanted *w);

/* Addresses that cannot be parsed are the builder's to refuse. */
static void each_wanted(struct listen_sockets *s, const struct resource_set *resources, for_wanted *act) {
    struct resource_range range = resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_LISTENER);
    for (size_t i = 0; i < range.count; i++) {
        const Headgate__Listener *m = (const Headgate__Listener *)range.items[i]->message;
        unsigned transports = listener_transports(m);
        struct wanted tcp = {.listener = range.items[i]->name, .backlog = m->backlog};
        struct wanted udp = {.listener = tcp.listener, .is_udp = true, .has_tcp = transports & LISTENS_ON_TCP,
                             .udp = udp_wish(m)};
        for (size_t k = 0; k < m->n_addresses; k++) {
            udp.index = tcp.index = k;
            if (address_parse(str_of(m->addresses[k]), &tcp.address) < 0)
                continue;
            udp.address = tcp.address;
            if (transports & LISTENS_ON_TCP)
                act(s, &tcp);
            if (transports & LISTENS_ON_UDP)
                act(s, &udp);
        }
    }
}

static void want(struct listen_sockets *s, const struct wanted *w) {
    struct listen_address *a = find(s, &w->address, w->is_udp);
    int error = a ? 0 : ask_for(s, w);
    if (a) {
        a->was_leaving = a->is_leaving;
        a->is_leaving = false;
    }
    if (error)
        complain(s, w, &w->address, error);
}

void listen_sockets_prepare(struct listen_sockets *s, const struct resource_set *resources,
                            struct error_list *errors, void (*done)(void *arg), void *arg) {
    s->errors = errors;
    s->done = done;
    s->arg = arg;
    s->waiting++; /* ours: answers that come at once must not end it half-way */
    each_wanted(s, resources, want);
    if (--s->waiting == 0)
        finish_waiting(s);
}

void listen_sockets_abort(struct listen_sockets *s) {
    s->done = NULL;
    s->errors = NULL;
    s->waiting = 0;
    for (struct listen_address **at = &s->first; *at;) {
        struct listen_address *a = *at;
        a->is_leaving |= a->was_leaving;
        a->was_leaving = false;
        if (a->is_new)
            drop(s, at);
        else
            at = &a->next;
    }
    drop_unused(s);
}

/* ---- what is not wanted any more ---- */

/* Connection IDs that are out keep their length: where that changes, they go by the hash, and are sent on. */
static void renew_udp(struct listen_address *a, const struct holder_udp_wish *wish) {
    if (a->udp.receive_buffer == wish->receive_buffer && a->udp.send_buffer == wish->send_buffer &&
        a->udp.id_length == wish->id_length)
        return;
    a->udp = *wish;
    holder_listen_udp(a->owner->holder, &a->held, a->count, &a->udp, NULL, NULL);
}

static void keep(struct listen_sockets *s, const struct wanted *w) {
    struct listen_address *a = find(s, &w->address, w->is_udp);
    if (!a)
        return;
    if (!w->is_udp && a->backlog != w->backlog)
        holder_listen(s->holder, &a->held, a->count, w->backlog, NULL, NULL);
    if (w->is_udp)
        renew_udp(a, &w->udp);
    a->backlog = w->backlog;
    a->is_wanted = true;
}

void listen_sockets_release(struct listen_sockets *s, const struct resource_set *resources) {
    for (struct listen_address *a = s->first; a; a = a->next)
        a->is_new = a->was_leaving = a->is_wanted = false;
    each_wanted(s, resources, keep);
    for (struct listen_address *a = s->first; a; a = a->next)
        a->is_leaving = !a->is_wanted;
    drop_unused(s);
    if (!s->has_forgotten_others)
        s->has_forgotten_others = holder_unlisten_others(s->holder) == 0;
}

/* ---- life ---- */

struct listen_sockets *listen_sockets_create(struct holder_client *holder, struct ev_loop *loop, unsigned workers) {
    struct listen_sockets *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->holder = holder;
    s->loop = loop;
    s->workers = workers;
    ev_async_init(&s->released, on_released);
    s->released.data = s;
    ev_async_start(loop, &s->released);
    return s;
}

void listen_sockets_destroy(struct listen_sockets *s) {
    if (!s)
        return;
    while (s->first) {
        struct listen_address *a = s->first;
        s->first = a->next;
        address_free(a);
    }
    ev_async_stop(s->loop, &s->released);
    map_finish(&s->by_address[0]);
    map_finish(&s->by_address[1]);
    hg_free(s);
}

/* ---- what there is ---- */

unsigned listen_socket_count(const struct listen_sockets *s, const struct address *address) {
    const struct listen_address *a = find(s, address, false);
    return a ? a->count : 0;
}

int listen_socket_fd(const struct listen_sockets *s, const struct address *address, unsigned index) {
    const struct listen_address *a = find(s, address, false);
    return a && index < a->count ? a->fds[index] : -1;
}

unsigned listen_udp_count(const struct listen_sockets *s, const struct address *address) {
    const struct listen_address *a = find(s, address, true);
    return a ? a->count : 0;
}

struct held_socket listen_udp_socket(struct listen_sockets *s, const struct address *address, unsigned index) {
    struct listen_address *a = find(s, address, true);
    return a && index < a->count ? (struct held_socket){a->fds[index], &a->use} : (struct held_socket){-1, NULL};
}

const struct holder_udp *listen_sockets_steering(const struct listen_sockets *s) {
    return s->has_steering ? &s->steering : NULL;
}

const struct address *listen_socket_bound(const struct listen_sockets *s, const struct address *address) {
    const struct listen_address *tcp = find(s, address, false), *udp = find(s, address, true);
    const struct listen_address *a = tcp && tcp->count ? tcp : udp;
    return a && a->count ? &a->bound : NULL;
}
