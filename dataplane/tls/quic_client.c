#include "dataplane/tls/quic_client.h"

#include <errno.h>

#include <openssl/err.h>

#include "dataplane/tls/client_private.h"
#include "dataplane/tls/quic.h"
#include "dataplane/tls/session_private.h"

/* 0, or an errno. */
static int prepare(struct tls_session *s, ngtcp2_conn *c) {
    if (tls_quic_attach(s, c) < 0 || ngtcp2_crypto_ossl_configure_client_session(s->ssl) != 0)
        return ENOMEM;
    if (s->failure == TLS_FAILURE_NONE)
        return 0;
    tls_session_fail(s, s->failure);
    return EPROTO;
}

struct tls_session *tls_quic_connect(struct worker *w, struct tls_client *client, struct str hostname, const void *endpoint,
                                     ngtcp2_conn *c) {
    struct tls_session *s = tls_session_make_client(w, client, hostname, endpoint, true);
    int error = s ? prepare(s, c) : ENOMEM;
    ERR_clear_error();
    if (error == 0)
        return s;
    tls_session_free(s);
    errno = error;
    return NULL;
}
