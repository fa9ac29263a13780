/* scripted_rpc.h — calls without a network: the functions of rpc/stream.h, with a test as the server. They stand here
 * instead of the library's, which is not linked then. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/etcd/client.h"
#include "controlplane/etcd/mirror.h"
#include "proto/message.h"

enum { CALLS_MAX = 64, CLUSTER = 77 };

struct rpc_channel {
    char target[64];
};

/* A call of the client, unary or a stream. */
struct rpc_stream {
    const struct rpc_channel        *channel;
    const char                      *method;
    char                             token[64];     /* "": none was sent */
    bool                             has_leader, is_reading, is_over, is_abandoned;
    const struct rpc_stream_handlers *handlers;
    void                            *owner;
    struct strbuf                    sent;          /* what was sent last */
};

static struct rpc_stream calls[CALLS_MAX];
static size_t call_count;
static bool refuses_calls;              /* a certificate has become bad */

struct rpc_channel *rpc_channel_create(struct rpc_loop *loop, const struct rpc_channel_options *o,
                                       struct error_list *errors) {
    struct rpc_channel *c = hg_calloc(1, sizeof *c);
    (void)loop;
    if (c)
        snprintf(c->target, sizeof c->target, "%s", o->target);
    else
        error_addf(errors, ERROR_MEMORY, "no memory");
    return c;
}

void rpc_channel_destroy(struct rpc_channel *c) {
    hg_free(c);
}

bool rpc_channel_is_connected(const struct rpc_channel *c) {
    return c != NULL;
}

static inline void take_metadata(struct rpc_stream *s, const struct rpc_stream_options *o) {
    for (size_t i = 0; i < o->metadata_count; i++) {
        s->has_leader |= strcmp(o->metadata[i].key, "hasleader") == 0;
        if (strcmp(o->metadata[i].key, "token") == 0)
            snprintf(s->token, sizeof s->token, "%s", o->metadata[i].value);
    }
}

struct rpc_stream *rpc_stream_open(struct rpc_channel *c, const struct rpc_stream_options *o,
                                   const struct rpc_stream_handlers *h, void *owner, struct error_list *errors) {
    if (refuses_calls) {
        error_addf(errors, ERROR_SYNTAX, "no PEM certificate");
        return NULL;
    }
    assert_true(call_count < CALLS_MAX);
    struct rpc_stream *s = &calls[call_count++];
    *s = (struct rpc_stream){.channel = c, .method = o->method, .handlers = h, .owner = owner};
    take_metadata(s, o);
    return s;
}

int rpc_stream_send(struct rpc_stream *s, struct str bytes) {
    assert_false(s->is_over || s->is_abandoned);
    strbuf_reset(&s->sent);
    strbuf_add_str(&s->sent, bytes);
    return s->sent.failed ? -1 : 0;
}

void rpc_stream_read(struct rpc_stream *s) {
    s->is_reading = true;
}

void rpc_stream_abandon(struct rpc_stream *s) {
    if (s)
        s->is_abandoned = true;
}

struct rpc_stream *rpc_stream_call(struct rpc_channel *c, const struct rpc_stream_options *o, struct str request,
                                   const struct rpc_stream_handlers *h, void *owner, struct error_list *errors) {
    struct rpc_stream *s = rpc_stream_open(c, o, h, owner, errors);
    if (!s || rpc_stream_send(s, request) == 0)
        return s;
    call_count--;
    return NULL;
}

/* ---- what a test does as the server */

static inline struct rpc_stream *newest(void) {
    assert_true(call_count > 0);
    return &calls[call_count - 1];
}

/* Whether the call is one that waits for its end, by the method's last word and whom it went to. */
static inline bool is_asked(const struct rpc_stream *s, const char *word, const char *target) {
    return strcmp(strrchr(s->method, '/') + 1, word) == 0 && strcmp(s->channel->target, target) == 0 && !s->is_over;
}

static inline void ends(struct rpc_stream *s, grpc_status_code status, const char *text) {
    assert_false(s->is_over || s->is_abandoned);
    s->is_over = true;
    s->handlers->closed(s->owner, status, str_of(text));
}

static inline void says_bytes(struct rpc_stream *s, struct str bytes) {
    assert_false(s->is_over || s->is_abandoned);
    s->is_reading = false;
    s->handlers->message(s->owner, bytes);
}

static inline void says(struct rpc_stream *s, const ProtobufCMessage *m) {
    static uint8_t bytes[4096];
    assert_true(protobuf_c_message_get_packed_size(m) <= sizeof bytes);
    says_bytes(s, (struct str){(char *)bytes, protobuf_c_message_pack(m, bytes)});
}

static inline void replies(struct rpc_stream *s, const ProtobufCMessage *m) {
    says(s, m);
    ends(s, GRPC_STATUS_OK, "");
}

/* What the client has sent, to be freed by the test. */
static inline ProtobufCMessage *request_of(const struct rpc_stream *s, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *m = NULL;
    assert_int_equal(message_unpack(type, NULL, strbuf_str(&s->sent), &m), 0);
    return m;
}

static inline void forget_calls(void) {
    for (size_t i = 0; i < CALLS_MAX; i++)
        strbuf_finish(&calls[i].sent);
    memset(calls, 0, sizeof calls);
    call_count = 0;
    refuses_calls = false;
}

/* ---- answers of etcd */

static inline Mvccpb__KeyValue kv_of(const char *key, const char *value, int64_t modified) {
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key, .len = strlen(key)};
    kv.value = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)value, .len = strlen(value)};
    kv.mod_revision = modified;
    return kv;
}

/* A whole list, of so many keys and values by turns. */
static inline void replies_list(struct rpc_stream *s, int64_t revision, const char *const *pairs, size_t count) {
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__RangeResponse reply = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue kvs[16], *list[16];
    for (size_t i = 0; i < count; i++) {
        kvs[i] = kv_of(pairs[2 * i], pairs[2 * i + 1], revision);
        list[i] = &kvs[i];
    }
    header.revision = revision;
    header.cluster_id = CLUSTER;
    reply.header = &header;
    reply.kvs = list;
    reply.n_kvs = count;
    replies(s, &reply.base);
}

static inline void says_created(struct rpc_stream *s) {
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    reply.created = true;
    says(s, &reply.base);
}

/* One key is another; `value` NULL: it is gone. */
static inline void says_event(struct rpc_stream *s, int64_t revision, const char *key, const char *value) {
    Etcdserverpb__WatchResponse reply = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    Mvccpb__KeyValue kv = kv_of(key, value ? value : "", revision);
    Mvccpb__Event event = MVCCPB__EVENT__INIT, *events[] = {&event};
    event.type = value ? MVCCPB__EVENT__EVENT_TYPE__PUT : MVCCPB__EVENT__EVENT_TYPE__DELETE;
    event.kv = &kv;
    reply.events = events;
    reply.n_events = 1;
    says(s, &reply.base);
}
