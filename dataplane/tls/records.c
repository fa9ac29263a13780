#include "dataplane/tls/records.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/alloc.h"
#include "dataplane/tls/records_private.h"

enum {
    SEALED_MAX = CONTENT_MAX + 256,            /* section 5.2 */
    IDLE_MESSAGES_MAX = 32,                    /* key updates and empty records without content between them */
    CONTROL_ROOM = 2 * (RECORD_OVERHEAD + KEY_UPDATE_SIZE),
};

enum alert {
    ALERT_CLOSE_NOTIFY = 0,
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_BAD_RECORD_MAC = 20,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_DECODE_ERROR = 50,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_USER_CANCELED = 90,
};

/* ---- from the handshake ---- */

static struct traffic_secret *secret_for(struct records *r, struct str label) {
    if (str_eq(label, STR("CLIENT_TRAFFIC_SECRET_0")))
        return &r->read.secret;
    return str_eq(label, STR("SERVER_TRAFFIC_SECRET_0")) ? &r->write.secret : NULL;
}

void records_on_secret(const SSL *ssl, const char *line) {
    struct tls_session *s = SSL_get_app_data(ssl);
    struct str rest = str_of(line), label = str_cut(&rest, ' ');
    if (s->is_quic || !str_ends(label, STR("_TRAFFIC_SECRET_0")))
        return;
    str_cut(&rest, ' '); /* the client's random bytes */
    if (!s->records)
        s->records = hg_calloc(1, sizeof *s->records);
    struct traffic_secret *secret = s->records ? secret_for(s->records, label) : NULL;
    if (!secret || rest.n > 2 * SECRET_MAX || hex_decode(rest, secret->bytes, rest.n / 2) < 0)
        return;
    secret->n = (uint8_t)(rest.n / 2);
}

static uint64_t count_records(const uint8_t *p, size_t n) {
    uint64_t count = 0;
    for (size_t at = 0; at + RECORD_HEADER <= n; count++)
        at += RECORD_HEADER + ((size_t)p[at + 3] << 8 | p[at + 4]);
    return count;
}

static int set_up(struct records *r, const SSL *ssl, const struct tls_library *l) {
    bool is_384;
    uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
    const EVP_CIPHER *cipher = tls_library_record_cipher(l, suite, &is_384);
    r->digest = is_384 ? l->sha384 : l->sha256;
    if (!cipher || r->read.secret.n != EVP_MD_get_size(r->digest) || r->write.secret.n != r->read.secret.n)
        return -1;
    return traffic_keys_init(&r->read, cipher, r->digest, false) | traffic_keys_init(&r->write, cipher, r->digest, true);
}

bool records_take_over(struct tls_session *s, const uint8_t *written, size_t n) {
    struct records *r = s->records;
    bool is_ours = r && SSL_version(s->ssl) == TLS1_3_VERSION && !SSL_has_pending(s->ssl);
    if (is_ours && set_up(r, s->ssl, &s->worker->library) == 0) {
        r->write.sequence = count_records(written, n);
        SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(s->ssl);
        s->ssl = NULL;
        return true;
    }
    records_free(r);
    s->records = NULL;
    ERR_clear_error();
    return false;
}

void records_free(struct records *r) {
    if (!r)
        return;
    traffic_keys_finish(&r->read);
    traffic_keys_finish(&r->write);
    hg_free(r->body);
    hg_free(r->rest);
    hg_free(r);
}

/* ---- writing ---- */

static int write_record(struct records *r, struct tls_io *io, enum content_type type, const void *content, size_t n) {
    size_t need = n + RECORD_OVERHEAD;
    if (need > TLS_OUT_SIZE - io->out_n || traffic_keys_seal(&r->write, (uint8_t)type, content, n, io->out + io->out_n) < 0)
        return -1;
    io->out_n += need;
    return 0;
}

const uint8_t records_key_update[KEY_UPDATE_SIZE] = {24, 0, 0, 1, 0};

/* Says that our key changes, and changes it. A request of the peer's is answered once, however often it was made, and not
 * before there is something to send (RFC 8446 section 4.6.3): who reads nothing cannot make us keep answers. */
static int write_key_update(struct records *r, struct tls_io *io) {
    r->owes_update = false;
    if (write_record(r, io, CONTENT_HANDSHAKE, records_key_update, KEY_UPDATE_SIZE) < 0)
        return -1;
    return traffic_keys_update(&r->write, r->digest, true);
}

enum tls_status records_write(struct records *r, struct tls_io *io, const void *bytes, size_t n) {
    if (r->is_in_kernel || n > CONTENT_MAX || n + RECORD_OVERHEAD + CONTROL_ROOM > TLS_OUT_SIZE - io->out_n)
        return TLS_FAILED;
    if ((r->owes_update || r->write.sequence >= REKEY_AT) && write_key_update(r, io) < 0)
        return TLS_FAILED;
    return write_record(r, io, CONTENT_DATA, bytes, n) == 0 ? TLS_OK : TLS_FAILED;
}

static void write_alert(struct records *r, struct tls_io *io, enum alert alert) {
    const uint8_t content[ALERT_SIZE] = {alert == ALERT_CLOSE_NOTIFY ? 1 : 2, (uint8_t)alert};
    if (r->is_in_kernel) {
        memcpy(io->alert, content, sizeof content);
        io->has_alert = true;
        return;
    }
    /* without room the peer learns by the closed connection */
    (void)write_record(r, io, CONTENT_ALERT, content, sizeof content);
}

void records_close_notify(struct records *r, struct tls_io *io) {
    write_alert(r, io, ALERT_CLOSE_NOTIFY);
}

/* ---- reading ---- */

struct reading {
    struct records   *r;
    struct tls_io    *io;
    enum tls_failure *ret_failure;
};

static enum tls_status refuse(const struct reading *g, enum alert alert, enum tls_failure why) {
    write_alert(g->r, g->io, alert);
    *g->ret_failure = why;
    return TLS_FAILED;
}

static void take(struct tls_io *io, uint8_t *to, size_t n) {
    memcpy(to, io->in, n);
    io->in += n;
    io->in_n -= n;
}

static size_t sealed_size(const struct records *r) {
    return (size_t)r->header[3] << 8 | r->header[4];
}

static enum tls_status read_header(const struct reading *g) {
    struct records *r = g->r;
    size_t missing = RECORD_HEADER - (size_t)r->header_n;
    size_t n = g->io->in_n < missing ? g->io->in_n : missing;
    take(g->io, r->header + r->header_n, n);
    r->header_n = (uint8_t)(r->header_n + n);
    if (r->header_n < RECORD_HEADER)
        return TLS_AGAIN;
    if (r->header[0] != CONTENT_DATA) /* outside of the handshake everything is encrypted */
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    if (sealed_size(r) > SEALED_MAX)
        return refuse(g, ALERT_RECORD_OVERFLOW, TLS_FAILURE_MALFORMED);
    return sealed_size(r) > TAG_SIZE ? TLS_OK : refuse(g, ALERT_BAD_RECORD_MAC, TLS_FAILURE_BAD_RECORD);
}

/* The whole body in *ret_body: where it was received, or put together. */
static enum tls_status read_body(const struct reading *g, const uint8_t **ret_body) {
    struct records *r = g->r;
    size_t size = sealed_size(r);
    if (!r->body && g->io->in_n >= size) {
        *ret_body = g->io->in;
        g->io->in += size;
        g->io->in_n -= size;
        return TLS_OK;
    }
    if (!r->body && !(r->body = hg_malloc(size)))
        return refuse(g, ALERT_INTERNAL_ERROR, TLS_FAILURE_MEMORY);
    size_t missing = size - r->body_n, n = g->io->in_n < missing ? g->io->in_n : missing;
    take(g->io, r->body + r->body_n, n);
    r->body_n += (uint32_t)n;
    *ret_body = r->body;
    return r->body_n == size ? TLS_OK : TLS_AGAIN;
}

size_t records_kept(const struct records *r) {
    return r->body ? sealed_size(r) : 0;
}

static void forget_record(struct records *r) {
    hg_free(r->body);
    r->body = NULL;
    r->body_n = 0;
    r->header_n = 0;
}

static enum tls_status on_alert(const struct reading *g, const uint8_t *content, size_t n) {
    if (n != 2)
        return refuse(g, ALERT_DECODE_ERROR, TLS_FAILURE_MALFORMED);
    if (content[1] == ALERT_CLOSE_NOTIFY)
        return TLS_EOF;
    if (content[1] == ALERT_USER_CANCELED)
        return TLS_OK;
    *g->ret_failure = TLS_FAILURE_REFUSED_BY_PEER; /* an error alert is not answered */
    return TLS_FAILED;
}

/* KeyUpdate, which may come in parts and ends its record, since the next one has another key. Nothing else. */
static enum tls_status on_handshake(const struct reading *g, const uint8_t *content, size_t n) {
    static const uint8_t expected[] = {24, 0, 0, 1};
    struct records *r = g->r;
    if (n == 0 || n > (size_t)(KEY_UPDATE_SIZE - r->message_n))
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    memcpy(r->message + r->message_n, content, n);
    r->message_n = (uint8_t)(r->message_n + n);
    if (memcmp(r->message, expected, r->message_n < sizeof expected ? r->message_n : sizeof expected) != 0)
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    if (r->message_n < KEY_UPDATE_SIZE)
        return TLS_OK;
    r->message_n = 0;
    if (r->message[4] > 1)
        return refuse(g, ALERT_DECODE_ERROR, TLS_FAILURE_MALFORMED);
    r->owes_update |= r->message[4] == 1;
    return traffic_keys_update(&r->read, r->digest, false) == 0 ? TLS_OK
                                                                : refuse(g, ALERT_INTERNAL_ERROR, TLS_FAILURE_MEMORY);
}

/* What is not data. TLS_OK: go on reading. */
static enum tls_status on_control(const struct reading *g, uint8_t type, const uint8_t *content, size_t n) {
    if (++g->r->idle_messages > IDLE_MESSAGES_MAX)
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    switch (type) {
    case CONTENT_ALERT:
        return on_alert(g, content, n);
    case CONTENT_HANDSHAKE:
        return on_handshake(g, content, n);
    case CONTENT_DATA:
        return TLS_OK; /* empty */
    default:
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    }
}

/* Decrypts into `plain`, strips the padding, and sorts by type. *ret: bytes of data, 0 for another type. */
static enum tls_status open_record(const struct reading *g, const uint8_t *body, uint8_t *plain, size_t *ret) {
    struct records *r = g->r;
    size_t n = sealed_size(r) - TAG_SIZE;
    if (traffic_keys_open(&r->read, r->header, body, n + TAG_SIZE, plain) < 0)
        return refuse(g, ALERT_BAD_RECORD_MAC, TLS_FAILURE_BAD_RECORD);
    while (n > 0 && plain[n - 1] == 0)
        n--;
    if (n == 0)
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    if (--n > CONTENT_MAX)
        return refuse(g, ALERT_RECORD_OVERFLOW, TLS_FAILURE_MALFORMED);
    uint8_t type = plain[n];
    *ret = 0;
    if (r->message_n > 0 && type != CONTENT_HANDSHAKE)
        return refuse(g, ALERT_UNEXPECTED_MESSAGE, TLS_FAILURE_MALFORMED);
    if (type != CONTENT_DATA || n == 0)
        return on_control(g, type, plain, n);
    r->idle_messages = 0;
    *ret = n;
    return TLS_OK;
}

static size_t take_rest(struct records *r, uint8_t *room, size_t n) {
    size_t left = r->rest_n - r->rest_at, part = n < left ? n : left;
    memcpy(room, r->rest + r->rest_at, part);
    r->rest_at += (uint32_t)part;
    if (r->rest_at == r->rest_n) {
        hg_free(r->rest);
        r->rest = NULL;
        r->rest_at = r->rest_n = 0;
    }
    return part;
}

/* One record; *ret bytes of data stand in `room`, or in `rest` where room is short. */
static enum tls_status read_record(const struct reading *g, uint8_t *room, size_t n, size_t *ret) {
    struct records *r = g->r;
    const uint8_t *body = NULL;
    size_t got = 0;
    enum tls_status status = r->header_n < RECORD_HEADER ? read_header(g) : TLS_OK;
    if (status == TLS_OK)
        status = read_body(g, &body);
    if (status != TLS_OK)
        return status;
    size_t need = sealed_size(r) - TAG_SIZE;
    uint8_t *plain = n >= need ? room : hg_malloc(need);
    status = plain ? open_record(g, body, plain, &got) : refuse(g, ALERT_INTERNAL_ERROR, TLS_FAILURE_MEMORY);
    forget_record(r);
    if (plain != room && status == TLS_OK && got > 0) {
        r->rest = plain;
        r->rest_n = (uint32_t)got;
        got = take_rest(r, room, n);
    } else if (plain != room)
        hg_free(plain);
    *ret = got;
    return status;
}

enum tls_status records_read(struct records *r, struct tls_io *io, uint8_t *room, size_t n, size_t *ret,
                             enum tls_failure *ret_failure) {
    const struct reading g = {r, io, ret_failure};
    size_t got = r->rest ? take_rest(r, room, n) : 0;
    enum tls_status status = TLS_OK;
    while (status == TLS_OK && got == 0)
        status = read_record(&g, room, n, &got);
    if (status == TLS_OK)
        *ret = got;
    return status;
}
