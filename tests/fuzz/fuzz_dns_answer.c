/* Answers of DNS servers: whatever comes, it is read from those bytes alone, and what is found is whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/discovery/dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static void check_found(const struct dns_answer *a, enum dns_type type) {
    CHECK(a->count > 0 && a->ttl <= INT32_MAX);
    for (size_t i = 0; i < a->count && type == DNS_SRV; i++)
        CHECK(a->records[i].target && strlen(a->records[i].target) < DNS_NAME_MAX);
}

/* The first byte picks the type, the rest is the message; the name is "a.test". */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_SRV};
    struct dns_answer a;
    if (size == 0)
        return 0;
    enum dns_type type = types[bytes[0] % 3];
    uint8_t *copy = malloc(size > 1 ? size - 1 : 1); /* of exactly that size, so that a read past its end is seen */
    CHECK(copy);
    memcpy(copy, bytes + 1, size - 1);
    dns_answer_read(copy, size - 1, "a.test", type, &a);
    free(copy);
    if (a.outcome == DNS_FOUND)
        check_found(&a, type);
    else
        CHECK(a.count == 0 && a.why[0]);
    dns_answer_finish(&a);
    return 0;
}
