/* Canonical paths: whatever comes out is canonical, and making it canonical again changes nothing. The first
 * byte of an input is the policy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/routing/path.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct path_policy policy_of(uint8_t byte) {
    return (struct path_policy){byte % 3, byte / 3 % 3, byte / 9 % 2, byte / 18 % 2, byte / 36 % 2};
}

static bool is_unreserved(unsigned c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", (int)c));
}

static bool is_dots(struct str s) {
    return str_eq(s, STR(".")) || str_eq(s, STR(".."));
}

/* RFC 3986 section 3.3, and what path.h adds. */
static void check_bytes(struct str path, const struct path_policy *policy) {
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c != '%') {
            CHECK(is_unreserved(c) || strchr("!$&'()*+,;=:@/", c));
            CHECK(c != ';' || policy->semicolon == HEADGATE__PATH_POLICY__PARAMETERS__KEEP_PARAMETERS);
            continue;
        }
        char digits[3] = {0};
        CHECK(path.n - i >= 3);
        memcpy(digits, path.p + i + 1, 2);
        CHECK(strspn(digits, "0123456789ABCDEF") == 2);
        unsigned value = (unsigned)strtoul(digits, NULL, 16);
        CHECK(value != 0 && !is_unreserved(value));
        CHECK(value != '/' || policy->escaped_slash == HEADGATE__PATH_POLICY__ESCAPE__KEEP);
        CHECK(value != '\\' || policy->backslash == HEADGATE__PATH_POLICY__BACKSLASH__KEEP_BACKSLASH);
        i += 2;
    }
}

static void check_segments(struct str path, const struct path_policy *policy) {
    struct str rest = {path.p + 1, path.n - 1};
    while (rest.p) {
        struct str segment = str_cut(&rest, '/'), parameters = segment;
        CHECK(!is_dots(str_cut(&parameters, ';')));
        CHECK(segment.n || !rest.p || policy->double_slash == HEADGATE__PATH_POLICY__SLASHES__PRESERVE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0)
        return 0;
    struct path_policy policy = policy_of(bytes[0]);
    struct arena arena;
    struct str canonical, again;
    char *raw = malloc(size);
    CHECK(raw);
    memcpy(raw, bytes + 1, size - 1);
    arena_init(&arena, NULL, 0, 0);
    enum path_error error = path_canonicalize(&policy, (struct str){raw, size - 1}, &arena, &canonical);
    CHECK(error != PATH_MEMORY);
    if (!error && !str_eq(canonical, STR("*"))) {
        CHECK(canonical.n > 0 && canonical.p[0] == '/' && canonical.n <= 3 * size);
        check_bytes(canonical, &policy);
        check_segments(canonical, &policy);
        CHECK(path_canonicalize(&policy, canonical, &arena, &again) == PATH_OK && str_eq(canonical, again));
    }
    arena_finish(&arena);
    free(raw);
    return 0;
}
