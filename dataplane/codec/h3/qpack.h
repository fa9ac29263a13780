/* qpack.h — QPACK of one connection (RFC 9204), on libnghttp3: field sections to bytes and back. Thread: the worker's. */
#pragma once

#include <nghttp3/nghttp3.h>

#include "dataplane/codec/h3/frames.h"
#include "dataplane/codec/h3/out.h"
#include "dataplane/http/sections.h"
#include "dataplane/quic/conn.h"

struct h3_qpack {
    nghttp3_qpack_encoder *encoder;
    nghttp3_qpack_decoder *decoder;
    nghttp3_mem            memory;         /* of the connection */
    nghttp3_buf            instructions;   /* for the peer's decoder, empty between two calls */
    uint32_t               capacity;       /* that our encoder may use at most */
};

/* 0, or -1 without memory and there is nothing to finish. */
int  h3_qpack_init(struct h3_qpack *, struct quic_conn *, const struct http3_options *);
void h3_qpack_finish(struct h3_qpack *);
/* What the peer's decoder takes. */
void h3_qpack_set_peer(struct h3_qpack *, const struct h3_settings *);

/* A HEADERS frame with these fields goes behind `out`, what the peer's decoder must know for it behind `instructions`.
 * Returns 0, or -1: the encoder is of no more use. */
int  h3_qpack_write(struct h3_qpack *, struct slice_pool *, struct free_lists *, int64_t id, const struct field_pair *,
                    size_t n, struct h3_out *out, struct h3_out *instructions);

/* Bytes of the peer's encoder or decoder stream. */
enum h3_fault h3_qpack_read_encoder(struct h3_qpack *, const uint8_t *, size_t n);
enum h3_fault h3_qpack_read_decoder(struct h3_qpack *, const uint8_t *, size_t n);
/* What our decoder has to say goes behind `out`. 0, or -1 without memory. */
int  h3_qpack_write_decoder(struct h3_qpack *, struct slice_pool *, struct h3_out *out);
/* A section of that stream will never be decoded. 0, or -1 without memory. */
int  h3_qpack_cancel(struct h3_qpack *, int64_t id);

/* One step of decoding a whole section, of which `*at` to `end` is left. */
enum h3_step { H3_STEP_FIELD, H3_STEP_DONE, H3_STEP_BLOCKED, H3_STEP_FAULT };
/* A field is valid until the next call of h3_qpack_drop, which has to follow. */
enum h3_step h3_qpack_step(struct h3_qpack *, nghttp3_qpack_stream_context *, const uint8_t **at, const uint8_t *end,
                           nghttp3_qpack_nv *ret_field, enum h3_fault *ret_fault);
void h3_qpack_drop(nghttp3_qpack_nv *);
/* Whether the entries have come that a blocked section waits for. */
bool h3_qpack_is_unblocked(const struct h3_qpack *, nghttp3_qpack_stream_context *);
