/* Request heads: the same outcome however the bytes arrive; what is accepted survives being written and read again. */
#include "tests/fuzz/h1_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_head(const struct head *h) {
    fuzz_check_fields(&h->fields);
    CHECK(h->fields.count <= fuzz_limits.headers);
    CHECK(h->method_text.n > 0 && h->target.n > 0 && h->target.n <= fuzz_limits.uri_bytes + 1);
    CHECK(h->version == 10 || h->authority.n > 0);
    CHECK(!h->chunked || (h->content_length < 0 && h->version == 11));
    CHECK(memchr(h->target.p, '#', h->target.n) == NULL && memchr(h->target.p, ' ', h->target.n) == NULL);
}

static void write_and_read(const struct head *h) {
    static const struct h1_limits wide = {.header_bytes = 8192, .headers = 64, .uri_bytes = 1024};
    size_t n;
    char *text = fuzz_write(h1_write_request_head, h, h->upgrade.n ? H1_CONNECTION_UPGRADE : H1_CONNECTION_DEFAULT, &n);
    struct fuzz_head again;
    struct h1_scan scan = {.section = H1_REQUEST};
    CHECK(h1_scan_head(&scan, &wide, text, n) == H1_SCAN_DONE && scan.start == 0 && scan.end == n);
    fuzz_parse(&again, H1_REQUEST, text, n, &wide);
    const struct head *g = &again.head;
    CHECK(again.error == H1_OK);
    CHECK(str_eq(g->method_text, h->method_text) && g->method == h->method);
    CHECK(str_eq(g->target, h->target) && str_eq(g->path, h->path) && str_eq(g->query, h->query));
    CHECK(g->has_query == h->has_query);
    CHECK(str_eq(g->authority, h->authority) && str_eq(g->host, h->host) && g->port == h->port);
    CHECK(g->content_length == h->content_length && g->chunked == h->chunked);
    CHECK(g->te_trailers == h->te_trailers && str_eq(g->upgrade, h->upgrade) && g->expect_continue == h->expect_continue);
    CHECK(h1_request_framing(g) == h1_request_framing(h));
    fuzz_compare_fields(&g->fields, &h->fields);
    fuzz_head_finish(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_head f;
    bool is_complete = fuzz_feed_all_ways(&f, H1_REQUEST, bytes, size) && !f.error;
    if (is_complete)
        check_head(&f.head);
    /* HTTP/1.0 may lack a host and may expect anything: it is not the same once it is 1.1. */
    if (is_complete && f.head.version == 11)
        write_and_read(&f.head);
    fuzz_head_finish(&f);
    return 0;
}
