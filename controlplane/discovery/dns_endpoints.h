/* dns_endpoints.h — what is made of answers: endpoints, each address once. For source_dns.c alone. Thread: the loop's. */
#pragma once

#include "controlplane/discovery/dns_answer.h"
#include "proto/resources.pb-c.h"

struct dns_endpoint {
    char        address[64];
    const char *hostname;       /* of SRV, otherwise NULL */
    uint16_t    priority;       /* as the record has it */
    uint16_t    weight;
};

/* A zeroed struct is a valid empty list. */
struct dns_endpoints {
    struct dns_endpoint  *items;
    size_t                count, capacity;
    Headgate__EndpointSet set;      /* after dns_endpoints_finish_set */
    struct arena          arena;    /* of host names and the set */
};

/* Addresses of an answer to A or AAAA; `hostname` is copied and may be NULL. 0, or -1 without memory. */
int  dns_endpoints_add(struct dns_endpoints *list, const struct dns_answer *answer, enum dns_type type, unsigned port,
                       const char *hostname, const struct dns_record *srv);
/* Those of `from` with that host name and port, as `srv` has them now. Returns how many, or -1 without memory. */
int  dns_endpoints_take_over(struct dns_endpoints *list, const struct dns_endpoints *from, const struct dns_record *srv);
/* Sorts by address, leaves each once (that of the smallest priority), and makes `set`. Priorities are counted through from
 * 0. Returns 0, or -1 without memory. */
int  dns_endpoints_finish_set(struct dns_endpoints *list);
void dns_endpoints_finish(struct dns_endpoints *list);
