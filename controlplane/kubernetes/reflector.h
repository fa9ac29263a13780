/* reflector.h — one collection of a Kubernetes API server, listed and then watched.
 *
 * The list comes in pages. What changes after it comes as events of a watch, which goes on where the last one ended:
 * bookmarks move that place while nothing changes. A server that no longer has it (410 Gone) is listed again, and what the
 * new list does not have is gone then, not before: until a list is whole, what was known counts. After a failure it is
 * tried again, with growing and random waits: by a list where the server refused or what it said cannot be read (also since
 * it is too long), as client-go does, otherwise (no answer, cut, 429) where it was.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/
 * Thread: the loop's. */
#pragma once

#include <cjson/cJSON.h>
#include <ev.h>

#include "common/token_file.h"
#include "controlplane/http/client.h"

enum {
    REFLECTOR_PAGE = 500,               /* objects */
    REFLECTOR_PAGES_MAX = 4096,         /* of one list; one that never ends is no list */
    REFLECTOR_PAGE_BYTES_MAX = 64 << 20,
    REFLECTOR_EVENT_BYTES_MAX = 4 << 20, /* an object of etcd has at most 1.5 MiB */
};

/* Where the API server is. Everything outlives the reflectors. */
struct kubernetes_server {
    struct ev_loop     *loop;
    struct http_client *http;
    const char         *url;            /* "https://10.96.0.1:443" */
    struct token_file  *token;          /* NULL: none */
    struct http_trust   trust;
};

struct reflector_ops {
    /* Objects until `listed` are all that there are; they may be there already. */
    void (*list)(void *context);
    /* It is there now, or has changed. Valid during the call. False: no memory, or no room; it is listed again. */
    bool (*set)(void *context, const cJSON *object);
    void (*removed)(void *context, const cJSON *object);
    void (*listed)(void *context);
    /* All is well, after `listed` and again after a failure: what changes from now on is told. */
    void (*watching)(void *context);
    /* One line for people, with each failure. What was known stays. */
    void (*failed)(void *context, const char *reason);
};

struct reflector_counters {
    uint64_t lists, watches, events, bookmarks, gone, failures; /* so far */
};

struct reflector;

/* `path` of the collection: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"; behind a "?" it may have what
 * selects of it. Begins when the loop turns.
 * `server` and `ops` outlive it. NULL without memory. */
struct reflector *reflector_create(const struct kubernetes_server *server, const char *path,
                                   const struct reflector_ops *ops, void *context);
void reflector_destroy(struct reflector *r); /* not from within its functions; NULL is allowed */
void reflector_count(const struct reflector *r, struct reflector_counters *sum); /* adds to it; NULL has nothing */
void reflector_counters_add(struct reflector_counters *sum, const struct reflector_counters *c);
