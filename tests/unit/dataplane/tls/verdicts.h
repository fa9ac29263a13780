/* verdicts.h — what one side says of the certificate that the other one shows; "" when it is content. */
#pragma once

#include "tests/unit/dataplane/tls/fixture.h"

/* The server shows this one from now on. */
static inline void show(struct fixture *f, const struct certificate *c) {
    char name[32];
    snprintf(name, sizeof name, "shown-%zu", f->secrets.count);
    f->certificates[0] = secret_add_pair(&f->secrets, name, c, NULL)->name;
}

static inline const char *verdict_of(struct fixture *f, int side, const char *hostname) {
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_connect(f, 1, hostname);
    link_run(l);
    assert_int_equal(l->is_done[side], !*tls_failure(l->session[side]));
    return tls_failure(l->session[side]);
}

/* The client, which asks for this name. */
static inline const char *verdict(struct fixture *f, const char *hostname) {
    return verdict_of(f, CLIENT, hostname);
}

/* A listener with these authorities, whose client shows the certificate of that secret. NULL: none. */
static inline const char *verdict_of_listener(struct fixture *f, Headgate__ServerTls__ClientCertificates how,
                                              const char *trust, const char *shown) {
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = how;
    f->server_message.client_trust = (char *)(uintptr_t)trust;
    f->client_message.certificate = (char *)(uintptr_t)shown;
    return verdict_of(f, SERVER, "site.example");
}
