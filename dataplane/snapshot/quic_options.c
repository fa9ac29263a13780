#include "dataplane/snapshot/quic_options.h"

#include <xxhash.h>

#include "common/str.h"

enum { OCTETS_MIN = 8, OCTETS_MAX = 16, CONFIG_MAX = 6 };

static int decode(struct str text, uint8_t *out, size_t n) {
    return text.n == 2 * n ? hex_decode(text, out, n) : -1;
}

static int fill_server_id(struct quic_server_id *s, const Headgate__QuicServerId *m) {
    struct str id = str_of(m->id ? m->id : ""), key = str_of(m->key ? m->key : "");
    size_t n = id.n / 2;
    if (n == 0 || n > QUIC_SERVER_ID_MAX || decode(id, s->id, n) < 0 || m->config > CONFIG_MAX)
        return -1;
    if (m->nonce_length > OCTETS_MAX || n + m->nonce_length > OCTETS_MAX || n + m->nonce_length < OCTETS_MIN)
        return -1;
    s->id_n = (uint8_t)n;
    s->nonce_n = (uint8_t)m->nonce_length;
    s->config = (uint8_t)m->config;
    s->has_key = m->key != NULL;
    return s->has_key ? decode(key, s->key, sizeof s->key) : 0;
}

/* Who sends early data goes by the SETTINGS of the connection before (RFC 9114 section 7.2.4.2). */
static uint64_t hash_settings(const Headgate__Http3Options *h) {
    const uint64_t settings[] = {h->qpack_table_capacity, h->qpack_blocked_streams, h->extended_connect};
    return XXH3_64bits(settings, sizeof settings);
}

int quic_options_init(struct quic_options *options, const Headgate__QuicOptions *quic, const Headgate__Http3Options *http3,
                      uint64_t handshake_timeout) {
    static const Headgate__QuicOptions quic_defaults = HEADGATE__QUIC_OPTIONS__INIT;
    static const Headgate__Http3Options http3_defaults = HEADGATE__HTTP3_OPTIONS__INIT;
    const Headgate__QuicOptions *q = quic ? quic : &quic_defaults;
    const Headgate__Http3Options *h = http3 ? http3 : &http3_defaults;
    *options = (struct quic_options){
        .retry = q->retry == HEADGATE__QUIC_OPTIONS__RETRY__NEVER    ? QUIC_RETRY_NEVER
                 : q->retry == HEADGATE__QUIC_OPTIONS__RETRY__ALWAYS ? QUIC_RETRY_ALWAYS
                                                                     : QUIC_RETRY_UNDER_LOAD,
        .retry_above = q->retry_above,
        .max_handshakes = q->max_handshakes,
        .handshake_timeout = handshake_timeout,
        .idle_timeout = q->idle_timeout,
        .keep_alive = q->keep_alive,
        .congestion = q->congestion_control == HEADGATE__QUIC_OPTIONS__CONGESTION_CONTROL__BBR ? QUIC_BBR : QUIC_CUBIC,
        .max_udp_payload = q->has_max_udp_payload ? q->max_udp_payload : 0,
        .initial_stream_window = h->initial_stream_window,
        .initial_connection_window = h->initial_connection_window,
        .max_concurrent_streams = h->max_concurrent_streams,
        .early_data = q->early_data,
        .early_context = hash_settings(h),
        .active_migration = q->active_migration,
    };
    return q->server_id ? fill_server_id(&options->server_id, q->server_id) : 0;
}
