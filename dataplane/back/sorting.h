/* sorting.h — sorts very many numbers some steps at a time: a merge sort from the bottom up. Its state is a few counts. */
#pragma once

#include <stdint.h>

struct sort_key {
    double   key;
    uint32_t of;                          /* the caller's */
};

struct sorting {
    struct sort_key *keys, *spare;        /* the caller's, room for `count` each. In the end `keys` are sorted, upwards */
    uint32_t         count;
    uint64_t         width;               /* of the sorted parts, which are being merged two by two into `spare` */
    uint64_t         begin, left, right;  /* of these two: where they begin, and what comes next of each */
};

void     sorting_begin(struct sorting *, struct sort_key *keys, struct sort_key *spare, uint32_t count);
/* Makes at most so many steps; a sort has `count` times the logarithm of that. Returns how many; 0: it is sorted. */
uint32_t sorting_go_on(struct sorting *, uint32_t most);
