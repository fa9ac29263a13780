/* Answers to health checks over HTTP/1.1: the same outcome however the bytes arrive, and never more kept than is allowed. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/health/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct outcome {
    struct answer       answer;
    struct http1_reader reader;
    enum http1_status   status, end;
};

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* In pieces of `piece` bytes, each in a block of its own, so that reading beyond it is seen. */
static void feed(struct outcome *o, const Headgate__HttpCheck *check, bool is_to_head, const uint8_t *bytes, size_t size,
                 size_t piece) {
    answer_init(&o->answer, check);
    http1_init(&o->reader, &o->answer, is_to_head);
    o->status = HTTP1_MORE;
    for (size_t at = 0; at < size && o->status == HTTP1_MORE; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        char *copy = hg_memdup(bytes + at, n);
        o->status = http1_read(&o->reader, copy, n);
        hg_free(copy);
        must(o->reader.line.n <= HTTP1_LINE_MAX, "a line is kept that is too long");
        must(o->answer.body.n <= ANSWER_BODY_MAX, "a body is kept that is too long");
    }
    o->end = o->status == HTTP1_MORE ? http1_end(&o->reader) : o->status;
}

static void compare(const struct outcome *a, const struct outcome *b) {
    must(a->status == b->status && a->end == b->end, "another status");
    must(a->reader.fault == b->reader.fault, "another fault");
    must(a->answer.status == b->answer.status && a->answer.seen == b->answer.seen, "another head");
    must(str_eq(strbuf_str(&a->answer.body), strbuf_str(&b->answer.body)), "another body");
}

static void check_outcome(struct outcome *o) {
    char reason[REASON_MAX] = "";
    must(o->end != HTTP1_MORE, "an end that is none");
    must((o->end == HTTP1_FAILED) == (o->reader.fault != NULL), "a failure without a fault");
    if (o->end != HTTP1_DONE)
        return;
    must(o->answer.status >= 200 && o->answer.status <= 599, "a status that is none");
    must(answer_is_wanted(&o->answer, reason) == (reason[0] == '\0'), "a verdict without a reason");
}

static void finish(struct outcome *o) {
    http1_finish(&o->reader);
    answer_finish(&o->answer);
}

/* The first byte says how the bytes are cut, and whether the request was HEAD. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    Headgate__HttpCheck check = HEADGATE__HTTP_CHECK__INIT;
    Headgate__HeaderField field = HEADGATE__HEADER_FIELD__INIT;
    Headgate__HeaderField *fields[] = {&field};
    struct outcome whole, pieces;
    if (size < 1)
        return 0;
    field.name = (char *)(uintptr_t)"x";
    check.expect_headers = fields;
    check.n_expect_headers = 1;
    check.body_contains = (char *)(uintptr_t)"ok";
    bool is_to_head = bytes[0] & 1;
    feed(&whole, &check, is_to_head, bytes + 1, size - 1, size);
    feed(&pieces, &check, is_to_head, bytes + 1, size - 1, 1 + (bytes[0] >> 1) % 32);
    compare(&whole, &pieces);
    check_outcome(&whole);
    check_outcome(&pieces);
    finish(&whole);
    finish(&pieces);
    return 0;
}
