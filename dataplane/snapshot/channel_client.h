/* channel_client.h — keeps the channel to the control plane: a descriptor from the holder, HTTP/2 on it, the
 * protocol on that.
 *
 * When the control plane is away the data plane serves on; it is said once in the log, and tried again with
 * jittered backoff for ever. Thread: main. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/snapshot/adopt.h"
#include "dataplane/snapshot/channel.h"

struct channel_client;
struct holder_client;
struct channel_tls;

struct channel_client_config {
    struct ev_loop       *loop;
    struct holder_client *holder;
    struct adopter       *adopter;
    struct channel_tls   *tls;             /* NULL: plaintext (over a Unix-domain socket) */
    struct channel_self   self;
    /* Fills a report, which points into memory that is valid until the next call. */
    void                (*fill_report)(void *owner, Headgate__Report *report);
    /* Likewise; `asked` is filled in by the client. */
    void                (*fill_observation)(void *owner, Headgate__Observation *observation);
    void                 *owner;
};

struct channel_client_counts {
    uint64_t connects, disconnects, prepares, commits, nacks;
};

/* NULL: no memory. All that the configuration names outlives the client. */
struct channel_client *channel_client_create(const struct channel_client_config *config);
void channel_client_destroy(struct channel_client *c);    /* NULL is allowed */
/* Begins to connect. `serving` is what was booted from disk, NULL: nothing. */
void channel_client_start(struct channel_client *c, struct resource_set *serving);
/* Does not wait for the end of the backoff. */
void channel_client_retry_now(struct channel_client *c);
bool channel_client_is_connected(const struct channel_client *c);
/* Serves what it booted from disk, and the control plane has neither confirmed nor replaced it since. */
bool channel_client_is_unconfirmed(const struct channel_client *c);
const struct channel_client_counts *channel_client_counts(const struct channel_client *c);
