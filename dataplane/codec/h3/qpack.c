#include "dataplane/codec/h3/qpack.h"

#include <string.h>

#include "dataplane/core/free_lists.h"

enum { FRAME_HEAD_MAX = 2 * H3_NUMBER_MAX, PREFIX_MAX = 24 };

_Static_assert(sizeof(struct field_pair) == sizeof(nghttp3_nv) &&
                   offsetof(struct field_pair, value) == offsetof(nghttp3_nv, value) &&
                   offsetof(struct field_pair, name_n) == offsetof(nghttp3_nv, namelen) &&
                   offsetof(struct field_pair, value_n) == offsetof(nghttp3_nv, valuelen) &&
                   offsetof(struct field_pair, flags) == offsetof(nghttp3_nv, flags),
               "the library takes them as they are");
_Static_assert((int)PAIR_NEVER_INDEXED == NGHTTP3_NV_FLAG_NEVER_INDEX &&
                   (int)PAIR_NAME_KEPT == NGHTTP3_NV_FLAG_NO_COPY_NAME &&
                   (int)PAIR_VALUE_KEPT == NGHTTP3_NV_FLAG_NO_COPY_VALUE,
               "and their flags");

/* ---- memory: the connection's */

static void *mem_malloc(size_t size, void *user) {
    return quic_alloc(user, size);
}

static void mem_free(void *piece, void *user) {
    quic_free(user, piece);
}

static void *mem_calloc(size_t count, size_t size, void *user) {
    return quic_calloc(user, count, size);
}

static void *mem_realloc(void *piece, size_t size, void *user) {
    return quic_realloc(user, piece, size);
}

int h3_qpack_init(struct h3_qpack *q, struct quic_conn *conn, const struct http3_options *o) {
    *q = (struct h3_qpack){.memory = {conn, mem_malloc, mem_free, mem_calloc, mem_realloc},
                           .capacity = o->qpack_table_capacity};
    nghttp3_buf_init(&q->instructions);
    if (nghttp3_qpack_encoder_new(&q->encoder, o->qpack_table_capacity, &q->memory) != 0)
        return -1;
    if (nghttp3_qpack_decoder_new(&q->decoder, o->qpack_table_capacity, o->qpack_blocked_streams, &q->memory) != 0) {
        nghttp3_qpack_encoder_del(q->encoder);
        return -1;
    }
    return 0;
}

void h3_qpack_finish(struct h3_qpack *q) {
    nghttp3_qpack_encoder_del(q->encoder);
    nghttp3_qpack_decoder_del(q->decoder);
    nghttp3_buf_free(&q->instructions, &q->memory);
}

/* Whatever the peer allows, no section of ours refers to an entry that it has not acknowledged (the encoder's default): a
 * lost packet would hold up streams that have lost nothing, and libnghttp3 drops a response that still waits when its stream
 * is complete, so a client with it (curl) would get nothing. */
void h3_qpack_set_peer(struct h3_qpack *q, const struct h3_settings *s) {
    nghttp3_qpack_encoder_set_max_dtable_capacity(q->encoder, s->table_capacity < q->capacity ? s->table_capacity
                                                                                              : q->capacity);
}

/* ---- writing */

/* The section stands behind room for the frame's head, which goes right in front of it. Returns where the frame begins. */
static uint8_t *put_head(uint8_t *section, size_t n, const nghttp3_buf *prefix) {
    uint8_t head[FRAME_HEAD_MAX];
    size_t prefix_n = nghttp3_buf_len(prefix), head_n = h3_number_write(head, H3_HEADERS);
    head_n += h3_number_write(head + head_n, prefix_n + n);
    memcpy(section - prefix_n, prefix->pos, prefix_n);
    return memcpy(section - prefix_n - head_n, head, head_n);
}

/* Encodes into `room`, of which the first bytes are left for the head. Returns the frame's size, which begins at *ret; 0: it
 * failed. */
static size_t encode(struct h3_qpack *q, int64_t id, const struct field_pair *pairs, size_t n, uint8_t *room, size_t size,
                     uint8_t **ret) {
    uint8_t prefix_bytes[PREFIX_MAX], *begin = room + FRAME_HEAD_MAX + PREFIX_MAX;
    nghttp3_buf prefix = {prefix_bytes, prefix_bytes + PREFIX_MAX, prefix_bytes, prefix_bytes};
    nghttp3_buf section = {begin, room + size, begin, begin};
    int status = nghttp3_qpack_encoder_encode(q->encoder, &prefix, &section, &q->instructions, id,
                                              (const nghttp3_nv *)pairs, n);
    if (status != 0)
        return 0;
    *ret = put_head(begin, nghttp3_buf_len(&section), &prefix);
    return (size_t)(section.last - *ret);
}

static int write_large(struct h3_qpack *q, struct slice_pool *pool, struct free_lists *lists, int64_t id,
                       const struct field_pair *pairs, size_t n, size_t size, struct h3_out *out) {
    uint8_t *frame, *room = free_lists_alloc(lists, size);
    size_t frame_n = room ? encode(q, id, pairs, n, room, size, &frame) : 0;
    int status = frame_n ? h3_out_copy(out, pool, frame, frame_n) : -1;
    free_lists_free(lists, room);
    return status;
}

static int write_instructions(struct h3_qpack *q, struct slice_pool *pool, struct h3_out *out) {
    size_t n = nghttp3_buf_len(&q->instructions);
    int status = n ? h3_out_copy(out, pool, q->instructions.pos, n) : 0;
    nghttp3_buf_reset(&q->instructions);
    return status;
}

int h3_qpack_write(struct h3_qpack *q, struct slice_pool *pool, struct free_lists *lists, int64_t id,
                   const struct field_pair *pairs, size_t n, struct h3_out *out, struct h3_out *instructions) {
    size_t size = FRAME_HEAD_MAX + PREFIX_MAX + section_size(pairs, n);
    uint8_t *frame, *room = size <= BLOCK_SIZE ? slice_pool_room(pool, size) : NULL;
    if (size > BLOCK_SIZE) {
        if (write_large(q, pool, lists, id, pairs, n, size, out) < 0)
            return -1;
    } else {
        size_t frame_n = room ? encode(q, id, pairs, n, room, size, &frame) : 0;
        if (frame_n == 0)
            return -1;
        memmove(room, frame, frame_n);
        if (h3_out_take(out, pool, frame_n) < 0)
            return -1;
    }
    return write_instructions(q, pool, instructions);
}

/* ---- streams of instructions */

enum h3_fault h3_qpack_read_encoder(struct h3_qpack *q, const uint8_t *bytes, size_t n) {
    return nghttp3_qpack_decoder_read_encoder(q->decoder, bytes, n) < 0 ? H3_FAULT_QPACK_ENCODER : H3_FAULT_NONE;
}

enum h3_fault h3_qpack_read_decoder(struct h3_qpack *q, const uint8_t *bytes, size_t n) {
    return nghttp3_qpack_encoder_read_decoder(q->encoder, bytes, n) < 0 ? H3_FAULT_QPACK_DECODER : H3_FAULT_NONE;
}

int h3_qpack_write_decoder(struct h3_qpack *q, struct slice_pool *pool, struct h3_out *out) {
    size_t n = nghttp3_qpack_decoder_get_decoder_streamlen(q->decoder);
    uint8_t *room = n && n <= BLOCK_SIZE ? slice_pool_room(pool, n) : NULL;
    if (n == 0)
        return 0;
    if (!room)
        return -1;
    nghttp3_buf buffer = {room, room + n, room, room};
    nghttp3_qpack_decoder_write_decoder(q->decoder, &buffer);
    return h3_out_take(out, pool, nghttp3_buf_len(&buffer));
}

int h3_qpack_cancel(struct h3_qpack *q, int64_t id) {
    return nghttp3_qpack_decoder_cancel_stream(q->decoder, id) == 0 ? 0 : -1;
}

/* ---- reading */

static enum h3_fault fault_of(nghttp3_ssize status) {
    return status == NGHTTP3_ERR_QPACK_HEADER_TOO_LARGE ? H3_FAULT_SECTION_BYTES : H3_FAULT_QPACK_SECTION;
}

enum h3_step h3_qpack_step(struct h3_qpack *q, nghttp3_qpack_stream_context *context, const uint8_t **at, const uint8_t *end,
                           nghttp3_qpack_nv *ret_field, enum h3_fault *ret_fault) {
    uint8_t flags = 0;
    do {
        nghttp3_ssize n = nghttp3_qpack_decoder_read_request(q->decoder, context, ret_field, &flags, *at,
                                                             (size_t)(end - *at), 1);
        if (n < 0) {
            *ret_fault = fault_of(n);
            return H3_STEP_FAULT;
        }
        *at += n;
    } while (!flags);
    if (flags & NGHTTP3_QPACK_DECODE_FLAG_EMIT)
        return H3_STEP_FIELD;
    return flags & NGHTTP3_QPACK_DECODE_FLAG_BLOCKED ? H3_STEP_BLOCKED : H3_STEP_DONE;
}

void h3_qpack_drop(nghttp3_qpack_nv *field) {
    nghttp3_rcbuf_decref(field->name);
    nghttp3_rcbuf_decref(field->value);
}

bool h3_qpack_is_unblocked(const struct h3_qpack *q, nghttp3_qpack_stream_context *context) {
    return nghttp3_qpack_stream_context_get_ricnt(context) <= nghttp3_qpack_decoder_get_icnt(q->decoder);
}
