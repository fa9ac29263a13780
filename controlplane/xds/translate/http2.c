#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/values.h"

enum {
    STREAMS_MAX = 100000,
    STREAM_WINDOW_MAX = 64 << 20,
    CONNECTION_WINDOW_MAX = 1 << 30,
    WINDOW_MIN = 65535,                 /* RFC 9113 section 6.9.2 */
    TABLE_MAX = 65536,
};

static const struct xds_fields keepalive = XDS_TABLE(envoy__config__core__v3__keepalive_settings,
    XDS_NOTE("interval", "becomes `ping-interval`: asked of connections with open requests that are silent for so long"),
    XDS_IGNORE("timeout", "how long the answer to a PING may take is the gateway's own"),
    XDS_IGNORE("interval_jitter", "connections are asked when they are silent, so not together"));

#define FLOODS "floods are bounded by limits of the gateway's own"

const struct xds_fields xds_read_http2_options = XDS_TABLE(envoy__config__core__v3__http2_protocol_options,
    XDS_READ("hpack_table_size"),
    XDS_NOTE("max_concurrent_streams", "more than 100,000 counts as that"),
    XDS_NOTE("initial_stream_window_size", "more than 64 MiB counts as that"),
    XDS_NOTE("initial_connection_window_size", "more than 1 GiB counts as that"),
    XDS_NOTE("allow_connect", "of listeners; towards origins it follows from what they offer"),
    XDS_IGNORE("max_outbound_frames", FLOODS),
    XDS_IGNORE("max_outbound_control_frames", FLOODS),
    XDS_IGNORE("max_consecutive_inbound_frames_with_empty_payload", FLOODS),
    XDS_IGNORE("max_inbound_priority_frames_per_stream", FLOODS),
    XDS_IGNORE("max_inbound_window_update_frames_per_data_frame_sent", FLOODS),
    XDS_IGNORE("stream_error_on_invalid_http_messaging", "a malformed message ends its stream, never the connection"),
    XDS_IGNORE("override_stream_error_on_invalid_http_message", "a malformed message ends its stream, never the connection"),
    XDS_INSIDE("connection_keepalive", &keepalive),
    XDS_IGNORE("use_oghttp2_codec", "it is about how Envoy is built"),
    XDS_IGNORE("max_metadata_size", "METADATA frames are passed over, as RFC 9113 has it of unknown frames"),
    XDS_IGNORE("enable_huffman_encoding", "fields are coded as is shortest"));

/* More than `max` is that: it says how much may come at most. */
static void take_bound(struct making *m, const struct xds_at *at, const Google__Protobuf__UInt32Value *v, uint32_t min,
                       uint32_t max, protobuf_c_boolean *has, uint32_t *ret) {
    if (v)
        value_number(m, at, v->value > max ? max : v->value, min, max, has, ret);
}

Headgate__Http2Options *part_http2(struct making *m, const struct xds_at *at,
                                   const Envoy__Config__Core__V3__Http2ProtocolOptions *o) {
    Headgate__Http2Options *h = making_new(m, &headgate__http2_options__descriptor);
    if (!h)
        return NULL;
    take_bound(m, XDS_AT(at, "hpack_table_size"), o->hpack_table_size, 0, TABLE_MAX, &h->has_header_table_size,
               &h->header_table_size);
    take_bound(m, XDS_AT(at, "max_concurrent_streams"), o->max_concurrent_streams, 1, STREAMS_MAX,
               &h->has_max_concurrent_streams, &h->max_concurrent_streams);
    take_bound(m, XDS_AT(at, "initial_stream_window_size"), o->initial_stream_window_size, WINDOW_MIN, STREAM_WINDOW_MAX,
               &h->has_initial_stream_window, &h->initial_stream_window);
    take_bound(m, XDS_AT(at, "initial_connection_window_size"), o->initial_connection_window_size, WINDOW_MIN,
               CONNECTION_WINDOW_MAX, &h->has_initial_connection_window, &h->initial_connection_window);
    if (o->connection_keepalive)
        value_duration(m, XDS_AT(at, "connection_keepalive.interval"), o->connection_keepalive->interval, XDS_MS, XDS_DAY,
                       &h->has_ping_interval, &h->ping_interval);
    return h;
}
