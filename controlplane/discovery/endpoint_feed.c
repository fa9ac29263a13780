#include "controlplane/discovery/endpoint_feed.h"

#include <stdio.h>

#include "common/alloc.h"

struct endpoint_feed_service {
    char                        *name;
    struct endpoint_feed_member *members;
};

struct endpoint_feed {
    struct map                  services;   /* by name, to struct endpoint_feed_service */
    struct endpoint_feed_server server;     /* want NULL: there is none */
    char                        name[256];
};

struct endpoint_feed *endpoint_feed_create(void) {
    return hg_calloc(1, sizeof(struct endpoint_feed));
}

void endpoint_feed_destroy(struct endpoint_feed *feed) {
    if (!feed)
        return;
    map_finish(&feed->services);
    hg_free(feed);
}

/* ---- the server ---- */

static int tell(const struct endpoint_feed *feed, const char *service, bool is_wanted) {
    return feed->server.want ? feed->server.want(feed->server.context, service, is_wanted) : 0;
}

void endpoint_feed_repeat(struct endpoint_feed *feed) {
    const struct map_entry *entry;
    size_t position = 0;
    while ((entry = map_next(&feed->services, &position)))
        tell(feed, entry->key.p, true);
}

void endpoint_feed_serve(struct endpoint_feed *feed, const struct endpoint_feed_server *server) {
    feed->server = server ? *server : (struct endpoint_feed_server){0};
    endpoint_feed_repeat(feed);
}

void endpoint_feed_set_name(struct endpoint_feed *feed, const char *name) {
    snprintf(feed->name, sizeof feed->name, "%s", name);
}

const char *endpoint_feed_name(const struct endpoint_feed *feed) {
    return feed->name;
}

static void tell_member(const struct endpoint_feed *feed, const struct endpoint_feed_member *m, uint64_t at) {
    Headgate__EndpointSet *set = endpoint_feed_known(feed, m->service->name, m->is_locality_weighted);
    if (set)
        m->found(m->owner, set, at);
    else
        m->failed(m->owner, "no memory for endpoints");
    if (set)
        headgate__endpoint_set__free_unpacked(set, NULL);
}

void endpoint_feed_changed(struct endpoint_feed *feed, const char *service, uint64_t at) {
    const struct endpoint_feed_service *s = map_get(&feed->services, str_of(service));
    for (const struct endpoint_feed_member *m = s ? s->members : NULL; m; m = m->next)
        tell_member(feed, m, at);
}

void endpoint_feed_failed(struct endpoint_feed *feed, const char *service, const char *reason) {
    const struct endpoint_feed_service *s = map_get(&feed->services, str_of(service));
    for (const struct endpoint_feed_member *m = s ? s->members : NULL; m; m = m->next)
        m->failed(m->owner, reason);
}

Headgate__EndpointSet *endpoint_feed_known(const struct endpoint_feed *feed, const char *service,
                                           bool is_locality_weighted) {
    return feed->server.known ? feed->server.known(feed->server.context, service, is_locality_weighted) : NULL;
}

/* ---- members ---- */

static void destroy_service(struct endpoint_feed_service *s) {
    if (s)
        hg_free(s->name);
    hg_free(s);
}

static struct endpoint_feed_service *add_service(struct endpoint_feed *feed, const char *name) {
    struct endpoint_feed_service *s = hg_calloc(1, sizeof *s);
    if (s)
        s->name = hg_strdup(name);
    if (!s || !s->name || map_set(&feed->services, str_of(s->name), s) < 0) {
        destroy_service(s);
        return NULL;
    }
    return s;
}

int endpoint_feed_join(struct endpoint_feed *feed, struct endpoint_feed_member *member, const char *service) {
    struct endpoint_feed_service *s = map_get(&feed->services, str_of(service));
    bool is_first = s == NULL;
    if (!s)
        s = add_service(feed, service);
    if (!s)
        return -1;
    member->service = s;
    member->previous = NULL;
    member->next = s->members;
    if (s->members)
        s->members->previous = member;
    s->members = member;
    if (is_first)
        tell(feed, s->name, true);
    return 0;
}

void endpoint_feed_leave(struct endpoint_feed *feed, struct endpoint_feed_member *member) {
    struct endpoint_feed_service *s = member->service;
    if (!s)
        return;
    *(member->previous ? &member->previous->next : &s->members) = member->next;
    if (member->next)
        member->next->previous = member->previous;
    member->service = NULL;
    if (s->members)
        return;
    map_remove(&feed->services, str_of(s->name));
    tell(feed, s->name, false);
    destroy_service(s);
}
