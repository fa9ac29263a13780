/* regex.h — PCRE2 with bounds, so that no pattern and no subject can hold a worker.
 *
 * Compiled once, read by all threads; the memory for matching is per thread. With the JIT compiler where the
 * machine has it. A match that takes more than REGEX_STEPS steps, or more stack than its bounds, gives up:
 * REGEX_LIMIT, never a guess. Patterns and subjects are bytes, not UTF-8; "$" and the anchors mean the very end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/str.h"

enum {
    REGEX_PATTERN_MAX = 4096, /* bytes */
    REGEX_STEPS = 100000,     /* PCRE2's match limit: a few milliseconds at most */
    REGEX_DEPTH = 1000,       /* nested backtracking points, without JIT */
    REGEX_HEAP_KIB = 1024,    /* without JIT */
    REGEX_GROUPS = 10,        /* groups that can be referred to, the whole match included */
};

enum regex_kind {
    REGEX_WHOLE, /* anchored at both ends */
    REGEX_PART,  /* finds a match anywhere */
};

enum regex_result { REGEX_NO, REGEX_YES, REGEX_LIMIT };

struct regex;
struct regex_scratch;

/* NULL: the pattern is not valid (*ret_offset is where, *message says why), or there is no memory (message is empty). */
struct regex *regex_create(struct str pattern, enum regex_kind kind, size_t *ret_offset, char message[128]);
void          regex_destroy(struct regex *regex);
/* How many groups the pattern has, the whole match not counted. */
unsigned      regex_group_count(const struct regex *regex);

/* NULL without memory. One per thread. */
struct regex_scratch *regex_scratch_create(void);
void                  regex_scratch_destroy(struct regex_scratch *scratch);

/* Searches subject from byte `from` on. With REGEX_YES the groups are in the scratch until its next use.
 * `allow_empty` false: an empty match at `from` does not count. Takes nothing from the heap once warm. */
enum regex_result regex_match(const struct regex *regex, struct str subject, size_t from, bool allow_empty,
                              struct regex_scratch *scratch);
/* Group 0 is the whole match. Empty for a group that took no part. */
struct str        regex_group(const struct regex_scratch *scratch, struct str subject, unsigned group);
