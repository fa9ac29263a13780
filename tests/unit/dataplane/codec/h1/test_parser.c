/* Heads that are good, heads that are bad, and that neither depends on how the bytes arrive. */
#include "tests/unit/dataplane/codec/h1/feed.h"

#define IN(text) (text), sizeof(text) - 1

struct input {
    const char   *text;
    size_t        n;
    enum h1_error error;
};

/* ---- every form of bad request */

#define H "Host: a\r\n"
#define E "\r\n"

static const struct input bad_requests[] = {
    /* bytes that end or break lines */
    {IN("GET / HTTP/1.1\n" H E), H1_BARE_LF},
    {IN("GET / HTTP/1.1\r\nHost: a\n\r\n"), H1_BARE_LF},
    {IN("GET / HTTP/1.1\r\nHost: a\r\n\n"), H1_BARE_LF},
    {IN("\nGET / HTTP/1.1\r\n" H E), H1_BARE_LF},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nX: b\nc\r\n\r\n"), H1_BARE_LF},
    {IN("GET / HTTP/1.1\rHost: a\r\n\r\n"), H1_BARE_CR},
    {IN("GET / HTTP/1.1\r\r\n" H E), H1_BARE_CR},
    {IN("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"), H1_BARE_CR},
    {IN("GET / HTTP/1.1\r\n" H "\rX\r\n\r\n"), H1_BARE_CR},
    {IN("GET / HTTP/1.1\r\nX: a\0b\r\n" H E), H1_CONTROL_BYTE},
    {IN("GET / HTTP/1.1\r\nX\0: b\r\n" H E), H1_CONTROL_BYTE},
    {IN("GET /\0 HTTP/1.1\r\n" H E), H1_CONTROL_BYTE},
    {IN("GET / HTTP/1.1\r\nX: \x01\r\n" H E), H1_CONTROL_BYTE},
    {IN("GET / HTTP/1.1\r\nX: \x7f\r\n" H E), H1_CONTROL_BYTE},
    {IN("GET / HTTP/1.1\r\nX: \x0b\r\n" H E), H1_CONTROL_BYTE},
    {IN("GET / HTTP/1.1\r\nX: \x1b[31m\r\n" H E), H1_CONTROL_BYTE},
    {IN("\x16\x03\x01\x02\x00\x01"), H1_CONTROL_BYTE},
    {IN("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), H1_OBS_FOLD},
    {IN("GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"), H1_OBS_FOLD},
    {IN("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), H1_OBS_FOLD},
    {IN("GET / HTTP/1.1\r\n" H " \r\n\r\n"), H1_OBS_FOLD},
    {IN("\r\n\r\nGET / HTTP/1.1\r\n" H E), H1_EMPTY_LINES},
    /* the request line */
    {IN(" GET / HTTP/1.1\r\n" H E), H1_START_LINE},
    {IN("\xef\xbb\xbfGET / HTTP/1.1\r\n" H E), H1_START_LINE},
    {IN("{\"a\":1}\r\n" H E), H1_START_LINE},
    {IN("HELO\r\n" H E), H1_START_LINE},
    {IN("GET /\r\n\r\n"), H1_START_LINE},
    {IN("GET\r\n" H E), H1_START_LINE},
    {IN("GET  / HTTP/1.1\r\n" H E), H1_START_LINE},
    {IN("GET\t/ HTTP/1.1\r\n" H E), H1_METHOD},
    {IN("G@T / HTTP/1.1\r\n" H E), H1_METHOD},
    {IN("GET/ HTTP/1.1\r\n" H E), H1_METHOD},
    {IN("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" H E), H1_METHOD_TOO_LONG},
    {IN("GET / HTTP/1.1 \r\n" H E), H1_VERSION},
    {IN("GET /  HTTP/1.1\r\n" H E), H1_VERSION},
    {IN("GET /a b HTTP/1.1\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/1.1\t\r\n" H E), H1_VERSION},
    {IN("GET / http/1.1\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/1\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/1.\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/1.10\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/01.1\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/+1.1\r\n" H E), H1_VERSION},
    {IN("GET / HTTP/1.x\r\n" H E), H1_VERSION},
    {IN("GET / HTTPS/1.1\r\n" H E), H1_VERSION},
    {IN("GET / \r\n" H E), H1_VERSION},
    {IN("GET / HTTP/2.0\r\n" H E), H1_VERSION_UNSUPPORTED},
    {IN("GET / HTTP/0.9\r\n" H E), H1_VERSION_UNSUPPORTED},
    {IN("PRI * HTTP/2.0\r\n\r\n"), H1_VERSION_UNSUPPORTED},
    {IN("GET /#f HTTP/1.1\r\n" H E), H1_TARGET},
    {IN("GET /\xc3\xa9 HTTP/1.1\r\n" H E), H1_TARGET},
    {IN("GET /\x80 HTTP/1.1\r\n" H E), H1_TARGET},
    {IN("GET /a\tb HTTP/1.1\r\n" H E), H1_TARGET},
    {IN("GET a HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("GET ?a HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("GET * HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("OPTIONS *a HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("GET ftp://a/ HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("GET http:/a HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("GET a:80 HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("CONNECT /a HTTP/1.1\r\n" H E), H1_TARGET_FORM},
    {IN("CONNECT a HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("CONNECT http://a/ HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("CONNECT a:80/b HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("CONNECT u@a:80 HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("CONNECT * HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("CONNECT a:80 HTTP/1.1\r\n" H "Content-Length: 1\r\n" E), H1_CONNECT_CONTENT},
    {IN("GET http:/// HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET http://?q HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET http://u@a/ HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET http://u:p@a/ HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET http://a:99999/ HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET http://a%2eb/ HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET http://a\\b/ HTTP/1.1\r\n" H E), H1_AUTHORITY},
    {IN("GET /4567890123456789012345678901234567890123456789012345678901234567 HTTP/1.1\r\n" H E), H1_TARGET_TOO_LONG},
    {IN("GET /45678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
        "23456789012345678901234567890123456789"),
     H1_TARGET_TOO_LONG},
    /* field lines */
    {IN("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "X Y: a\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H ": a\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "X\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "X(a): b\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "X\xe9: b\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "\"X\": b\r\n\r\n"), H1_FIELD_NAME},
    {IN("GET / HTTP/1.1\r\n" H "A:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\nF:1\r\nG:1\r\nI:1\r\n\r\n"), H1_TOO_MANY_FIELDS},
    /* Host */
    {IN("GET / HTTP/1.1\r\n\r\n"), H1_HOST_MISSING},
    {IN("GET http://a/ HTTP/1.1\r\n\r\n"), H1_HOST_MISSING},
    {IN("GET / HTTP/1.1\r\n" H H E), H1_HOST_REPEATED},
    {IN("GET / HTTP/1.0\r\n" H "Host: b\r\n\r\n"), H1_HOST_REPEATED},
    {IN("GET / HTTP/1.1\r\nHost:\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a:\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n"), H1_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n"), H1_HOST},
    {IN("GET http://b/ HTTP/1.1\r\nHost: a,b\r\n\r\n"), H1_HOST},
    /* Content-Length */
    {IN("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 5,5\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 5,\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 5.0\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 1_0\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551621\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), H1_CONTENT_LENGTH_REPEATED},
    {IN("POST / HTTP/1.1\r\n" H "content-length: 5\r\nContent-Length: 6\r\n\r\n"), H1_CONTENT_LENGTH_REPEATED},
    /* Transfer-Encoding */
    {IN("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_LENGTH_AND_CODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), H1_LENGTH_AND_CODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\nContent-Length: 0\r\n\r\n"), H1_LENGTH_AND_CODING},
    {IN("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), H1_TRANSFER_ENCODING_OLD},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunkedx\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked,\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;a=b\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked \x80\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"), H1_TRANSFER_CODING_UNKNOWN},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n"), H1_FIELD_NAME},
    {IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\x0b" "chunked\r\n\r\n"), H1_CONTROL_BYTE},
    /* Connection, Expect */
    {IN("GET / HTTP/1.1\r\n" H "Connection: \"close\"\r\n\r\n"), H1_CONNECTION},
    {IN("GET / HTTP/1.1\r\n" H "Connection: a b\r\n\r\n"), H1_CONNECTION},
    {IN("GET / HTTP/1.1\r\n" H "Connection: a,b,c,d,e,f,g,h,i\r\n\r\n"), H1_CONNECTION},
    {IN("PUT / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n"), H1_EXPECT},
    {IN("PUT / HTTP/1.1\r\n" H "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n"), H1_EXPECT},
};

static const struct input bad_responses[] = {
    {IN("\r\nHTTP/1.1 200 OK\r\n\r\n"), H1_EMPTY_LINES},
    {IN("HTTP/1.1 200 OK\n\n"), H1_BARE_LF},
    {IN("HTTP/1.1 200 O\rK\r\n\r\n"), H1_BARE_CR},
    {IN("HTTP/1.1 200 O\0K\r\n\r\n"), H1_CONTROL_BYTE},
    {IN("HTTP/1.1 200\r\nA : b\r\n\r\n"), H1_FIELD_NAME},
    {IN("HTTP/1.1 200\r\nA: b\r\n c\r\n\r\n"), H1_OBS_FOLD},
    {IN("HTTP/1.1\r\n\r\n"), H1_START_LINE},
    {IN("HTTP/1.1 20\r\n\r\n"), H1_START_LINE},
    {IN("HTTP/1.1  200 OK\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1 2000\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1 099 x\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1 600 x\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1 999 x\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1 2a0 x\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1 +20 x\r\n\r\n"), H1_STATUS},
    {IN("HTTP/1.1\t200 OK\r\n\r\n"), H1_START_LINE},
    {IN("ICY 200 OK\r\n\r\n"), H1_START_LINE},
    {IN("HTTP/11 2000 OK\r\n\r\n"), H1_START_LINE},
    {IN("HTTP/1,1 200 OK\r\n\r\n"), H1_VERSION},
    {IN("http/1.1 200 OK\r\n\r\n"), H1_VERSION},
    {IN("HTTP/2.0 200 OK\r\n\r\n"), H1_VERSION_UNSUPPORTED},
    {IN("<html>\r\n\r\n"), H1_START_LINE},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"), H1_CONTENT_LENGTH_REPEATED},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n"), H1_CONTENT_LENGTH},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_LENGTH_AND_CODING},
    {IN("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_TRANSFER_ENCODING_OLD},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"), H1_TRANSFER_ENCODING},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), H1_TRANSFER_CODING_UNKNOWN},
};

static void check_bad(enum h1_section section, const struct input *in) {
    for (size_t first = 0; first <= in->n; first++) {
        struct feed f;
        feed_run(&f, section, in->text, in->n, first, first ? in->n : 1); /* first 0: byte by byte */
        if (f.error != in->error)
            fail_msg("\"%.*s\" cut at %zu: %s instead of %s", (int)in->n, in->text, first, h1_error_word(f.error),
                     h1_error_word(in->error));
        feed_finish(&f);
    }
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_requests / sizeof *bad_requests; i++)
        check_bad(H1_REQUEST, &bad_requests[i]);
}

static void bad_responses_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_responses / sizeof *bad_responses; i++)
        check_bad(H1_RESPONSE, &bad_responses[i]);
}

/* What can never become a head is refused before its end has come. */
static void refused_early(void **state) {
    (void)state;
    static const char *const beginnings[] = {
        "\x16",
        "\n",
        " ",
        "\x80",
        "\r\r",
        "\r\n\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\n ",
        "GET / HTTP/1.1\r\nA: b\rc",
        "HELO example.com\r\n",
        "GET /\r\n",
        "GET / HTTP/3.0\r\n",
        "GET / HTTP/1.1\r\nA:\x01",
        "GET / HTTP/1.1\r\n:",
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        struct feed f;
        feed_run(&f, H1_REQUEST, beginnings[i], strlen(beginnings[i]), 0, 1);
        if (f.error == H1_OK)
            fail_msg("\"%s\" was not refused", beginnings[i]);
        feed_finish(&f);
    }
}

/* ---- good heads, shown as one line each */

struct good {
    const char *text, *shown;
};

static void show_str(struct strbuf *out, const char *name, struct str s) {
    if (s.n)
        strbuf_printf(out, " %s=%.*s", name, STR_FMT(s));
}

static void show_head(const struct head *h, struct strbuf *out) {
    if (h->status)
        strbuf_printf(out, "%u 1.%u", h->status, h->version % 10);
    else
        strbuf_printf(out, "%.*s(%d) 1.%u", STR_FMT(h->method_text), h->method, h->version % 10);
    show_str(out, "target", h->target);
    show_str(out, "path", h->path);
    if (h->has_query)
        strbuf_printf(out, " query=%.*s", STR_FMT(h->query));
    show_str(out, "scheme", h->scheme);
    show_str(out, "authority", h->authority);
    show_str(out, "host", h->host);
    if (h->port)
        strbuf_printf(out, " port=%u", h->port);
    show_str(out, "reason", h->reason);
    if (h->content_length >= 0)
        strbuf_printf(out, " length=%lld", (long long)h->content_length);
    strbuf_puts(out, h->chunked ? " chunked" : "");
    strbuf_puts(out, h->keep_alive ? " keep" : " close");
    strbuf_puts(out, h->expect_continue ? " expect" : "");
    strbuf_puts(out, h->te_trailers ? " trailers" : "");
    show_str(out, "upgrade", h->upgrade);
    for (uint32_t i = 0; i < h->nominated_count; i++)
        show_str(out, "nominated", h->nominated[i]);
    for (uint32_t i = 0; i < h->fields.count; i++) {
        const struct field *f = &h->fields.v[i];
        if (f->id != FIELD_HOST || h->status || !str_eq(field_value(f), h->authority))
            strbuf_printf(out, " [%.*s|%.*s]", f->name_len, f->name, (int)f->value_len, f->value);
    }
}

static const struct good good_requests[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET(1) 1.1 target=/ path=/ authority=a host=a keep"},
    {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET(1) 1.1 target=/ path=/ authority=a host=a keep"},
    {"get / HTTP/1.1\r\nHost: a\r\n\r\n", "get(0) 1.1 target=/ path=/ authority=a host=a keep"},
    {"M-SEARCH! / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH!(0) 1.1 target=/ path=/ authority=a host=a keep"},
    {"GET / HTTP/1.7\r\nHost: a\r\n\r\n", "GET(1) 1.1 target=/ path=/ authority=a host=a keep"},
    {"GET / HTTP/1.0\r\n\r\n", "GET(1) 1.0 target=/ path=/ close"},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET(1) 1.0 target=/ path=/ keep [connection|keep-alive]"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
     "GET(1) 1.0 target=/ path=/ close [connection|keep-alive, close]"},
    {"GET /a?b=c HTTP/1.1\r\nHost: EXAMPLE.com.:8080\r\n\r\n",
     "GET(1) 1.1 target=/a?b=c path=/a query=b=c authority=example.com.:8080 host=example.com. port=8080 keep"},
    {"GET /? HTTP/1.1\r\nhOST:[2001:DB8::1]:443\r\n\r\n",
     "GET(1) 1.1 target=/? path=/ query= authority=[2001:db8::1]:443 host=[2001:db8::1] port=443 keep"},
    {"GET //x/..//%2e\\{}|^\"<>`[]?a?b/?\\ HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET(1) 1.1 target=//x/..//%2e\\{}|^\"<>`[]?a?b/?\\ path=//x/..//%2e\\{}|^\"<>`[] query=a?b/?\\ authority=a "
     "host=a keep"},
    {"GET http://B:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET(1) 1.1 target=/c?d path=/c query=d scheme=http authority=b:81 host=b port=81 keep"},
    {"GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET(1) 1.1 target=/ path=/ scheme=https authority=b host=b keep"},
    {"GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET(1) 1.1 target=/?x path=/ query=x scheme=http authority=b host=b keep"},
    {"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n",
     "OPTIONS(7) 1.1 target=* path=* scheme=http authority=b host=b keep"},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS(7) 1.1 target=* path=* authority=a host=a keep"},
    {"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT(6) 1.1 target=b:443 authority=b:443 host=b port=443 keep"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
     "POST(3) 1.1 target=/ path=/ authority=a host=a length=0 keep [content-length|0]"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t 9223372036854775807 \t\r\n\r\n",
     "POST(3) 1.1 target=/ path=/ authority=a host=a length=9223372036854775807 keep "
     "[content-length|9223372036854775807]"},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunKed\r\nExpect: 100-Continue\r\n\r\n",
     "POST(3) 1.1 target=/ path=/ authority=a host=a chunked keep expect [transfer-encoding|ChunKed] "
     "[expect|100-Continue]"},
    {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
     "GET(1) 1.1 target=/ path=/ authority=a host=a keep [expect|100-continue]"},
    {"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: anything\r\n\r\n",
     "POST(3) 1.0 target=/ path=/ length=1 close [content-length|1] [expect|anything]"},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: \t a\tb \x80\xff  c\t \r\nY:\r\nZ: \t\r\n\r\n",
     "GET(1) 1.1 target=/ path=/ authority=a host=a keep [x|a\tb \x80\xff  c] [y|] [z|]"},
    {"GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~9Az: v\r\n\r\n",
     "GET(1) 1.1 target=/ path=/ authority=a host=a keep [!#$%&'*+-.^_`|~9az|v]"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, X-A\r\nConnection: ,x-b,\r\nUpgrade: websocket\r\nTE: gzip, "
     "Trailers\r\n\r\n",
     "GET(1) 1.1 target=/ path=/ authority=a host=a keep trailers upgrade=websocket nominated=x-a nominated=x-b "
     "[connection|upgrade, x-a] [connection|,x-b,] [upgrade|websocket] [te|gzip, Trailers]"},
    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
     "GET(1) 1.1 target=/ path=/ authority=a host=a keep [upgrade|websocket]"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n",
     "GET(1) 1.1 target=/ path=/ authority=a host=a keep [connection|upgrade] [upgrade|a] [upgrade|b]"},
    {"GET /45678901234567890123456789012345678901234567890123456789012345 HTTP/1.1\r\nHost: a\r\n"
     "A:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\nF:1\r\nG:1\r\n\r\n",
     "GET(1) 1.1 target=/45678901234567890123456789012345678901234567890123456789012345 "
     "path=/45678901234567890123456789012345678901234567890123456789012345 authority=a host=a keep "
     "[a|1] [b|1] [c|1] [d|1] [e|1] [f|1] [g|1]"},
};

static const struct good good_responses[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", "200 1.1 reason=OK keep"},
    {"HTTP/1.1 200\r\n\r\n", "200 1.1 keep"},
    {"HTTP/1.1 200 \r\n\r\n", "200 1.1 keep"},
    {"HTTP/1.1 599 a \t\xe9 b\r\n\r\n", "599 1.1 reason=a \t\xe9 b keep"},
    {"HTTP/1.0 404 Not Found\r\nContent-Length: 7\r\n\r\n", "404 1.0 reason=Not Found length=7 close [content-length|7]"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: CLOSE\r\n\r\n",
     "200 1.1 reason=OK chunked close [transfer-encoding|chunked] [connection|close]"},
    {"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     "101 1.1 reason=x keep upgrade=websocket [connection|upgrade] [upgrade|websocket]"},
    {"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", "204 1.1 reason=x length=0 keep [content-length|0]"},
    {"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", "204 1.1 reason=x length=5 close [content-length|5]"},
    {"HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n", "100 1.1 reason=x chunked close [transfer-encoding|chunked]"},
    {"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", "304 1.1 reason=x length=5 keep [content-length|5]"},
};

static void check_good(enum h1_section section, const struct good *good) {
    size_t n = strlen(good->text);
    char *input = malloc(n + 4);
    assert_non_null(input);
    memcpy(input, good->text, n);
    memcpy(input + n, "GET ", 4); /* what follows a head does not matter */
    for (size_t first = 0; first <= n + 4; first++) {
        struct feed f;
        struct strbuf shown = {0};
        feed_run(&f, section, input, n + 4, first, first ? n : 1);
        if (f.error)
            fail_msg("\"%s\" cut at %zu: %s", good->text, first, h1_error_word(f.error));
        assert_true(f.is_complete);
        assert_int_equal(f.used, n);
        show_head(&f.head, &shown);
        assert_string_equal(shown.p, good->shown);
        strbuf_finish(&shown);
        feed_finish(&f);
    }
    free(input);
}

static void good_requests_are_understood(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good_requests / sizeof *good_requests; i++)
        check_good(H1_REQUEST, &good_requests[i]);
}

static void good_responses_are_understood(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good_responses / sizeof *good_responses; i++)
        check_good(H1_RESPONSE, &good_responses[i]);
}

/* ---- limits, exactly at their edge */

static enum h1_error parse_sized(size_t target, size_t padding) {
    struct strbuf text = {0};
    strbuf_puts(&text, "GET /");
    for (size_t i = 1; i < target; i++)
        strbuf_putc(&text, 'a');
    strbuf_puts(&text, " HTTP/1.1\r\nHost: a\r\nX: ");
    for (size_t i = 0; i < padding; i++)
        strbuf_putc(&text, 'b');
    strbuf_puts(&text, "\r\n\r\n");
    struct feed whole, dribbled;
    feed_run(&whole, H1_REQUEST, text.p, text.n, text.n, 1);
    feed_run(&dribbled, H1_REQUEST, text.p, text.n, 0, 1);
    enum h1_error error = whole.error;
    assert_int_equal(error, dribbled.error);
    feed_finish(&whole);
    feed_finish(&dribbled);
    strbuf_finish(&text);
    return error;
}

static void limits_hold_exactly(void **state) {
    (void)state;
    const size_t rest = strlen("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n");
    assert_int_equal(parse_sized(64, 0), H1_OK);
    assert_int_equal(parse_sized(65, 0), H1_TARGET_TOO_LONG);
    assert_int_equal(parse_sized(1, 1024 - rest), H1_OK);
    assert_int_equal(parse_sized(1, 1024 - rest + 1), H1_HEAD_TOO_LARGE);
}

/* The scanner alone, so that a buffer of header_bytes + 3 is enough, and nobody collects fields without end. */
static void limits_hold_before_the_end(void **state) {
    (void)state;
    struct strbuf text = {0};
    for (int leading = 0; leading <= 1; leading++) {
        strbuf_reset(&text);
        strbuf_puts(&text, leading ? "\r\nGET / HTTP/1.1\r\nX: " : "GET / HTTP/1.1\r\nX: ");
        while (text.n < test_limits.header_bytes + 2 * (size_t)leading)
            strbuf_putc(&text, 'a');
        struct h1_scan scan = {.section = H1_REQUEST};
        assert_int_equal(feed_scan(&scan, text.p, text.n), H1_SCAN_MORE);
        strbuf_putc(&text, 'a');
        assert_int_equal(feed_scan(&scan, text.p, text.n), H1_SCAN_ERROR);
        assert_int_equal(scan.error, H1_HEAD_TOO_LARGE);
    }
    strbuf_reset(&text);
    strbuf_puts(&text, "GET / HTTP/1.1\r\n");
    struct h1_scan scan = {.section = H1_REQUEST};
    for (unsigned i = 0; i < test_limits.headers; i++) {
        strbuf_puts(&text, "A: b\r\n");
        assert_int_equal(feed_scan(&scan, text.p, text.n), H1_SCAN_MORE);
    }
    strbuf_puts(&text, "A: b\r\n");
    assert_int_equal(feed_scan(&scan, text.p, text.n), H1_SCAN_ERROR);
    assert_int_equal(scan.error, H1_TOO_MANY_FIELDS);
    strbuf_finish(&text);
}

static void incomplete_heads_wait(void **state) {
    (void)state;
    static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct feed f;
        feed_run(&f, H1_REQUEST, text, n, 0, 1);
        assert_int_equal(f.error, H1_OK);
        assert_false(f.is_complete);
        feed_finish(&f);
    }
}

static void idle_until_a_request_begins(void **state) {
    (void)state;
    struct h1_scan scan = {.section = H1_REQUEST};
    assert_true(h1_scan_is_idle(&scan, 0));
    assert_int_equal(feed_scan(&scan, "\r\n", 2), H1_SCAN_MORE);
    assert_true(h1_scan_is_idle(&scan, 2));
    assert_int_equal(feed_scan(&scan, "\r\nG", 3), H1_SCAN_MORE);
    assert_false(h1_scan_is_idle(&scan, 3));
}

/* ---- framing */

static void request_bodies(void **state) {
    (void)state;
    struct head head;
    head_init(&head);
    assert_int_equal(h1_request_framing(&head), H1_BODY_NONE);
    head.content_length = 0;
    assert_int_equal(h1_request_framing(&head), H1_BODY_NONE);
    head.content_length = 1;
    assert_int_equal(h1_request_framing(&head), H1_BODY_LENGTH);
    head.content_length = -1;
    head.chunked = true;
    assert_int_equal(h1_request_framing(&head), H1_BODY_CHUNKED);
}

static void response_bodies(void **state) {
    (void)state;
    static const struct {
        unsigned        status;
        enum method     method;
        long            length;
        bool            chunked;
        enum h1_framing framing;
    } cases[] = {
        {200, METHOD_GET, -1, false, H1_BODY_UNTIL_CLOSE}, {200, METHOD_GET, 5, false, H1_BODY_LENGTH},
        {200, METHOD_GET, 0, false, H1_BODY_NONE},         {200, METHOD_GET, -1, true, H1_BODY_CHUNKED},
        {200, METHOD_HEAD, 5, false, H1_BODY_NONE},        {200, METHOD_HEAD, -1, true, H1_BODY_NONE},
        {200, METHOD_HEAD, -1, false, H1_BODY_NONE},       {204, METHOD_GET, 5, false, H1_BODY_NONE},
        {304, METHOD_GET, 5, false, H1_BODY_NONE},         {100, METHOD_GET, -1, true, H1_BODY_NONE},
        {103, METHOD_GET, 5, false, H1_BODY_NONE},         {101, METHOD_GET, -1, false, H1_BODY_TUNNEL},
        {200, METHOD_CONNECT, 5, false, H1_BODY_TUNNEL},   {299, METHOD_CONNECT, -1, true, H1_BODY_TUNNEL},
        {407, METHOD_CONNECT, 5, false, H1_BODY_LENGTH},   {500, METHOD_POST, -1, false, H1_BODY_UNTIL_CLOSE},
        {205, METHOD_GET, 5, false, H1_BODY_LENGTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head head;
        head_init(&head);
        head.status = (uint16_t)cases[i].status;
        head.content_length = cases[i].length;
        head.chunked = cases[i].chunked;
        assert_int_equal(h1_response_framing(&head, cases[i].method), cases[i].framing);
    }
}

static void every_error_has_word_and_status(void **state) {
    (void)state;
    assert_int_equal(h1_error_status(H1_OK), 0);
    for (unsigned e = H1_OK + 1; e < H1_ERROR_COUNT; e++) {
        assert_in_range(h1_error_status(e), 400, 505);
        assert_true(strlen(h1_error_word(e)) > 1);
        assert_true(status_reason(h1_error_status(e)).n > 0);
    }
}

/* ---- memory */

static void no_memory_is_an_error(void **state) {
    (void)state;
    static const char text[] = "GET http://a?b HTTP/1.1\r\nHost: a\r\nConnection: c, d, e, f, g\r\n\r\n";
    unsigned failures = 0;
    for (size_t limit = 16; limit < 2048; limit += 16) {
        char bytes[sizeof text];
        struct arena arena;
        struct head head;
        memcpy(bytes, text, sizeof text);
        arena_init(&arena, NULL, 0, limit);
        enum h1_error error = h1_parse_request(&arena, bytes, sizeof text - 1, &test_limits, &head);
        assert_true(error == H1_OK || error == H1_MEMORY);
        failures += error == H1_MEMORY;
        arena_finish(&arena);
        if (error == H1_OK)
            break;
    }
    assert_in_range(failures, 3, 120);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_are_refused),     cmocka_unit_test(bad_responses_are_refused),
        cmocka_unit_test(refused_early),                cmocka_unit_test(good_requests_are_understood),
        cmocka_unit_test(good_responses_are_understood), cmocka_unit_test(limits_hold_exactly),
        cmocka_unit_test(limits_hold_before_the_end),
        cmocka_unit_test(incomplete_heads_wait),        cmocka_unit_test(idle_until_a_request_begins),
        cmocka_unit_test(request_bodies),               cmocka_unit_test(response_bodies),
        cmocka_unit_test(every_error_has_word_and_status), cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
