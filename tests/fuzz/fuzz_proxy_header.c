/* PROXY headers: a verdict is final however much has come, nothing is read behind the header, and what has been read can be
 * written and read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* From memory of exactly that size, so that a read past its end is seen. */
static int read_part(const uint8_t *bytes, size_t n, struct proxy_header *ret) {
    uint8_t *copy = malloc(n ? n : 1);
    CHECK(copy);
    memcpy(copy, bytes, n);
    int used = proxy_header_read(copy, n, ret);
    free(copy);
    return used;
}

static void check_written(const struct proxy_header *h, int version) {
    uint8_t room[PROXY_WRITTEN_MAX];
    struct proxy_header again;
    size_t n = proxy_header_write(version, &h->source, &h->destination, room);
    CHECK(n <= sizeof room && read_part(room, n, &again) == (int)n && again.has_addresses);
    CHECK(address_equal(&h->source, &again.source) && address_equal(&h->destination, &again.destination));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct proxy_header whole, part;
    size_t most = size < PROXY_HEADER_MAX ? size : PROXY_HEADER_MAX;
    int used = read_part(bytes, most, &whole);
    CHECK(used >= -1 && used <= (int)most);
    CHECK(used != 0 || most < PROXY_HEADER_MAX); /* all that is received is enough for a verdict */
    int before = 0;
    for (size_t n = 0; n <= most && n <= 256; n++) {
        int now = read_part(bytes, n, &part);
        CHECK(before == 0 || now == before);
        CHECK(now == 0 || used == now || (before == 0 && n == most));
        before = now;
    }
    if (used > 0 && whole.has_addresses) {
        check_written(&whole, 1);
        check_written(&whole, 2);
    }
    return 0;
}
