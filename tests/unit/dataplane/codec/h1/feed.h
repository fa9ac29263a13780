/* feed.h — drives the parser with an input that arrives in pieces. For the tests of this folder. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/codec/h1/parser.h"

static const struct h1_limits test_limits = {.header_bytes = 1024, .headers = 8, .uri_bytes = 64, .trailer_bytes = 64};

struct feed {
    struct arena  arena;
    char         *bytes; /* the head, in a block of exactly its size */
    struct head   head;
    enum h1_error error;
    size_t        used;  /* of the input, with the head complete; else 0 */
    bool          is_complete;
};

static inline enum h1_scan_result feed_scan(struct h1_scan *scan, const char *input, size_t n) {
    /* A block of exactly n bytes each time: a look beyond is seen, and so is a pointer that was kept. */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, input, n);
    enum h1_scan_result result = h1_scan_head(scan, &test_limits, copy, n);
    free(copy);
    return result;
}

static inline void feed_parse(struct feed *f, enum h1_section section, const char *input, const struct h1_scan *scan) {
    size_t n = scan->end - scan->start;
    f->bytes = malloc(n);
    assert_non_null(f->bytes);
    memcpy(f->bytes, input + scan->start, n);
    f->used = scan->end;
    f->is_complete = true;
    f->error = section == H1_REQUEST ? h1_parse_request(&f->arena, f->bytes, n, &test_limits, &f->head)
                                     : h1_parse_response(&f->arena, f->bytes, n, &test_limits, &f->head);
}

/* The first piece has `first` bytes, every other one `step`. */
static inline void feed_run(struct feed *f, enum h1_section section, const char *input, size_t n, size_t first,
                            size_t step) {
    struct h1_scan scan = {.section = section};
    enum h1_scan_result result = H1_SCAN_MORE;
    *f = (struct feed){0};
    arena_init(&f->arena, NULL, 0, 0);
    for (size_t have = first < n ? first : n; result == H1_SCAN_MORE; have = n - have > step ? have + step : n) {
        result = feed_scan(&scan, input, have);
        if (have == n)
            break;
    }
    f->error = scan.error;
    if (result == H1_SCAN_DONE)
        feed_parse(f, section, input, &scan);
}

static inline void feed_finish(struct feed *f) {
    arena_finish(&f->arena);
    free(f->bytes);
}
