/* endpoint_feed.h — endpoints that a server sends unasked, between who receives them and the sources that want them.
 *
 * A source joins with the name of a service; the server is told which services are wanted, and says what it finds. Nothing
 * is kept here but who wants what. Thread: the loop's. */
#pragma once

#include <stdbool.h>

#include "common/map.h"
#include "proto/resources.pb-c.h"

struct endpoint_feed;

/* One source of one service; the source's memory. */
struct endpoint_feed_member {
    void *owner;
    bool  is_locality_weighted;     /* how the set is to be made: localities have a say in its weights */
    /* The set is valid during the call; `at` as in endpoint_feed_changed. */
    void (*found)(void *owner, const Headgate__EndpointSet *set, uint64_t at);
    void (*failed)(void *owner, const char *reason);
    /* The feed's. */
    struct endpoint_feed_service *service;
    struct endpoint_feed_member  *next, *previous;
};

/* Who receives endpoints. Its functions must not call the feed, nor do members join and leave while they are told. */
struct endpoint_feed_server {
    void *context;
    /* Told once for the first member of a service, and when the last one has left. 0, or -1 without memory: the server asks
     * for endpoint_feed_repeat later. */
    int (*want)(void *context, const char *service, bool is_wanted);
    /* What was found last, the caller's to free; NULL: nothing is known (or no memory). */
    Headgate__EndpointSet *(*known)(void *context, const char *service, bool is_locality_weighted);
};

struct endpoint_feed *endpoint_feed_create(void);           /* NULL without memory */
void                  endpoint_feed_destroy(struct endpoint_feed *feed); /* all have left; NULL is allowed */

/* `server` is copied; NULL: there is none any more. What is wanted is said at once. */
void endpoint_feed_serve(struct endpoint_feed *feed, const struct endpoint_feed_server *server);
/* Says again of every service that it is wanted. */
void endpoint_feed_repeat(struct endpoint_feed *feed);
/* Where the endpoints come from at present, for people: "xds.example:18000". Cut where it is very long. */
void        endpoint_feed_set_name(struct endpoint_feed *feed, const char *name);
const char *endpoint_feed_name(const struct endpoint_feed *feed);

/* From the server, to all members of the service: what is known of it is something else, received `at` (microseconds of the
 * monotonic clock). */
void endpoint_feed_changed(struct endpoint_feed *feed, const char *service, uint64_t at);
void endpoint_feed_failed(struct endpoint_feed *feed, const char *service, const char *reason);

/* Calls nothing of the member. 0, or -1 without memory. */
int  endpoint_feed_join(struct endpoint_feed *feed, struct endpoint_feed_member *member, const char *service);
void endpoint_feed_leave(struct endpoint_feed *feed, struct endpoint_feed_member *member);
/* What is known of the service, the caller's to free; NULL: nothing. */
Headgate__EndpointSet *endpoint_feed_known(const struct endpoint_feed *feed, const char *service, bool is_locality_weighted);
