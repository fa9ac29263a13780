/* source.h — one source of the endpoints of one cluster: a file, a name in DNS, a server that is watched.
 *
 * A source finds endpoints by itself for as long as it exists, and says what it found. What it said last counts until it
 * says something else: a source that fails says so and keeps quiet, so nobody loses endpoints to an outage. It never says
 * less than it knows: a partial answer is kept back until it is whole. Thread: the loop's, every call. */
#pragma once

#include <ev.h>

#include "common/error.h"
#include "controlplane/discovery/endpoint_feed.h"
#include "controlplane/discovery/resolver.h"
#include "controlplane/etcd/registry.h"
#include "controlplane/kubernetes/kubernetes.h"
#include "controlplane/secrets/files.h"
#include "proto/resources.pb-c.h"

struct source;

/* What a source says, and to whom. */
struct source_sink {
    void *context;
    /* These are all endpoints now; perhaps none. `set` is the source's and valid during the call. Each address once, in an
     * order that follows from the answer alone (a file's own order, otherwise by address), so that equal answers are equal
     * bytes. Never called from within `create`. */
    void (*found)(void *context, const Headgate__EndpointSet *set);
    /* It could not be asked, or answered nonsense; or, right behind `found`, some of it is missing. One line, for people. */
    void (*failed)(void *context, const char *reason);
    /* There is no memory for what it found: it is asked again (refresh), a while later. Not called by sources that ask again
     * by themselves. */
    void (*no_memory)(void *context);
};

/* What every source has beside what it finds. */
struct source_config {
    struct ev_loop    *loop;
    const struct secret_root *root;     /* below which files are read; outlives the source */
    struct resolver   *resolver;        /* shared by all sources; outlives the source */
    struct endpoint_feed *feed;         /* likewise; NULL: no management server is known */
    struct kubernetes *kubernetes;      /* likewise; NULL: no API server is known */
    struct etcd_registry *registry;     /* likewise; NULL: no etcd is known */
    struct source_sink sink;
};

/* For status: when it was asked, what it said. Times are microseconds since 1970, 0: never. */
struct source_state {
    const char *kind;                   /* the name of its kind */
    char        target[256];            /* path or name */
    uint64_t    asked_at, found_at, failed_at, next_at;
    uint64_t    received_at;            /* what it found last, on the monotonic clock; 0: just before it said so */
    uint64_t    asked, failures;        /* counts */
    uint32_t    endpoints;              /* that it found last */
    uint32_t    left_out;               /* servers that it found last and has no room for */
    char        failure[512];           /* empty: the last one went well */
};

/* A kind of source: `create` is given a message that the schema has accepted, and copies what it needs of it. NULL with
 * reasons in `errors` (no memory, for instance; that the file is missing is no error but `failed`). */
struct source_kind {
    const char *name;
    struct source *(*create)(const struct source_config *config, const Headgate__Discovery *m, struct error_list *errors);
    void (*refresh)(struct source *s);                                   /* ask now */
    void (*state)(const struct source *s, struct source_state *ret);
    /* What is known already, without asking; the caller's to free. NULL: nothing. A cluster begins with that in the very
     * version that brings it. The member may be NULL, too: such a source knows nothing before it has asked. */
    Headgate__EndpointSet *(*known)(const struct source_config *config, const Headgate__Discovery *m);
    void (*destroy)(struct source *s);                                   /* nothing is said any more */
};

/* A source begins with this. */
struct source {
    const struct source_kind *kind;
};

extern const struct source_kind source_file, source_dns, source_xds, source_kubernetes, source_etcd;

/* All kinds, each once. */
enum { SOURCE_KINDS = 5 };
extern const struct source_kind *const source_kinds[SOURCE_KINDS];
size_t source_kind_index(const struct source_kind *kind);

/* The kind that a message asks for. NULL: none. */
const struct source_kind *source_kind_of(const Headgate__Discovery *m);
