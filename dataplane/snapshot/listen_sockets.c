#include "dataplane/snapshot/listen_sockets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/map.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/resource_set.h"

struct listen_address {
    struct listen_address *next;
    struct listen_sockets *owner;
    struct address         asked, bound;
    unsigned               backlog;
    bool                   is_new;        /* added by the open preparation */
    bool                   is_wanted;     /* by the snapshot that is being released to; only there */
    unsigned               count;         /* 0: not answered yet */
    int                   *fds;
    char                   listener[RESOURCE_NAME_MAX + 1];
    size_t                 index;         /* in Listener.addresses; for errors */
};

struct listen_sockets {
    struct holder_client  *holder;
    unsigned               workers;
    struct listen_address *first;
    struct map             by_address;    /* as asked */
    bool                   has_forgotten_others;
    /* the open preparation */
    unsigned               waiting;       /* for so many answers */
    struct error_list     *errors;
    void                 (*done)(void *arg);
    void                  *arg;
};

struct listen_sockets *listen_sockets_create(struct holder_client *holder, unsigned workers) {
    struct listen_sockets *s = hg_calloc(1, sizeof *s);
    if (s) {
        s->holder = holder;
        s->workers = workers;
    }
    return s;
}

/* ---- one address ---- */

static struct listen_address *find(const struct listen_sockets *s, const struct address *a) {
    return map_get(&s->by_address, address_key(a));
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
    map_remove(&s->by_address, address_key(&a->asked));
    /* Without memory it is dropped with the others when the next data plane begins. */
    holder_unlisten(s->holder, &a->asked);
    address_free(a);
}

static void complain(struct listen_sockets *s, const char *listener, size_t index, const struct address *a,
                     int error) {
    char text[ADDRESS_TEXT_MAX], resource[RESOURCE_NAME_MAX + 16], path[32];
    address_format(a, text);
    snprintf(resource, sizeof resource, "listener/%s", listener);
    snprintf(path, sizeof path, "addresses[%zu]", index);
    struct error *e = error == EADDRINUSE ? error_addf(s->errors, ERROR_ADDRESS_IN_USE, "%s is in use", text)
                                          : error_addf(s->errors, error == ENOMEM ? ERROR_MEMORY : ERROR_IO,
                                                       "cannot listen on %s: %s", text, strerror(error));
    error_set_resource(s->errors, e, resource, path);
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

static void on_sockets(void *owner, struct holder_answer *answer) {
    struct listen_address *a = owner;
    struct listen_sockets *s = a->owner;
    int error = answer->error ? answer->error : answer->count ? take_sockets(a, answer) : EIO;
    if (error)
        complain(s, a->listener, a->index, &a->asked, error);
    if (--s->waiting == 0 && s->done)
        finish_waiting(s);
}

static int ask_for(struct listen_sockets *s, const struct address *address, unsigned backlog,
                   const char *listener, size_t index) {
    struct listen_address *a = hg_calloc(1, sizeof *a);
    if (!a)
        return ENOMEM;
    *a = (struct listen_address){.next = s->first, .owner = s, .asked = *address, .bound = *address,
                                 .backlog = backlog, .is_new = true, .index = index};
    snprintf(a->listener, sizeof a->listener, "%s", listener);
    int status = map_set(&s->by_address, address_key(&a->asked), a);
    if (status == 0 && holder_listen(s->holder, address, s->workers, backlog, on_sockets, a) < 0) {
        map_remove(&s->by_address, address_key(&a->asked));
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

struct wanted {
    const char    *listener;
    size_t         index;
    unsigned       backlog;
    struct address address;
};

typedef void for_wanted(struct listen_sockets *s, const struct wanted *w);

/* Addresses that cannot be parsed are the builder's to refuse. */
static void each_wanted(struct listen_sockets *s, const struct resource_set *resources, for_wanted *act) {
    struct resource_range range = resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_LISTENER);
    for (size_t i = 0; i < range.count; i++) {
        const Headgate__Listener *listener = (const Headgate__Listener *)range.items[i]->message;
        struct wanted w = {.listener = range.items[i]->name, .backlog = listener->backlog};
        for (w.index = 0; w.index < listener->n_addresses; w.index++)
            if (address_parse(str_of(listener->addresses[w.index]), &w.address) == 0)
                act(s, &w);
    }
}

static void want(struct listen_sockets *s, const struct wanted *w) {
    int error = 0;
    if (!find(s, &w->address))
        error = ask_for(s, &w->address, w->backlog, w->listener, w->index);
    if (error)
        complain(s, w->listener, w->index, &w->address, error);
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
    for (struct listen_address **at = &s->first; *at;)
        if ((*at)->is_new)
            drop(s, at);
        else
            at = &(*at)->next;
}

/* ---- what is not wanted any more ---- */

static void keep(struct listen_sockets *s, const struct wanted *w) {
    struct listen_address *a = find(s, &w->address);
    if (!a)
        return;
    if (a->backlog != w->backlog)
        holder_listen(s->holder, &a->asked, a->count, w->backlog, NULL, NULL);
    a->backlog = w->backlog;
    a->is_wanted = true;
}

void listen_sockets_release(struct listen_sockets *s, const struct resource_set *resources) {
    for (struct listen_address *a = s->first; a; a = a->next)
        a->is_new = a->is_wanted = false;
    each_wanted(s, resources, keep);
    for (struct listen_address **at = &s->first; *at;)
        if ((*at)->is_wanted)
            at = &(*at)->next;
        else
            drop(s, at);
    if (!s->has_forgotten_others)
        s->has_forgotten_others = holder_unlisten_others(s->holder) == 0;
}

void listen_sockets_destroy(struct listen_sockets *s) {
    if (!s)
        return;
    while (s->first) {
        struct listen_address *a = s->first;
        s->first = a->next;
        address_free(a);
    }
    map_finish(&s->by_address);
    hg_free(s);
}

/* ---- what there is ---- */

unsigned listen_socket_count(const struct listen_sockets *s, const struct address *address) {
    const struct listen_address *a = find(s, address);
    return a ? a->count : 0;
}

int listen_socket_fd(const struct listen_sockets *s, const struct address *address, unsigned index) {
    const struct listen_address *a = find(s, address);
    return a && index < a->count ? a->fds[index] : -1;
}

const struct address *listen_socket_bound(const struct listen_sockets *s, const struct address *address) {
    const struct listen_address *a = find(s, address);
    return a && a->count ? &a->bound : NULL;
}
