/* labels: threads
 *
 * Workers shake hands with the same definitions while the main thread builds and releases others that share their
 * secrets. */
#include "tests/unit/dataplane/tls/fixture.h"

#include <pthread.h>
#include <stdatomic.h>

enum { HANDSHAKES = 30, SERVERS = 2 };

struct seat {
    pthread_t           thread;
    struct fixture     *fixture;
    struct worker      *worker;
    struct tls_server **servers;
    SSL_CTX            *clients;
    OSSL_LIB_CTX       *library;
    int                 done;
};

/* No cmocka below: its assertions belong to the main thread. */
static void *serve(void *arg) {
    struct seat *seat = arg;
    struct link kept = {0};
    for (int i = 0; i < HANDSHAKES; i++) {
        struct link l = {.worker = {NULL, seat->worker}};
        l.session[SERVER] = tls_session_accept(seat->worker, seat->servers[i % SERVERS]);
        l.raw = raw_client(seat->clients);
        const char *name = i % 3 ? "site.example" : "visitor.example";
        SSL_set_tlsext_host_name(l.raw, name);
        link_run(&l);
        seat->done += l.is_done[SERVER];
        if (i == 0)
            kept = l; /* lives on while the others come and go */
        else
            link_finish(&l);
    }
    link_finish(&kept);
    return NULL;
}

static void seat_start(struct seat *seat, struct fixture *f, unsigned index, struct tls_server **servers) {
    *seat = (struct seat){.fixture = f, .worker = &f->workers[index], .servers = servers, .library = OSSL_LIB_CTX_new()};
    seat->clients = SSL_CTX_new_ex(seat->library, NULL, TLS_client_method());
    SSL_CTX_set_session_cache_mode(seat->clients, SSL_SESS_CACHE_OFF);
    assert_int_equal(pthread_create(&seat->thread, NULL, serve, seat), 0);
}

static void seat_join(struct seat *seat) {
    pthread_join(seat->thread, NULL);
    SSL_CTX_free(seat->clients);
    OSSL_LIB_CTX_free(seat->library);
    assert_int_equal(seat->done, HANDSHAKES);
}

static struct tls_server *build(struct fixture *f, unsigned lifetime) {
    f->server_message.has_session_lifetime = 1;
    f->server_message.session_lifetime = 3600000000u + lifetime;
    struct tls_server *s = tls_server_build(&f->server_message, TLS_HTTP1 | TLS_HTTP2, &f->lookup, &f->server_place);
    assert_non_null(s);
    return s;
}

static void test_workers(void **state) {
    struct fixture *f = *state;
    char *list[] = {(char *)"site", (char *)"visitor"};
    f->server_message.certificates = list;
    f->server_message.n_certificates = 2;
    struct tls_server *servers[SERVERS] = {build(f, 0), build(f, 1)};
    struct seat seats[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++)
        seat_start(&seats[i], f, i, servers);
    for (unsigned i = 0; i < 20; i++) {
        struct tls_server *another = build(f, 2 + i);
        tls_server_unref(another);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        seat_join(&seats[i]);
    for (unsigned i = 0; i < SERVERS; i++)
        tls_server_unref(servers[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {TLS_TEST(test_workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
