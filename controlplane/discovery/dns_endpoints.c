#include "controlplane/discovery/dns_endpoints.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/alloc.h"

enum { PRIORITY_LAST = 127 };

static struct dns_endpoint *append(struct dns_endpoints *list) {
    if (hg_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items) < 0)
        return NULL;
    struct dns_endpoint *e = &list->items[list->count++];
    *e = (struct dns_endpoint){.weight = 1};
    return e;
}

/* RFC 2782: 0 is the smallest weight, and endpoints count from 1. */
static void set_srv(struct dns_endpoint *e, const struct dns_record *srv) {
    e->priority = srv->priority;
    e->weight = srv->weight ? srv->weight : 1;
}

static void set_address(struct dns_endpoint *e, enum dns_type type, const struct dns_record *r, unsigned port) {
    char host[INET6_ADDRSTRLEN];
    inet_ntop(type == DNS_A ? AF_INET : AF_INET6, r->address, host, sizeof host);
    snprintf(e->address, sizeof e->address, type == DNS_A ? "%s:%u" : "[%s]:%u", host, port);
}

int dns_endpoints_add(struct dns_endpoints *list, const struct dns_answer *answer, enum dns_type type, unsigned port,
                      const char *hostname, const struct dns_record *srv) {
    const char *name = hostname ? arena_strdup(&list->arena, hostname) : NULL;
    if (hostname && !name)
        return -1;
    for (size_t i = 0; i < answer->count; i++) {
        struct dns_endpoint *e = append(list);
        if (!e)
            return -1;
        set_address(e, type, &answer->records[i], port);
        e->hostname = name;
        if (srv)
            set_srv(e, srv);
    }
    return 0;
}

static unsigned port_of(const struct dns_endpoint *e) {
    const char *colon = strrchr(e->address, ':');
    return colon ? (unsigned)atoi(colon + 1) : 0;
}

int dns_endpoints_take_over(struct dns_endpoints *list, const struct dns_endpoints *from, const struct dns_record *srv) {
    int taken = 0;
    for (size_t i = 0; i < from->count; i++) {
        const struct dns_endpoint *old = &from->items[i];
        if (!old->hostname || strcasecmp(old->hostname, srv->target) != 0 || port_of(old) != srv->port)
            continue;
        char *name = arena_strdup(&list->arena, old->hostname);
        struct dns_endpoint *e = name ? append(list) : NULL;
        if (!e)
            return -1;
        memcpy(e->address, old->address, sizeof e->address);
        e->hostname = name;
        set_srv(e, srv);
        taken++;
    }
    return taken;
}

/* ---- the set ---- */

static int by_address(const void *a, const void *b) {
    const struct dns_endpoint *x = a, *y = b;
    int order = strcmp(x->address, y->address);
    if (order == 0)
        order = (x->priority > y->priority) - (x->priority < y->priority);
    if (order == 0)
        order = (y->weight > x->weight) - (y->weight < x->weight);
    return order ? order : strcmp(x->hostname ? x->hostname : "", y->hostname ? y->hostname : "");
}

static void leave_each_once(struct dns_endpoints *list) {
    size_t kept = 0;
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, by_address);
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || strcmp(list->items[kept - 1].address, list->items[i].address) != 0)
            list->items[kept++] = list->items[i];
    list->count = kept;
}

static int by_number(const void *a, const void *b) {
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return (x > y) - (x < y);
}

/* The priorities that occur, sorted, each once. Returns their number, or -1 without memory. */
static ssize_t list_priorities(struct dns_endpoints *list, uint16_t **ret) {
    uint16_t *all = arena_alloc(&list->arena, (list->count + 1) * sizeof *all);
    size_t kept = 0;
    if (!all)
        return -1;
    for (size_t i = 0; i < list->count; i++)
        all[i] = list->items[i].priority;
    qsort(all, list->count, sizeof *all, by_number);
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || all[kept - 1] != all[i])
            all[kept++] = all[i];
    *ret = all;
    return (ssize_t)kept;
}

static uint32_t position(const uint16_t *priorities, size_t count, uint16_t priority) {
    const uint16_t *at = bsearch(&priority, priorities, count, sizeof *priorities, by_number);
    size_t n = at ? (size_t)(at - priorities) : 0;
    return n < PRIORITY_LAST ? (uint32_t)n : PRIORITY_LAST;
}

static void fill(Headgate__Endpoint *m, struct dns_endpoint *e, uint32_t priority) {
    headgate__endpoint__init(m);
    m->address = e->address;
    m->hostname = (char *)(uintptr_t)e->hostname;
    m->has_weight = e->weight != 1;
    m->weight = e->weight;
    m->has_priority = priority != 0;
    m->priority = priority;
}

int dns_endpoints_finish_set(struct dns_endpoints *list) {
    uint16_t *priorities = NULL;
    leave_each_once(list);
    ssize_t count = list_priorities(list, &priorities);
    Headgate__Endpoint *messages = arena_alloc(&list->arena, (list->count + 1) * sizeof *messages);
    headgate__endpoint_set__init(&list->set);
    list->set.endpoints = arena_alloc(&list->arena, (list->count + 1) * sizeof *list->set.endpoints);
    if (count < 0 || !messages || !list->set.endpoints)
        return -1;
    for (size_t i = 0; i < list->count; i++) {
        struct dns_endpoint *e = &list->items[i];
        fill(&messages[i], e, position(priorities, (size_t)count, e->priority));
        list->set.endpoints[i] = &messages[i];
    }
    list->set.n_endpoints = list->count;
    return 0;
}

void dns_endpoints_finish(struct dns_endpoints *list) {
    hg_free(list->items);
    arena_finish(&list->arena);
    *list = (struct dns_endpoints){0};
}
