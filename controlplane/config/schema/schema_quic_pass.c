#include "controlplane/config/schema/schema_quic_pass.h"

#define SECOND ((uint64_t)1000000)

static const struct schema_key route_keys[] = {
    {.key = "server-names", .type = SCHEMA_TEXT, .form = &text_server_name, .min = 1, .max = 1000,
     .flags = SCHEMA_REQUIRED | SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_UNIQUE,
     .description = "Names that clients ask for (SNI); `*.example.com` is every name with one label more."},
    {.key = "cluster", .type = SCHEMA_TEXT, .form = &text_name, .kind = HEADGATE__KIND__KIND_CLUSTER,
     .flags = SCHEMA_REQUIRED, .description = "Where their connections go."},
    {0},
};

static const struct schema_object route = {
    .title = "quic-pass-route",
    .description = "The cluster of some server names.",
    .message = &headgate__quic_pass_route__descriptor,
    .keys = route_keys,
};

static const struct schema_key server_ids_keys[] = {
    {.key = "rotation", .type = SCHEMA_INTEGER, .min = 0, .max = 6,
     .description = "The number of this configuration, which is in the first three bits of the IDs. Each number stands "
                    "once."},
    {.key = "length", .type = SCHEMA_INTEGER, .min = 1, .max = 15, .flags = SCHEMA_REQUIRED,
     .description = "Octets of a server's ID."},
    {.key = "nonce-length", .type = SCHEMA_INTEGER, .min = 4, .max = 18,
     .description = "Octets that tell the connections of a server apart. With `length` 19 octets at most."},
    {.key = "key", .type = SCHEMA_TEXT, .form = &text_hex, .min = 32, .max = 32, .absent = "the IDs are in plain",
     .description = "The key of AES-128 by which they are encrypted, 16 octets in hexadecimal."},
    {0},
};

static const struct schema_object server_ids = {
    .title = "quic-server-ids",
    .description = "How the connection IDs of the endpoints name them (draft-ietf-quic-load-balancers): all endpoints were "
                   "told the same. The ID of each is its metadata `quic-server-id`, in hexadecimal, or `quic-server-id-3` "
                   "for the configuration with rotation 3 alone; one without it, or with another length, is not found by "
                   "IDs.",
    .message = &headgate__quic_server_ids__descriptor,
    .keys = server_ids_keys,
    .check = check_quic_server_ids,
};

static const struct schema_key keys[] = {
    {.key = "routes", .type = SCHEMA_OBJECT, .object = &route, .flags = SCHEMA_LIST, .max = 255,
     .description = "Which server name leads where."},
    {.key = "cluster", .type = SCHEMA_TEXT, .form = &text_name, .kind = HEADGATE__KIND__KIND_CLUSTER,
     .absent = "they are dropped",
     .description = "Where connections with other names go, those without a name, and those of versions of QUIC that cannot "
                    "be read."},
    {.key = "idle-timeout", .type = SCHEMA_DURATION, .min = SECOND, .max = 86400 * SECOND,
     .description = "How long a flow is kept without a datagram either way. It should be longer than that of the endpoints: "
                    "what closes a connection cannot be read."},
    {.key = "handshake-timeout", .type = SCHEMA_DURATION, .min = SECOND / 10, .max = 60 * SECOND,
     .description = "How long a flow is kept whose endpoint has not answered, or whose server name has not come whole."},
    {.key = "drain-timeout", .type = SCHEMA_DURATION, .min = SECOND, .max = 86400 * SECOND,
     .description = "How long flows may go on once their endpoint drains, or is out of its cluster. New ones go elsewhere "
                    "at once."},
    {.key = "max-flows", .type = SCHEMA_INTEGER, .min = 16, .max = 1000000,
     .description = "Flows of each worker, each with a socket towards its endpoint. When there are so many, a new one takes "
                    "the place of the oldest whose client has not shown that it receives answers; if there is none, it is "
                    "dropped."},
    {.key = "max-hellos", .type = SCHEMA_INTEGER, .min = 1, .max = 100000,
     .description = "Of those, flows whose server name has not come whole; at most 44 KiB are held for each. Beyond it the "
                    "oldest is dropped."},
    {.key = "new-flows-per-second", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "Flows that may begin on each worker, on average; those of a tenth of a second may come at once. To "
                    "begin one costs far more than a datagram of one that is there, so this bounds what a flood of first "
                    "packets takes from others. Beyond it first packets are dropped; connections that are known and come "
                    "from another address have as much again."},
    {.key = "server-ids", .type = SCHEMA_OBJECT, .object = &server_ids, .flags = SCHEMA_LIST | SCHEMA_ONE_OK, .max = 7,
     .absent = "connection IDs name no endpoints",
     .description = "Endpoints that are named by connection IDs. With several configurations the IDs of connections that "
                    "are open are still known while endpoints begin to issue others."},
    {0},
};

const struct schema_object schema_quic_pass = {
    .title = "quic-pass",
    .description = "QUIC connections go to endpoints as they are: TLS stays between client and endpoint. One of routes and "
                   "cluster is needed.",
    .message = &headgate__quic_pass__descriptor,
    .keys = keys,
    .check = check_quic_pass,
};
