/* h1_feed.h — what the fuzz targets of HTTP/1.1 share: feeding a head in pieces, and comparing what came of it. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/codec/h1/parser.h"
#include "dataplane/codec/h1/writer.h"

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static const struct h1_limits fuzz_limits = {.header_bytes = 2048, .headers = 32, .uri_bytes = 512, .trailer_bytes = 512};

/* A block of exactly n bytes: a look beyond its end is seen. */
static inline char *fuzz_copy(const void *bytes, size_t n) {
    char *copy = malloc(n ? n : 1);
    CHECK(copy);
    if (n)
        memcpy(copy, bytes, n);
    return copy;
}

struct fuzz_head {
    struct arena  arena;
    struct head   head;
    char         *bytes;
    enum h1_error error;
};

static inline void fuzz_parse(struct fuzz_head *f, enum h1_section section, const void *bytes, size_t n,
                              const struct h1_limits *limits) {
    arena_init(&f->arena, NULL, 0, 0);
    f->bytes = fuzz_copy(bytes, n);
    f->error = section == H1_REQUEST ? h1_parse_request(&f->arena, f->bytes, n, limits, &f->head)
                                     : h1_parse_response(&f->arena, f->bytes, n, limits, &f->head);
}

static inline void fuzz_head_finish(struct fuzz_head *f) {
    arena_finish(&f->arena);
    free(f->bytes);
}

/* The first piece has `first` bytes, every other one `step`. False: the input ended before the head did.
 * f->error counts for scanner and parser together: a start line is looked at by the one that sees it whole first. */
static inline bool fuzz_feed(struct fuzz_head *f, enum h1_section section, const uint8_t *bytes, size_t n, size_t first,
                             size_t step) {
    struct h1_scan scan = {.section = section};
    enum h1_scan_result result = H1_SCAN_MORE;
    for (size_t have = first < n ? first : n;; have = n - have > step ? have + step : n) {
        char *copy = fuzz_copy(bytes, have);
        result = h1_scan_head(&scan, &fuzz_limits, copy, have);
        free(copy);
        if (result != H1_SCAN_MORE || have == n)
            break;
    }
    *f = (struct fuzz_head){.error = scan.error};
    if (result == H1_SCAN_DONE)
        fuzz_parse(f, section, bytes + scan.start, scan.end - scan.start, &fuzz_limits);
    return result != H1_SCAN_MORE;
}

/* The short cut, where it is taken: the same outcome as `f`, which went the whole way. */
static inline void fuzz_compare_guess(const struct fuzz_head *f, bool is_over, enum h1_section section,
                                      const uint8_t *bytes, size_t n) {
    char *copy = fuzz_copy(bytes, n);
    size_t end = h1_guess_head(&fuzz_limits, copy, n);
    struct fuzz_head guessed;
    CHECK(end <= n && (!end || is_over));
    fuzz_parse(&guessed, section, bytes, end, &fuzz_limits);
    if (end && guessed.error)
        h1_judge_guess(section, &fuzz_limits, copy, end, &guessed.error);
    CHECK(!end || guessed.error == f->error);
    CHECK(!end || f->error || guessed.head.fields.count == f->head.fields.count);
    fuzz_head_finish(&guessed);
    free(copy);
}

/* Whole, byte by byte, and cut somewhere: the same outcome. */
static inline bool fuzz_feed_all_ways(struct fuzz_head *f, enum h1_section section, const uint8_t *bytes, size_t n) {
    bool is_over = fuzz_feed(f, section, bytes, n, n, 1);
    size_t ways[][2] = {{0, 1}, {n / 2, n}, {n > 3 ? n - 3 : 0, 1}, {1, 7}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct fuzz_head other;
        CHECK(fuzz_feed(&other, section, bytes, n, ways[i][0], ways[i][1]) == is_over || f->error);
        CHECK(other.error == f->error && other.head.fields.count == f->head.fields.count);
        fuzz_head_finish(&other);
    }
    fuzz_compare_guess(f, is_over, section, bytes, n);
    return is_over;
}

static inline void fuzz_check_fields(const struct fields *fields) {
    for (uint32_t i = 0; i < fields->count; i++) {
        CHECK(field_name_is_valid(field_name(&fields->v[i])));
        CHECK(field_value_is_valid(field_value(&fields->v[i])));
        CHECK(fields->v[i].id == field_lookup(fields->v[i].name, fields->v[i].name_len));
    }
}

/* The next field that the writer passes on. */
static inline const struct field *fuzz_next_kept(const struct fields *fields, uint32_t *at) {
    while (*at < fields->count) {
        const struct field *f = &fields->v[(*at)++];
        if (f->id != FIELD_HOST && f->id != FIELD_CONTENT_LENGTH && !field_id_has(f->id, FIELD_HOP_BY_HOP))
            return f;
    }
    return NULL;
}

static inline void fuzz_compare_fields(const struct fields *a, const struct fields *b) {
    uint32_t i = 0, j = 0;
    const struct field *f, *g;
    do {
        f = fuzz_next_kept(a, &i);
        g = fuzz_next_kept(b, &j);
        CHECK(!f == !g);
        CHECK(!f || (str_eq(field_name(f), field_name(g)) && str_eq(field_value(f), field_value(g))));
    } while (f);
}

/* What the writer makes of a head, in a block of exactly its size. */
static inline char *fuzz_write(size_t (*write)(const struct head *, enum h1_connection, char *, size_t),
                               const struct head *head, enum h1_connection connection, size_t *ret_n) {
    *ret_n = write(head, connection, NULL, 0);
    char *text = malloc(*ret_n);
    CHECK(text);
    CHECK(write(head, connection, text, *ret_n) == *ret_n);
    return text;
}
