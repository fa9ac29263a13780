/* one_client.h — what tests share that have one client of HTTP/2 at a time, on top of peer.h. */
#pragma once

#include "tests/unit/dataplane/codec/h2/peer.h"

static struct client client;

/* Each of its streams has this window to begin with. */
static inline void open_client(uint32_t window) {
    client_init(&client, connect_gateway(), window);
    settle(&client);
}

static inline void close_client(void) {
    if (client.session)
        client_finish(&client);
    client.session = NULL;
}

static inline int client_tear_down(void **state) {
    close_client();
    return gateway_tear_down(state);
}
