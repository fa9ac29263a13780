/* Nanoseconds per head: scanning, parsing and writing HTTP/1.1 heads, on one core. Prints a table; asserts nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "dataplane/codec/h1/parser.h"
#include "dataplane/codec/h1/writer.h"

static const struct h1_limits limits = {65536, 100, 16384, 8192};

static const char small[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

static const char browser[] =
    "GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n"
    "Host: www.kittyhell.com\r\n"
    "User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 "
    "Pathtraq/0.9\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\n"
    "Accept-Encoding: gzip,deflate\r\n"
    "Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\n"
    "Keep-Alive: 115\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; "
    "__utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; "
    "__utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|utmcmd=referral|padding="
    "under-eighty\r\n"
    "\r\n";

static const char response[] = "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 14:00:00 GMT\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 13\r\nServer: origin\r\n\r\n";

enum { ROUNDS = 400, TIMES = 2000 }; /* short rounds: the best one met no other work on its core */

struct sample {
    const char       *name, *text;
    size_t            n;
    enum h1_section   section;
};

enum what { COPY, SCAN, PARSE, WRITE };

static char block[8192], copy[4096], written[4096];

static void run_once(const struct sample *s, enum what what) {
    struct arena arena;
    struct head head;
    arena_init(&arena, block, sizeof block, 0);
    memcpy(copy, s->text, s->n);
    if (what == SCAN) {
        struct h1_scan scan = {.section = s->section};
        if (h1_scan_head(&scan, &limits, copy, s->n) != H1_SCAN_DONE)
            abort();
    }
    if (what < PARSE)
        return;
    enum h1_error error = s->section == H1_REQUEST ? h1_parse_request(&arena, copy, s->n, &limits, &head)
                                                   : h1_parse_response(&arena, copy, s->n, &limits, &head);
    if (error)
        abort();
    if (what == WRITE && s->section == H1_REQUEST)
        h1_write_request_head(&head, H1_CONNECTION_DEFAULT, written, sizeof written);
    else if (what == WRITE)
        h1_write_response_head(&head, H1_CONNECTION_DEFAULT, written, sizeof written);
}

/* The best of some rounds, as a time per call in nanoseconds. */
static double measure(const struct sample *s, enum what what) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = clock_monotonic_us();
        for (int i = 0; i < TIMES; i++) {
            run_once(s, what);
            __asm__ volatile("" ::: "memory");
        }
        double ns = (double)(clock_monotonic_us() - began) * 1000 / TIMES;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(void) {
    const struct sample samples[] = {
        {"small request", small, sizeof small - 1, H1_REQUEST},
        {"browser request", browser, sizeof browser - 1, H1_REQUEST},
        {"response", response, sizeof response - 1, H1_RESPONSE},
    };
    printf("%-16s %6s %8s %8s %8s\n", "ns per head", "bytes", "scan", "parse", "write");
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *s = &samples[i];
        double base = measure(s, COPY), scan = measure(s, SCAN) - base;
        double parse = measure(s, PARSE) - base, write = measure(s, WRITE) - base - parse;
        printf("%-16s %6zu %8.0f %8.0f %8.0f\n", s->name, s->n, scan, parse, write);
    }
    return 0;
}
