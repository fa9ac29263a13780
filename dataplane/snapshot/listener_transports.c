#include "dataplane/snapshot/listener_transports.h"

#include "dataplane/snapshot/quic_options.h"

/* TCP is for requests and for what is relayed; UDP for HTTP/3, and for QUIC that is passed through. */
unsigned listener_transports(const Headgate__Listener *m) {
    bool has_more = m->route_table || m->scoped_routes || m->tcp;
    unsigned transports = m->quic_pass ? LISTENS_ON_UDP : 0;
    if (m->n_protocols == 0 && (has_more || !m->quic_pass))
        transports |= LISTENS_ON_TCP;
    for (size_t i = 0; i < m->n_protocols; i++)
        transports |= m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP3 ? LISTENS_ON_UDP : LISTENS_ON_TCP;
    return transports;
}

static uint32_t bounded(uint64_t bytes) {
    return bytes < HOLDER_UDP_BUFFER_MAX ? (uint32_t)bytes : HOLDER_UDP_BUFFER_MAX;
}

struct holder_udp_wish udp_wish(const Headgate__Listener *m) {
    static const Headgate__QuicOptions defaults = HEADGATE__QUIC_OPTIONS__INIT;
    const Headgate__QuicOptions *q = m->quic ? m->quic : &defaults;
    struct quic_options options;
    if (quic_options_init(&options, q, NULL, 0) < 0)
        options.server_id.id_n = 0; /* which the builder refuses */
    return (struct holder_udp_wish){
        .receive_buffer = bounded(q->receive_buffer),
        .send_buffer = bounded(q->send_buffer),
        .id_length = m->quic_pass ? 0 : (uint32_t)quic_ids_length(&options.server_id), /* IDs of others say no worker */
    };
}
