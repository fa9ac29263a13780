/* client.h — HTTP requests to servers whose API the control plane uses: Kubernetes, a management server's REST interface.
 *
 * Made of libcurl on the daemon's event loop. Connections are kept and shared by the calls of one client. An answer is
 * handed over as it comes and held nowhere, so it may go on for hours (a watch). Thread: the loop's. */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

struct http_client;
struct http_call;

struct http_client *http_client_create(struct ev_loop *loop); /* NULL without memory */
/* Every call has ended or been cancelled. Not from within their functions; NULL is allowed. */
void http_client_destroy(struct http_client *c);

/* How the server proves who it is, and we do. Each is a PEM file or the text of one; NULL: none, and for authorities those
 * of the system. Texts are copied by http_call_start. */
struct http_trust {
    const char *ca_file, *ca_text;
    const char *certificate, *key;      /* files */
    const char *certificate_text, *key_text;
};

struct http_request {
    const char              *method;    /* "GET" */
    const char              *url;       /* http or https */
    const char *const       *fields;    /* "Name: value", NULL at the end; NULL: none */
    struct str               body;      /* p == NULL: none */
    const struct http_trust *trust;     /* NULL: the system's authorities */
    const char              *reach;     /* "host:port" that is connected to instead of the URL's; NULL: the URL's */
    const char              *socket;    /* path of a local socket that is connected to instead; NULL: none */
    bool                     is_http2;  /* HTTP/2 is spoken without asking; otherwise TLS may agree to it */
    uint64_t connect_timeout;           /* microseconds, handshake included; 0: 10 s */
    uint64_t timeout;                   /* of the whole call; 0: none */
    uint64_t silence;                   /* without a byte for so long it has failed, in seconds' steps; 0: none */
};

/* What becomes of a call. Neither is called from within http_call_start or http_call_cancel. */
struct http_call_ops {
    /* The answer has begun. NULL: not wanted. As with `data`, only its own call may be cancelled in it. */
    void (*head)(void *context, unsigned status);
    /* Some of the body of the answer, whose status is known: a redirect is not followed. False ends the call: `done` comes
     * with the reason "refused by its reader". */
    bool (*data)(void *context, unsigned status, struct str piece);
    /* The last that is heard; other calls may be begun and cancelled in it. `reason` is NULL when the answer came whole;
     * otherwise one line for people, and `status` is that of the answer when it had begun, or 0. */
    void (*done)(void *context, unsigned status, const char *reason);
};

/* NULL without memory. The call is gone when `done` returns. `ops` must outlive it. */
struct http_call *http_call_start(struct http_client *c, const struct http_request *request,
                                  const struct http_call_ops *ops, void *context);
/* Nothing is heard any more. Allowed in its own `head` and `data`, not in those of another call, nor in `done`. NULL is
 * allowed. */
void http_call_cancel(struct http_call *call);

/* For a part of a URL: percent-encoded but for the unreserved characters of RFC 3986 section 2.3. */
void http_escape(struct str text, struct strbuf *out);
