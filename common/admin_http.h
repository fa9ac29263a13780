/* admin_http.h — the small HTTP listener of a daemon: /metrics, /livez, /readyz, /startupz.
 *
 * GET and HEAD over HTTP/1.0 and 1.1 (RFC 9112), one request per connection, answers made in memory. It is for probes and
 * for scrapers, so everything is bounded: connections (the oldest gives way to a new one), bytes of a request head, and the
 * time from accept to close. Request bodies are not read. Thread: the loop's. */
#pragma once

#include "common/address.h"
#include "common/error.h"
#include "common/str.h"
#include "common/token_file.h"

struct ev_loop;
struct admin_http;

enum {
    ADMIN_HTTP_CONNECTIONS_MAX = 64,
    ADMIN_HTTP_HEAD_MAX = 4096,     /* bytes of a request head; beyond: 431 */
    ADMIN_HTTP_TARGET_MAX = 1024,   /* bytes of a request target; beyond: 414 */
    ADMIN_HTTP_TIMEOUT = 10,        /* seconds that a connection may last */
};

/* What the owner answers. Comes as 404, "text/plain; charset=utf-8", empty. */
struct admin_http_answer {
    unsigned      status;           /* 200 to 599 */
    const char   *content_type;     /* static or as long-lived as the listener */
    struct strbuf body;             /* freed by the listener */
};

struct admin_http_config {
    struct address address;         /* TCP or Unix-domain; port 0: the system picks */
    int            listen_fd;       /* a listening socket to take over instead of binding `address`; -1: none */
    struct token_file *metrics_token; /* what a peer off loopback shows for /metrics ("Authorization: Bearer ...");
                                         NULL: such peers get no metrics. The owner's. Probes never want a token. */
    /* Called for every request that is well-formed and allowed; `path` has no query. Must not destroy the listener. */
    void (*answer)(void *context, struct str path, struct admin_http_answer *answer);
    void *context;
};

/* Binds and starts. Returns NULL with a reason in `errors`; the address in use is ERROR_ADDRESS_IN_USE. A listen_fd is
 * owned from then on in either case. */
struct admin_http *admin_http_create(struct ev_loop *loop, const struct admin_http_config *config,
                                     struct error_list *errors);
/* Closes the listener and every connection; NULL is allowed. */
void admin_http_destroy(struct admin_http *h);
/* As bound, with the port that the system picked; valid as long as the listener. */
const struct address *admin_http_address(const struct admin_http *h);

/* ---- the parser, separate so that tests and fuzzers reach it without a socket ---- */

struct admin_http_request {
    struct str path;                /* of the target, without the query; points into the head */
    struct str authorization;       /* value of the field, trimmed; empty when absent */
    bool       is_head;
};

/* Parses a request head that ends in an empty line. Returns 0, or the status to refuse it with: 400, 405, 414, 505. */
unsigned admin_http_parse(struct str head, struct admin_http_request *ret);
