#include "dataplane/snapshot/tls_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/alloc.h"
#include "common/file_stamp.h"
#include "common/log.h"

enum { FILES = 3 };

struct channel_tls {
    struct channel_tls_files files;
    SSL_CTX                *context;
    struct file_stamp       stamps[FILES];  /* of the files when they were read last */
};

struct tls_stream {
    SSL          *ssl;
    BIO          *in, *out;       /* the SSL's */
    struct strbuf waiting;        /* plain bytes, until the handshake is over */
};

static int fail(struct error_list *errors, const char *what, const char *file) {
    char reason[160];
    unsigned long code = ERR_get_error();
    ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
    struct error *e = error_addf(errors, ERROR_IO, "%s: %s", what, code ? reason : "the peer broke off");
    if (file)
        error_set_place(errors, e, file, 0, 0);
    return -1;
}

/* ---- the files ---- */

static const unsigned char protocols[] = {2, 'h', '2'};

static int load_files(SSL_CTX *context, const struct channel_tls_files *files, struct error_list *errors) {
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        return fail(errors, "the certificate cannot be used", files->certificate);
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1)
        return fail(errors, "the key cannot be used", files->key);
    if (SSL_CTX_check_private_key(context) != 1)
        return fail(errors, "the key is not that of the certificate", files->key);
    if (SSL_CTX_load_verify_locations(context, files->ca, NULL) != 1)
        return fail(errors, "the authorities cannot be used", files->ca);
    return 0;
}

static int set_rules(SSL_CTX *context, struct error_list *errors) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(context, protocols, sizeof protocols) != 0)
        return fail(errors, "TLS cannot be set up", NULL);
    return 0;
}

static SSL_CTX *load(const struct channel_tls_files *files, struct error_list *errors) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        error_addf(errors, ERROR_MEMORY, "out of memory");
    else if (set_rules(context, errors) == 0 && load_files(context, files, errors) == 0)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

static bool have_changed(struct channel_tls *t) {
    const char *const paths[FILES] = {t->files.certificate, t->files.key, t->files.ca};
    bool is_changed = false;
    for (int i = 0; i < FILES; i++) {
        struct file_stamp now = file_stamp_of(paths[i]);
        is_changed |= !file_stamp_equal(&now, &t->stamps[i]);
        t->stamps[i] = now;
    }
    return is_changed;
}

/* What cannot be used is told once; it is tried again when the files change again. */
static void refresh(struct channel_tls *t) {
    struct error_list errors = {0};
    struct strbuf text = {0};
    if (!have_changed(t))
        return;
    SSL_CTX *context = load(&t->files, &errors);
    if (context) {
        SSL_CTX_free(t->context); /* connections that are open hold it */
        t->context = context;
        log_info("certificates are read again", LOG_S("certificate", t->files.certificate));
    } else {
        if (errors.count)
            error_format(&errors.items[0], &text);
        log_warning("the certificates of before are used on", LOG_S("reason", text.p ? text.p : "out of memory"));
    }
    strbuf_finish(&text);
    error_list_finish(&errors);
}

struct channel_tls *channel_tls_create(const struct channel_tls_files *files, struct error_list *errors) {
    struct channel_tls *t = hg_calloc(1, sizeof *t);
    if (!t) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    t->files = *files;
    have_changed(t);
    t->context = load(files, errors);
    if (t->context)
        return t;
    channel_tls_destroy(t);
    return NULL;
}

void channel_tls_destroy(struct channel_tls *t) {
    if (!t)
        return;
    SSL_CTX_free(t->context);
    hg_free(t);
}

/* ---- a connection ---- */

static int make_bios(struct tls_stream *s) {
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    if (s->in && s->out) {
        SSL_set_bio(s->ssl, s->in, s->out);
        return 0;
    }
    BIO_free(s->in);
    BIO_free(s->out);
    return -1;
}

struct tls_stream *tls_stream_create(struct channel_tls *t) {
    struct tls_stream *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    refresh(t);
    s->ssl = SSL_new(t->context);
    if (s->ssl && make_bios(s) == 0 && SSL_set1_host(s->ssl, t->files.server_name) == 1 &&
        SSL_set_tlsext_host_name(s->ssl, t->files.server_name) == 1) {
        SSL_set_connect_state(s->ssl);
        return s;
    }
    tls_stream_destroy(s);
    return NULL;
}

void tls_stream_destroy(struct tls_stream *s) {
    if (!s)
        return;
    SSL_free(s->ssl);
    strbuf_finish(&s->waiting);
    hg_free(s);
}

/* What OpenSSL's last call means: 0, it wants more bytes; -1, it is over. */
static int check(struct tls_stream *s, int result, const char *what, struct error_list *errors) {
    int error = SSL_get_error(s->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : fail(errors, what, NULL);
}

static int send_waiting(struct tls_stream *s) {
    if (s->waiting.n == 0 || !SSL_is_init_finished(s->ssl))
        return 0;
    int result = SSL_write(s->ssl, s->waiting.p, (int)s->waiting.n);
    if (result <= 0)
        return -1; /* a memory BIO takes everything: it is out of memory, or the session is over */
    strbuf_finish(&s->waiting);
    return 0;
}

static int read_plain(struct tls_stream *s, struct strbuf *plain, struct error_list *errors) {
    char bytes[16384];
    int n;
    while ((n = SSL_read(s->ssl, bytes, sizeof bytes)) > 0)
        strbuf_add(plain, bytes, (size_t)n);
    if (plain->failed) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        return -1;
    }
    return check(s, n, "the TLS connection is over", errors);
}

int tls_stream_receive(struct tls_stream *s, const uint8_t *bytes, size_t size, struct strbuf *plain,
                       struct error_list *errors) {
    ERR_clear_error();
    if (BIO_write(s->in, bytes, (int)size) != (int)size)
        return fail(errors, "out of memory", NULL);
    if (!SSL_is_init_finished(s->ssl)) {
        int result = SSL_do_handshake(s->ssl);
        if (result <= 0)
            return check(s, result, "the TLS handshake failed", errors);
    }
    if (send_waiting(s) < 0)
        return fail(errors, "out of memory", NULL);
    return read_plain(s, plain, errors);
}

int tls_stream_send(struct tls_stream *s, const uint8_t *plain, size_t size) {
    ERR_clear_error();
    strbuf_add(&s->waiting, plain, size);
    return s->waiting.failed ? -1 : send_waiting(s);
}

/* The first call begins the handshake. */
int tls_stream_output(struct tls_stream *s, struct strbuf *wire) {
    char bytes[16384];
    int n;
    if (!SSL_is_init_finished(s->ssl))
        SSL_do_handshake(s->ssl); /* what is wrong is seen when the peer's bytes are read */
    while ((n = BIO_read(s->out, bytes, sizeof bytes)) > 0)
        strbuf_add(wire, bytes, (size_t)n);
    ERR_clear_error();
    return wire->failed ? -1 : 0;
}
