/* address.h — where an etcd is and what of it is ours: etcd://host:port[,host:port]/prefix.
 *
 * Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"

enum { ETCD_MEMBERS_MAX = 16, ETCD_PREFIX_MAX = 256 };

#define ETCD_PREFIX "/headgate"         /* when the address names none */

struct etcd_address {
    bool         is_tls;                /* etcds:// */
    const char  *members[ETCD_MEMBERS_MAX]; /* "host:port", "[::1]:port" */
    size_t       member_count;          /* 1 at least */
    const char  *prefix;                /* "/headgate": without a slash at its end */
    struct arena arena;
};

/* Whether the text is meant as one: begins with etcd:// or etcds://. */
bool etcd_address_is_one(const char *text);
/* 0, or -1 with an error. Finish it in both cases. */
int  etcd_address_parse(const char *text, struct etcd_address *ret, struct error_list *errors);
void etcd_address_finish(struct etcd_address *a);
