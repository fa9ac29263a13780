#include "dataplane/tls/identity.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "common/alloc.h"

static void add_hash(struct strbuf *out, X509 *x, const struct tls_library *l) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned n = 0;
    if (X509_digest(x, l->sha256, digest, &n) == 1)
        hex_encode(digest, n, hex);
    strbuf_printf(out, "Hash=%s", hex);
}

/* RFC 2253, which writes control characters and what is not ASCII as \XX; then as a quoted string. */
static void add_subject(struct strbuf *out, X509 *x) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) < 0) {
        BIO_free(bio);
        out->failed = true;
        return;
    }
    long n = BIO_get_mem_data(bio, &text);
    strbuf_puts(out, ";Subject=\"");
    for (long i = 0; i < n; i++) {
        if (text[i] == '"' || text[i] == '\\')
            strbuf_putc(out, '\\');
        strbuf_putc(out, text[i] < ' ' || text[i] > '~' ? '?' : text[i]);
    }
    strbuf_putc(out, '"');
    BIO_free(bio);
}

/* What would end the value, or the field, is percent-encoded. */
static void add_name(struct strbuf *out, const char *key, const ASN1_STRING *s) {
    const unsigned char *p = ASN1_STRING_get0_data(s);
    int n = ASN1_STRING_length(s);
    strbuf_printf(out, ";%s=", key);
    for (int i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] > '~' || strchr(";,\"=%\\", p[i]))
            strbuf_printf(out, "%%%02X", p[i]);
        else
            strbuf_putc(out, (char)p[i]);
}

static void add_names(struct strbuf *out, const X509 *x) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t start = out->n;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
            const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
            size_t before = out->n;
            if (g->type == (pass == 0 ? GEN_URI : GEN_DNS))
                add_name(out, pass == 0 ? "URI" : "DNS", g->d.ia5);
            if (out->n - start > IDENTITY_NAMES_MAX)
                out->n = before;
        }
    GENERAL_NAMES_free(names);
}

static void add_base64(struct strbuf *out, X509 *x) {
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    size_t encoded = n > 0 ? ((size_t)n + 2) / 3 * 4 : 0;
    char *text = encoded ? hg_malloc(encoded + 1) : NULL;
    if (text)
        strbuf_add(out, text, (size_t)EVP_EncodeBlock((unsigned char *)text, der, n));
    else
        out->failed = true;
    hg_free(text);
    OPENSSL_free(der);
}

int tls_identity_fill(struct tls_session *s, X509 *certificate) {
    struct strbuf out = {0};
    add_hash(&out, certificate, &s->worker->library);
    add_subject(&out, certificate);
    add_names(&out, certificate);
    size_t text_n = out.n;
    strbuf_putc(&out, '\0');
    add_base64(&out, certificate);
    size_t all = out.n;
    s->peer = strbuf_take(&out);
    if (!s->peer)
        return -1;
    s->peer_text_n = (uint32_t)text_n;
    s->peer_base64_n = (uint32_t)(all - text_n - 1);
    return 0;
}
