#include "dataplane/back/sorting.h"

#include <stdbool.h>

static uint64_t at_most(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void begin_pair(struct sorting *s, uint64_t begin) {
    s->begin = s->left = begin;
    s->right = at_most(begin + s->width, s->count);
}

static void begin_pass(struct sorting *s) {
    struct sort_key *merged = s->spare;
    s->spare = s->keys;
    s->keys = merged;
    s->width *= 2;
    begin_pair(s, 0);
}

void sorting_begin(struct sorting *s, struct sort_key *keys, struct sort_key *spare, uint32_t count) {
    *s = (struct sorting){.keys = keys, .spare = spare, .count = count, .width = 1};
    begin_pair(s, 0);
}

/* The next of the two parts that are merged goes to its place. */
static void take_next(struct sorting *s) {
    uint64_t middle = at_most(s->begin + s->width, s->count), end = at_most(s->begin + 2 * s->width, s->count);
    uint64_t to = s->left + s->right - middle;
    bool is_left = s->left < middle && (s->right == end || s->keys[s->left].key <= s->keys[s->right].key);
    s->spare[to] = s->keys[is_left ? s->left++ : s->right++];
    if (to + 1 < end)
        return;
    if (end < s->count)
        begin_pair(s, end);
    else
        begin_pass(s);
}

uint32_t sorting_go_on(struct sorting *s, uint32_t most) {
    uint32_t steps = 0;
    while (s->width < s->count && steps < most) {
        take_next(s);
        steps++;
    }
    return steps;
}
