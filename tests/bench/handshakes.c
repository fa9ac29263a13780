/* New TLS connections, one request on each, as fast as one thread can make them.
 *
 *     handshakes PORT full|resumed SECONDS
 *
 * SLOTS connections at once to 127.0.0.1:PORT. Each makes a TLS 1.3 handshake with X25519 and AES-128-GCM-SHA256, gets /12
 * with "Connection: close", reads to the end, and begins anew. With `resumed` each slot offers the ticket that its last
 * connection was given. The certificate is not checked: only the proxy's work is of interest. Prints
 *
 *     COUNT RESUMED SECONDS P99_MICROSECONDS       connections that were served to the end; of them, resumed ones
 *
 * The first connection of each slot is not counted. Anything else than a whole 200 response ends the program with 1. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/bench/tcp.h"

enum { SLOTS = 16, RESPONSE_MAX = 4096, LATENCIES_MAX = 1 << 20 };

struct slot {
    int          fd;
    SSL         *ssl;
    SSL_SESSION *ticket;       /* the newest that was given to this slot */
    bool         is_asked;
    bool         is_first;
    uint64_t     began;        /* microseconds */
    size_t       received;
    char         response[RESPONSE_MAX];
};

static const char request[] = "GET /12 HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n";

static SSL_CTX *context;
static struct sockaddr_in address;
static bool is_resuming;
static uint32_t latencies[LATENCIES_MAX];
static size_t count, resumed;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int take_ticket(SSL *ssl, SSL_SESSION *session) {
    struct slot *s = SSL_get_app_data(ssl);
    SSL_SESSION_free(s->ticket);
    s->ticket = session;
    return 1; /* ours now */
}

static void make_context(void) {
    context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set1_groups_list(context, "X25519") != 1 ||
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1)
        errx(EXIT_FAILURE, "the TLS context");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, take_ticket);
}

static void begin(int epoll, struct slot *s) {
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(s->fd, F_SETFL, O_NONBLOCK) != 0)
        err(EXIT_FAILURE, "connecting");
    s->began = now();
    s->is_asked = false;
    s->received = 0;
    tcp_no_delay(s->fd);
    s->ssl = SSL_new(context);
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1 || SSL_set_tlsext_host_name(s->ssl, "bench.test") != 1)
        errx(EXIT_FAILURE, "a TLS connection");
    SSL_set_app_data(s->ssl, s);
    SSL_set_connect_state(s->ssl);
    if (is_resuming && s->ticket && SSL_set_session(s->ssl, s->ticket) != 1)
        errx(EXIT_FAILURE, "offering a ticket");
    tcp_watch(epoll, s->fd, EPOLLIN, s);
}

static void check_response(struct slot *s) {
    s->response[s->received] = 0;
    const char *body = strstr(s->response, "\r\n\r\n");
    if (strncmp(s->response, "HTTP/1.1 200 ", 13) != 0 || !body || strcmp(body + 4, "xxxxxxxxxxxx") != 0)
        errx(EXIT_FAILURE, "expected 200 and 12 bytes of the origin, got: %s", s->response);
}

static void finish(struct slot *s) {
    check_response(s);
    if (!s->is_first && count < LATENCIES_MAX) {
        latencies[count++] = (uint32_t)(now() - s->began);
        resumed += SSL_session_reused(s->ssl) == 1;
    }
    s->is_first = false;
    SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* a ticket of a session that was cut is void */
    SSL_free(s->ssl);
    close(s->fd);
}

/* True: the response has come, and its end. */
static bool go_on(struct slot *s) {
    int status = 1;
    if (!s->is_asked && (status = SSL_do_handshake(s->ssl)) == 1) {
        s->is_asked = true;
        status = SSL_write(s->ssl, request, sizeof request - 1);
    }
    while (status > 0) {
        status = SSL_read(s->ssl, s->response + s->received, (int)(RESPONSE_MAX - 1 - s->received));
        s->received += status > 0 ? (size_t)status : 0;
    }
    int reason = SSL_get_error(s->ssl, status);
    if (reason == SSL_ERROR_WANT_READ)
        return false;
    if (reason == SSL_ERROR_ZERO_RETURN)
        return true;
    ERR_print_errors_fp(stderr);
    errx(EXIT_FAILURE, "the connection was cut before close_notify (%d)", reason);
}

static void run(int epoll, struct slot *slots, uint64_t end) {
    struct epoll_event events[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        slots[i].is_first = true;
        begin(epoll, &slots[i]);
        go_on(&slots[i]);
    }
    for (int open = SLOTS; open > 0;) {
        int n = epoll_wait(epoll, events, SLOTS, 10000);
        if (n <= 0)
            errx(EXIT_FAILURE, "nothing came for ten seconds");
        for (int i = 0; i < n; i++) {
            struct slot *s = events[i].data.ptr;
            if (!go_on(s))
                continue;
            finish(s);
            if (now() >= end) {
                open--;
                continue;
            }
            begin(epoll, s);
            go_on(s);
        }
    }
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    unsigned long port = argc == 4 ? strtoul(argv[1], NULL, 10) : 0, seconds = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (port == 0 || port > UINT16_MAX || seconds == 0 || (strcmp(argv[2], "full") && strcmp(argv[2], "resumed")))
        errx(2, "usage: handshakes PORT full|resumed SECONDS");
    address = tcp_loopback((uint16_t)port);
    is_resuming = argv[2][0] == 'r';
    make_context();
    struct slot *slots = calloc(SLOTS, sizeof *slots);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!slots || epoll < 0)
        err(EXIT_FAILURE, "starting");
    uint64_t began = now();
    run(epoll, slots, began + seconds * 1000000);
    double elapsed = (double)(now() - began) / 1e6;
    qsort(latencies, count, sizeof *latencies, compare);
    printf("%zu %zu %.3f %u\n", count, resumed, elapsed, count ? latencies[count * 99 / 100] : 0);
    for (int i = 0; i < SLOTS; i++)
        SSL_SESSION_free(slots[i].ticket);
    SSL_CTX_free(context);
    free(slots);
    close(epoll);
    return 0;
}
