#include "dataplane/process/reports.h"

#include "common/address.h"
#include "common/clock.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "dataplane/snapshot/listener_transports.h"

/* As bound; what is not held, or is not an address, as it was written. */
static char *bound_text(struct reports *r, const char *asked) {
    struct address a;
    char text[ADDRESS_TEXT_MAX];
    const struct address *bound = address_parse(str_of(asked), &a) == 0 ? listen_socket_bound(r->sockets, &a)
                                                                        : NULL;
    if (!bound)
        return arena_strdup(&r->arena, asked);
    address_format(bound, text);
    return arena_strdup(&r->arena, text);
}

static Headgate__ListenerReport *report_listener(struct reports *r, const struct resource *resource) {
    const Headgate__Listener *listener = (const Headgate__Listener *)resource->message;
    Headgate__ListenerReport *m = arena_alloc(&r->arena, sizeof *m);
    if (!m)
        return NULL;
    *m = (Headgate__ListenerReport)HEADGATE__LISTENER_REPORT__INIT;
    m->name = (char *)resource->name;
    m->has_tcp = m->has_udp = true;
    m->tcp = listener_transports(listener) & LISTENS_ON_TCP;
    m->udp = listener_transports(listener) & LISTENS_ON_UDP;
    m->addresses = arena_calloc(&r->arena, listener->n_addresses, sizeof *m->addresses);
    for (size_t i = 0; m->addresses && i < listener->n_addresses; i++)
        if ((m->addresses[m->n_addresses] = bound_text(r, listener->addresses[i])))
            m->n_addresses++;
    return m;
}

static void report_listeners(struct reports *r, const struct resource_set *serving,
                             Headgate__Report *report) {
    struct resource_range range = resource_part_of_kind(&serving->intent, HEADGATE__KIND__KIND_LISTENER);
    report->listeners = arena_calloc(&r->arena, range.count, sizeof *report->listeners);
    for (size_t i = 0; report->listeners && i < range.count; i++)
        if ((report->listeners[report->n_listeners] = report_listener(r, range.items[i])))
            report->n_listeners++;
}

void reports_fill(struct reports *r, const struct resource_set *serving, Headgate__Report *report) {
    struct totals t;
    totals_read(r->dataplane, &t);
    arena_finish(&r->arena);
    arena_init(&r->arena, NULL, 0, 0);
    report->has_uptime_us = report->has_connections = report->has_requests = report->has_exchanges = true;
    report->uptime_us = clock_monotonic_us() - r->started_us;
    report->connections = t.connections;
    report->requests = t.requests_total;
    report->exchanges = t.exchanges;
    report->resident_bytes = process_resident_bytes(r->usage);
    report->has_resident_bytes = report->resident_bytes > 0;
    if (serving)
        report_listeners(r, serving, report);
}

void reports_finish(struct reports *r) {
    arena_finish(&r->arena);
}
