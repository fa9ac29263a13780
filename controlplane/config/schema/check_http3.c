#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_http3.h"

static void conflict(struct fill *f, const struct fill_at *at, const char *key, const char *message, const char *expected) {
    struct fill_at below = fill_down(at, key);
    error_set_expected(f->errors, fill_report_key(f, &below, ERROR_CONFLICT, "%s", message), expected, NULL);
}

enum { OCTETS_MIN = 8, OCTETS_MAX = 16 };

/* A connection ID has 20 octets at most, of which others are ours; fewer than 8 could be guessed. */
void check_quic_server_id(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__QuicServerId *s = (const Headgate__QuicServerId *)m;
    size_t n = strlen(s->id) / 2 + s->nonce_length;
    if (n >= OCTETS_MIN && n <= OCTETS_MAX)
        return;
    struct fill_at below = fill_down(at, "nonce-length");
    struct error *e = fill_report_key(f, &below, ERROR_RANGE, "id and nonce have %zu octets together", n);
    error_set_expected(f->errors, e, "8 to 16 octets", NULL);
}

/* ---- what HTTP/3 needs ---- */

static void check_tls(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    struct fill_at tls = fill_down(at, "tls"), quic = fill_down(at, "quic");
    if (!listener->tls)
        conflict(f, at, "protocols", "there is no HTTP/3 without TLS", "tls beside it, or protocols without http3");
    else if (listener->tls->max_version < HEADGATE__TLS_VERSION__TLS_1_3)
        conflict(f, &tls, "max-version", "HTTP/3 is TLS 1.3 or nothing", "max-version: \"1.3\", or protocols without http3");
    else if (listener->quic && listener->quic->early_data && !listener->tls->tickets)
        conflict(f, &quic, "early-data", "early data needs tickets, and tls has tickets: false", "tickets: true");
}

static void check_addresses(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    struct fill_at addresses = fill_down(at, "address");
    for (size_t i = 0; i < listener->n_addresses; i++) {
        if (!str_starts(str_of(listener->addresses[i]), STR("unix:")))
            continue;
        struct fill_at address = addresses.node->type == TREE_LIST ? fill_down_to(&addresses, i) : addresses;
        struct error *e = fill_report(f, &address, ERROR_CONFLICT, "there is no HTTP/3 at a Unix-domain address");
        error_set_expected(f->errors, e, "an IP address with a port, or protocols without http3", NULL);
    }
}

void check_http3(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    struct fill_at proxy = fill_down(at, "proxy-protocol");
    check_tls(f, at, listener);
    check_addresses(f, at, listener);
    if (listener->proxy_protocol && listener->proxy_protocol->mode == HEADGATE__PROXY_PROTOCOL__MODE__ACCEPT)
        fill_warn(f, &proxy, "proxy-protocol has no effect on HTTP/3: over QUIC a client is who its packets come from");
}

void check_without_http3(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    struct fill_at alt_svc = fill_down(at, "alt-svc");
    if (listener->http3)
        conflict(f, at, "http3", "the listener does not speak HTTP/3", "http3 among its protocols");
    if (listener->quic)
        conflict(f, at, "quic", "the listener does not speak HTTP/3", "http3 among its protocols");
    if (!listener->alt_svc || listener->alt_svc->has_port)
        return;
    struct error *e = fill_report(f, &alt_svc, ERROR_MISSING, "the key \"port\" is missing: HTTP/3 is not served here");
    error_set_expected(f->errors, e, "the port where it is, or http3 among the listener's protocols", NULL);
}
