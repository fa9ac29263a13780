/* record.h — a bounded text under construction, for log records: what does not fit is cut. Thread: one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

struct record {
    char  *at, *end;
};

static inline void record_add(struct record *r, struct str s) {
    size_t room = (size_t)(r->end - r->at), n = s.n < room ? s.n : room;
    if (n)
        memcpy(r->at, s.p, n);
    r->at += n;
}

void record_add_uint(struct record *r, uint64_t value);
/* Seconds with three decimals, from microseconds. */
void record_add_seconds(struct record *r, uint64_t us);
/* Quoted as in JSON; bytes that are not printable ASCII as \u00xx, so that a record is always valid UTF-8. */
void record_add_json(struct record *r, struct str s);
/* As Apache and nginx do in their combined format: ", \ and what is not printable ASCII as \xNN. */
void record_add_escaped(struct record *r, struct str s);
