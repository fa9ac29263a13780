/* dns_answer.h — what a DNS server answered to one question (RFC 1035 section 4, RFC 2782). Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28, DNS_SRV = 33 };

enum { DNS_NAME_MAX = 256 };            /* with the NUL, as text */

struct dns_record {
    uint8_t     address[16];            /* A: the first four bytes */
    uint16_t    priority, weight, port; /* SRV */
    const char *target;                 /* SRV: without a dot at its end; "" is the root: the service is not there */
};

enum dns_outcome {
    DNS_FOUND,                          /* at least one record */
    DNS_NOTHING,                        /* the server says so: no such name, or no such records of it */
    DNS_FAILED,                         /* nothing was learnt */
};

struct dns_answer {
    enum dns_outcome   outcome;
    uint32_t           ttl;             /* seconds: the smallest of the records used, those of aliases included */
    struct dns_record *records;
    size_t             count;
    char               why[128];        /* unless DNS_FOUND: a clause */
    struct arena       arena;           /* of the records */
};

/* Reads a response without an error code. Aliases (CNAME) are followed within it, and only records of what they lead to
 * are used. `ret` is DNS_FOUND, DNS_NOTHING, or DNS_FAILED when the message is broken or there is no memory. */
void dns_answer_read(const uint8_t *bytes, size_t size, const char *name, enum dns_type type, struct dns_answer *ret);
/* DNS_NOTHING or DNS_FAILED with a reason. */
void dns_answer_none(struct dns_answer *ret, enum dns_outcome outcome, const char *why);
void dns_answer_finish(struct dns_answer *a); /* a zeroed struct is allowed */
