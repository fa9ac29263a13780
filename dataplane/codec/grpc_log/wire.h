/* wire.h — messages of protobuf, written field by field into room of the caller's: no memory is taken, and what does not fit
 * is told at the end. Thread: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

enum { WIRE_TEXT_MAX = 1024 };       /* what is longer is cut */

struct wire {
    uint8_t *at, *end;
    bool     is_full;                /* something did not fit: what was written is of no use */
};

/* As in proto3 a field that is zero, or empty, is left out. */
void wire_uint(struct wire *w, unsigned field, uint64_t value);
/* Texts must be UTF-8: each byte that is not becomes "!". */
void wire_text(struct wire *w, unsigned field, struct str text);
/* A message within the message: what is written between the two calls. Written even when it is empty. */
uint8_t *wire_open(struct wire *w, unsigned field);
void wire_close(struct wire *w, uint8_t *opened);
/* The key and the length of a message of `size` bytes that follows from elsewhere. */
void wire_announce(struct wire *w, unsigned field, uint64_t size);
/* google.protobuf.Duration and Timestamp. */
void wire_time(struct wire *w, unsigned field, uint64_t us);
