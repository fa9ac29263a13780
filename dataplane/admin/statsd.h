/* statsd.h — pushes the totals over UDP, as the settings of the snapshot say: counters as what was added
 * since the last push, gauges as they are. Nothing is kept for a receiver that is away. Thread: main. */
#pragma once

#include <ev.h>

#include "common/address.h"
#include "common/str.h"
#include "dataplane/admin/totals.h"

struct resource_set;

enum { STATSD_PREFIX_MAX = 128, STATSD_DATAGRAM_MAX = 1432 };

struct statsd {
    struct ev_loop         *loop;
    const struct dataplane *dataplane;
    int                     fd;          /* -1: off */
    struct address          address;
    char                    prefix[STATSD_PREFIX_MAX + 1];
    double                  interval;    /* seconds */
    struct totals           last;        /* at the last push */
    ev_timer                timer;
};

void statsd_init(struct statsd *s, struct ev_loop *loop, const struct dataplane *dataplane);
void statsd_finish(struct statsd *s);
/* Takes over what the settings of `serving` say. */
void statsd_configure(struct statsd *s, const struct resource_set *serving);

/* The lines for a push, without sending: "prefix.requests_total:12|c\n" ... Counters that did not move are
 * left out. */
void statsd_render(const char *prefix, const struct totals *last, const struct totals *now,
                   struct strbuf *out);
