/* changes.h — what rules change of the fields of requests and responses: compiled with the route table, its values
 * made for each exchange. Values may have commands of Envoy's:
 *
 *   %REQ(NAME?OTHER):N%   a field of the request, or :method, :authority, :scheme, :path; OTHER where it is not there; at
 *                         most N bytes of it. As it stands when the change is made
 *   %RESP(NAME?OTHER):N%  likewise of the response; only in changes of responses
 *   %RESPONSE_CODE%       likewise
 *   %PROTOCOL%            HTTP/1.0, HTTP/1.1 or HTTP/2
 *   %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%         the client, as a trusted proxy names it
 *   %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%  who the connection is from
 *   %ROUTE_NAME%, %UPSTREAM_CLUSTER%                 the rule; the cluster that was chosen
 *   %%                    a percent sign
 *
 * What is not known is empty. Thread: any. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"
#include "proto/resources.pb-c.h"

struct fields;

enum {
    HEADER_CHANGES_MAX = 256,        /* of one rule or cluster */
    HEADER_VALUE_MAX = 16384,        /* bytes of a text in the configuration */
};

/* What values are made of. Texts that are not known are empty. */
struct change_facts {
    struct str           client, peer, protocol, route, cluster;
    struct str           method, authority, scheme, target;   /* of the request */
    const struct fields *request, *response;                  /* NULL: there is none yet */
    unsigned             status;                              /* 0: none */
};

struct change_piece;

struct header_change {
    struct str                    name;      /* lower case */
    Headgate__HeaderChange__Action action;
    bool                          keep_empty;
    const struct change_piece    *pieces;
    uint32_t                      piece_count;
};

struct header_changes {
    const struct header_change *items;
    uint32_t                    count;
};

/* Compiles one change into the arena. NULL, or what is wrong with the value; then *ret is untouched. `text` outlives it. */
const char *header_change_build(struct arena *arena, const Headgate__HeaderChange *m, bool is_response,
                                struct header_change *ret);
/* The value, in the arena or static. 0, or -1 without memory. Not for REMOVE. */
int header_change_value(const struct header_change *c, const struct change_facts *facts, struct arena *arena,
                        struct str *ret);
