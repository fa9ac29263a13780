/* Response heads: the same outcome however the bytes arrive; what is accepted survives being written and read again. */
#include "tests/fuzz/h1_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void write_and_read(const struct head *h) {
    static const struct h1_limits wide = {.header_bytes = 8192, .headers = 64};
    size_t n;
    char *text = fuzz_write(h1_write_response_head, h, h->upgrade.n ? H1_CONNECTION_UPGRADE : H1_CONNECTION_DEFAULT, &n);
    struct fuzz_head again;
    fuzz_parse(&again, H1_RESPONSE, text, n, &wide);
    const struct head *g = &again.head;
    bool is_framed = h->status >= 200 && h->status != 204;
    CHECK(again.error == H1_OK);
    CHECK(g->status == h->status && (h->reason.n == 0 || str_eq(g->reason, h->reason)));
    CHECK(g->chunked == (is_framed && h->chunked));
    CHECK(g->content_length == (is_framed ? h->content_length : -1));
    CHECK(h1_response_framing(g, METHOD_GET) == h1_response_framing(h, METHOD_GET));
    fuzz_compare_fields(&g->fields, &h->fields);
    fuzz_head_finish(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_head f;
    bool is_complete = fuzz_feed_all_ways(&f, H1_RESPONSE, bytes, size) && !f.error;
    if (is_complete) {
        fuzz_check_fields(&f.head.fields);
        CHECK(f.head.status >= 100 && f.head.status <= 599);
        write_and_read(&f.head);
    }
    fuzz_head_finish(&f);
    return 0;
}
