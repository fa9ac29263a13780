/* fixture.h — an authority, a server's and a client's certificate, and three workers: what most tests begin with. */
#pragma once

#include "tests/unit/common/cmocka_all.h"

#include "tests/unit/dataplane/tls/certificates.h"
#include "tests/unit/dataplane/tls/link.h"

#include "dataplane/tls/client.h"
#include "dataplane/tls/server.h"

enum { WORKERS = 3 };

struct fixture {
    struct worker        workers[WORKERS];
    struct stats         stats[WORKERS];
    struct certificate   ca, site, visitor;
    struct known_secrets secrets;
    struct tls_secrets   lookup;
    struct error_list    errors;
    struct tls_place     server_place, client_place;
    Headgate__ServerTls  server_message;
    Headgate__ClientTls  client_message;
    char                *certificates[1];
    struct tls_server   *server;
    struct tls_client   *client;
    struct link          link;
};

static inline void fixture_init(struct fixture *f) {
    *f = (struct fixture){0};
    tls_set_worker_count(WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        f->workers[i].index = i;
        f->workers[i].stats = &f->stats[i];
    }
    secrets_init(&f->secrets);
    f->ca = certificate_make(&(struct certificate_wish){.name = "Test CA", .is_ca = true});
    f->site = certificate_make(&(struct certificate_wish){.name = "site", .alternatives = "DNS:site.example,IP:127.0.0.1",
                                                          .issuer = &f->ca});
    f->visitor = certificate_make(&(struct certificate_wish){
        .name = "visitor \"one\"", .alternatives = "URI:spiffe://a/b;c,DNS:visitor.example", .issuer = &f->ca});
    secret_add_pair(&f->secrets, "site", &f->site, NULL);
    secret_add_pair(&f->secrets, "visitor", &f->visitor, NULL);
    secret_add_trust(&f->secrets, "ca", &f->ca);
    secret_add_tickets(&f->secrets, 2, 2);
    f->lookup = (struct tls_secrets){secrets_find, &f->secrets};
    f->server_place = (struct tls_place){"listener/web", "tls", &f->errors};
    f->client_place = (struct tls_place){"cluster/app", "tls", &f->errors};
    headgate__server_tls__init(&f->server_message);
    headgate__client_tls__init(&f->client_message);
    f->certificates[0] = (char *)"site";
    f->server_message.certificates = f->certificates;
    f->server_message.n_certificates = 1;
    f->client_message.trust = (char *)"ca";
}

static inline void fixture_print(const struct fixture *f) {
    struct strbuf text = {0};
    for (size_t i = 0; i < f->errors.count; i++) {
        error_format(&f->errors.items[i], &text);
        strbuf_putc(&text, '\n');
    }
    print_message("%s", text.p ? text.p : "");
    strbuf_finish(&text);
}

/* The definitions by the messages; the former ones go. */
static inline void fixture_build(struct fixture *f, unsigned server_protocols, enum tls_protocols client_protocol) {
    tls_server_unref(f->server);
    tls_client_unref(f->client);
    f->server = tls_server_build(&f->server_message, server_protocols, &f->lookup, &f->server_place);
    f->client = tls_client_build(&f->client_message, client_protocol, &f->lookup, &f->client_place);
    fixture_print(f);
    assert_non_null(f->server);
    assert_non_null(f->client);
}

/* Workers: the client's is 0, the server's as said. */
static inline struct link *fixture_connect(struct fixture *f, unsigned server_worker, const char *hostname) {
    struct link *l = &f->link;
    link_finish(l);
    l->worker[CLIENT] = &f->workers[0];
    l->worker[SERVER] = &f->workers[server_worker];
    l->session[CLIENT] = tls_session_connect(l->worker[CLIENT], f->client, str_of(hostname), f);
    l->session[SERVER] = tls_session_accept(l->worker[SERVER], f->server);
    assert_non_null(l->session[CLIENT]);
    assert_non_null(l->session[SERVER]);
    return l;
}

static inline struct link *fixture_raw(struct fixture *f, SSL_CTX *context) {
    struct link *l = &f->link;
    link_finish(l);
    l->worker[SERVER] = &f->workers[1];
    l->session[SERVER] = tls_session_accept(l->worker[SERVER], f->server);
    l->raw = raw_client(context);
    assert_non_null(l->session[SERVER]);
    return l;
}

static inline void fixture_finish(struct fixture *f) {
    link_finish(&f->link);
    for (unsigned i = 0; i < WORKERS; i++)
        tls_io_free(&f->workers[i]);
    tls_server_unref(f->server);
    tls_client_unref(f->client);
    tls_libraries_free();
    certificate_finish(&f->ca);
    certificate_finish(&f->site);
    certificate_finish(&f->visitor);
    secrets_finish(&f->secrets);
    error_list_finish(&f->errors);
    ERR_clear_error();
}

static inline int fixture_setup(void **state) {
    *state = malloc(sizeof(struct fixture));
    assert_non_null(*state);
    fixture_init(*state);
    return 0;
}

static inline int fixture_teardown(void **state) {
    fixture_finish(*state);
    free(*state);
    return 0;
}

#define TLS_TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

static inline bool fixture_has_fault(const struct fixture *f, const char *resource, const char *path, const char *word) {
    for (size_t i = 0; i < f->errors.count; i++) {
        const struct error *e = &f->errors.items[i];
        if (e->resource && strcmp(e->resource, resource) == 0 && strcmp(e->path, path) == 0 && strstr(e->message, word))
            return true;
    }
    fixture_print(f);
    return false;
}
