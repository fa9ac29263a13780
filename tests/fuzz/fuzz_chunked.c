/* Chunked bodies: the same data and the same end however the bytes arrive; what is accepted survives being encoded again. */
#include "dataplane/codec/h1/chunked.h"

#include "tests/fuzz/h1_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct decoded {
    struct arena       arena;
    struct chunked     decoder;
    enum chunked_event event;
    char              *data;
    size_t             n, used;
};

/* Data is never longer than its input. Returns false at the end, good or bad. */
static bool decode_piece(struct decoded *d, const uint8_t *bytes, size_t n) {
    char *copy = fuzz_copy(bytes, n);
    size_t at = 0;
    do {
        size_t used = n + 1;
        struct str data = {NULL, 0};
        d->event = chunked_next(&d->decoder, copy + at, n - at, &used, &data);
        CHECK(used <= n - at);
        if (d->event == CHUNKED_EVENT_DATA) {
            CHECK(data.n > 0 && data.p >= copy + at && data.p + data.n == copy + at + used);
            memcpy(d->data + d->n, data.p, data.n);
            d->n += data.n;
        }
        at += used;
    } while (d->event == CHUNKED_EVENT_DATA);
    CHECK(d->event != CHUNKED_EVENT_MORE || at == n);
    d->used += at;
    free(copy);
    return d->event == CHUNKED_EVENT_MORE;
}

static void decode(struct decoded *d, const struct h1_limits *limits, const uint8_t *bytes, size_t n, size_t step) {
    *d = (struct decoded){.data = malloc(n ? n : 1), .event = CHUNKED_EVENT_MORE};
    CHECK(d->data);
    arena_init(&d->arena, NULL, 0, 0);
    chunked_init(&d->decoder, limits, &d->arena);
    for (size_t at = 0; at < n; at += step)
        if (!decode_piece(d, bytes + at, n - at < step ? n - at : step))
            break;
}

static void decoded_finish(struct decoded *d) {
    arena_finish(&d->arena);
    free(d->data);
}

static void compare(const struct decoded *a, const struct decoded *b) {
    CHECK(a->event == b->event && a->decoder.error == b->decoder.error);
    CHECK(a->n == b->n && memcmp(a->data, b->data, a->n) == 0);
    if (a->event == CHUNKED_EVENT_END)
        fuzz_compare_fields(&a->decoder.trailers, &b->decoder.trailers);
}

/* One chunk, the last one, the trailers, which may have become longer: a space stands behind each colon. */
static void encode_and_decode(const struct decoded *d) {
    static const struct h1_limits wide = {.headers = 32, .trailer_bytes = 1024};
    size_t room = d->n + 2 * CHUNK_SIZE_LINE_MAX + 2 + h1_write_trailers(&d->decoder.trailers, NULL, 0), n = 0;
    char *text = malloc(room);
    struct decoded again;
    CHECK(text);
    if (d->n) {
        n += chunked_write_size(d->n, text);
        memcpy(text + n, d->data, d->n);
        memcpy(text + n + d->n, "\r\n", 2);
        n += d->n + 2;
    }
    n += chunked_write_size(0, text + n);
    n += h1_write_trailers(&d->decoder.trailers, text + n, room - n);
    decode(&again, &wide, (const uint8_t *)text, n, n);
    compare(d, &again);
    CHECK(again.used == n);
    decoded_finish(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const size_t steps[] = {1, 2, 7, 64};
    struct decoded whole, pieces;
    decode(&whole, &fuzz_limits, bytes, size, size ? size : 1);
    fuzz_check_fields(&whole.decoder.trailers);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        decode(&pieces, &fuzz_limits, bytes, size, steps[i]);
        compare(&whole, &pieces);
        CHECK(whole.event != CHUNKED_EVENT_END || whole.used == pieces.used);
        decoded_finish(&pieces);
    }
    if (whole.event == CHUNKED_EVENT_END)
        encode_and_decode(&whole);
    decoded_finish(&whole);
    return 0;
}
