/* Records after the handshake, as a client that holds the keys may send them. The input is a list of: type, two
 * bytes of length, content (zeros where the input ends); type 255 sends that many bytes unencrypted; type 254
 * changes the client's key. The first byte says how the bytes are cut and how much room a read has. */
#include "tests/unit/dataplane/tls/fixture.h"

#include "dataplane/tls/keys.h"
#include "dataplane/tls/session_private.h"

static struct fixture fixture;
static SSL_CTX *clients;
static struct traffic_secret client_secret;

static void note_secret(const SSL *ssl, const char *line) {
    (void)ssl;
    struct str rest = str_of(line);
    if (!str_eq(str_cut(&rest, ' '), STR("CLIENT_TRAFFIC_SECRET_0")))
        return;
    str_cut(&rest, ' ');
    client_secret.n = (uint8_t)(rest.n / 2);
    if (hex_decode(rest, client_secret.bytes, client_secret.n) < 0)
        abort();
}

static void set_up(void) {
    fixture_init(&fixture);
    fixture_build(&fixture, TLS_HTTP1, TLS_HTTP1);
    clients = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_ciphersuites(clients, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(clients, "X25519");
    SSL_CTX_set_keylog_callback(clients, note_secret);
}

struct input {
    const uint8_t *p;
    size_t         n;
};

static size_t take(struct input *in, uint8_t *to, size_t n) {
    size_t part = n < in->n ? n : in->n;
    memset(to, 0, n);
    if (part)
        memcpy(to, in->p, part);
    in->p += part;
    in->n -= part;
    return part;
}

static void add_record(struct strbuf *wire, struct traffic_keys *keys, struct input *in) {
    static uint8_t content[65536], out[65536 + 32];
    uint8_t head[3];
    take(in, head, 3);
    size_t n = (size_t)head[1] << 8 | head[2];
    take(in, content, n);
    if (head[0] == 255)
        strbuf_add(wire, content, n);
    else if (head[0] == 254)
        traffic_keys_update(keys, EVP_sha256(), true);
    else if (traffic_keys_seal(keys, head[0], content, n, out) == 0)
        strbuf_add(wire, out, n + 1 + TAG_SIZE + RECORD_HEADER);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!clients)
        set_up();
    if (size < 2 || size > 4000)
        return 0;
    struct link *l = fixture_raw(&fixture, clients);
    link_run(l);
    struct traffic_keys keys = {.secret = client_secret};
    if (!l->is_done[SERVER] || traffic_keys_init(&keys, EVP_aes_128_gcm(), EVP_sha256(), true) < 0)
        abort();
    l->step = bytes[0] & 15 ? (size_t)(bytes[0] & 15) * 37 : 0;
    l->room = bytes[0] >> 4 ? (size_t)(bytes[0] >> 4) * 11 : 0;
    struct input in = {bytes + 1, size - 1};
    for (int i = 0; in.n && i < 200; i++)
        add_record(&l->wire[SERVER], &keys, &in);
    while (link_moves(l, SERVER))
        ;
    if ((l->status[SERVER] == TLS_FAILED) != (*tls_failure(l->session[SERVER]) != '\0') || ERR_peek_error() != 0)
        abort();
    if (l->status[SERVER] == TLS_AGAIN && fixture.workers[1].tls->in_n != 0)
        abort();
    traffic_keys_finish(&keys);
    link_finish(l);
    return 0;
}
