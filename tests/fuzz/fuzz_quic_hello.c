/* A ClientHello in CRYPTO frames: a verdict is final however much follows, names lie within what has come, and frames change
 * nothing but what they cover. The first octet says whether frames or the message follow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/l4/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

enum { BEGINNINGS = 512 };

/* From memory of exactly that size, so that a read past its end is seen. */
static enum pass_verdict judge(const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    struct str name = {NULL, 0};
    CHECK(copy);
    memcpy(copy, bytes, n);
    enum pass_verdict verdict = pass_hello_name(copy, n, &name);
    if (verdict == PASS_NAME_FOUND) {
        CHECK(name.n > 0 && name.n < n && (const uint8_t *)name.p >= copy);
        CHECK((size_t)((const uint8_t *)name.p - copy) <= n - name.n);
    }
    free(copy);
    return verdict;
}

static void judge_beginnings(const uint8_t *bytes, size_t n) {
    enum pass_verdict before = PASS_NAME_MORE;
    for (size_t i = 0; i <= n; i += i < BEGINNINGS ? 1 : n - i ? n - i : 1) {
        enum pass_verdict now = judge(bytes, i);
        CHECK(before == PASS_NAME_MORE || now == before);
        before = now;
    }
}

static void take_frames(const uint8_t *frames, size_t n) {
    static struct pass_hello hello;
    memset(&hello, 0, sizeof hello);
    enum pass_frames first = pass_hello_take(&hello, frames, n);
    size_t had = hello.n;
    CHECK(had <= PASS_HELLO_MAX);
    CHECK(pass_hello_take(&hello, frames, n) == first && hello.n == had); /* sent again */
    if (first == PASS_FRAMES_TAKEN)
        judge_beginnings(hello.bytes, hello.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0)
        return 0;
    if (bytes[0] & 1)
        judge_beginnings(bytes + 1, size - 1);
    else
        take_frames(bytes + 1, size - 1);
    return 0;
}
