/* The way of a ClientHello: whatever a client sends first is answered by an alert or by our flight, in any cutting
 * of the input. The first byte chooses the listener (protocols, names, client certificates) and how the bytes are
 * cut; the rest is what the client sends. */
#include "tests/unit/dataplane/tls/fixture.h"

static struct fixture fixture;
static struct tls_server *servers[4];

/* Certificates are made anew in each run; no input depends on them. */
static void set_up(void) {
    char *list[] = {(char *)"site", (char *)"other"};
    fixture_init(&fixture);
    struct certificate other = certificate_make(&(struct certificate_wish){.name = "x",
                                                                           .alternatives = "DNS:*.other.example"});
    secret_add_pair(&fixture.secrets, "other", &other, NULL);
    certificate_finish(&other);
    fixture.server_message.certificates = list;
    fixture.server_message.n_certificates = 2;
    for (unsigned i = 0; i < 4; i++) {
        fixture.server_message.has_require_sni_match = 1;
        fixture.server_message.require_sni_match = i & 1;
        fixture.server_message.has_client_certificates = 1;
        fixture.server_message.client_certificates = i & 2 ? HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED
                                                           : HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IGNORED;
        fixture.server_message.client_trust = (char *)"ca";
        servers[i] = tls_server_build(&fixture.server_message, i == 0 ? TLS_HTTP2 : TLS_HTTP1 | TLS_HTTP2, &fixture.lookup,
                                      &fixture.server_place);
        assert_non_null(servers[i]);
    }
}

static enum tls_status feed(struct tls_session *s, struct tls_io *io, const uint8_t *bytes, size_t n) {
    uint8_t room[256];
    size_t got;
    memcpy(io->in_buffer, bytes, n);
    io->in = io->in_buffer;
    io->in_n = n;
    enum tls_status status = tls_handshake(s);
    while (status == TLS_OK)
        status = tls_read(s, room, sizeof room, &got);
    if (status == TLS_AGAIN && io->in_n != 0)
        abort(); /* nothing may be left behind */
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!servers[0])
        set_up();
    if (size < 1 || size > 100000)
        return 0;
    struct worker *w = &fixture.workers[1];
    struct tls_io *io = tls_io_of(w);
    struct tls_session *s = tls_session_accept(w, servers[bytes[0] & 3]);
    size_t step = bytes[0] >> 2 ? (size_t)(bytes[0] >> 2) : size;
    enum tls_status status = TLS_AGAIN;
    for (size_t at = 1; at < size && status == TLS_AGAIN; at += step)
        status = feed(s, io, bytes + at, size - at < step ? size - at : step);
    if ((status == TLS_FAILED) != (*tls_failure(s) != '\0') || ERR_peek_error() != 0)
        abort();
    tls_close_notify(s);
    tls_session_free(s);
    io->out_n = io->in_n = 0;
    return 0;
}
