/* origin_tokens.h — tokens that origins gave for the next connection (NEW_TOKEN, RFC 9000 section 8.1.3): the newest of
 * each, the least recently given go first. With one a server need not ask for proof of our address. Thread: the worker's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/map.h"

enum { ORIGIN_TOKENS_MAX = 512, ORIGIN_TOKEN_BYTES_MAX = 512 };

struct origin_token;

/* A zeroed struct is a valid empty cache. */
struct origin_tokens {
    struct map           by_origin;
    struct origin_token *first, *last;       /* most recently given first */
};

void   origin_tokens_finish(struct origin_tokens *t);
/* One that is too long, or that there is no memory for, is not kept. */
void   origin_tokens_put(struct origin_tokens *t, struct str origin, const uint8_t *token, size_t n);
/* Takes it out, as each is for one connection. Returns its length; 0: there is none. */
size_t origin_tokens_take(struct origin_tokens *t, struct str origin, uint8_t room[ORIGIN_TOKEN_BYTES_MAX]);
