/* script.h — data planes for tests of the channel: each keeps what a real one would keep, applies every Prepare to it, and
 * checks all hashes, so that a wrong delta is seen. What it answers is up to the test. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "controlplane/channel/channel.h"

enum { SCRIPT_ENTRIES_MAX = 128 };

struct script_entry {
    Headgate__Kind kind;
    char name[64];
    struct resource_id id;
};

struct script_manifest {
    struct script_entry entries[SCRIPT_ENTRIES_MAX];
    size_t count;
};

struct script_body {
    struct script_body *next;
    struct resource_id id;
    uint8_t *bytes;
    size_t size;
};

/* One data plane. */
struct script {
    struct channel *channel;
    struct data_plane *stream; /* NULL: not connected */
    struct script_manifest serving[2], prepared[2];
    struct script_body *bodies;   /* of what is served, and of the open transfer */
    size_t body_count;            /* that ever came */
    struct strbuf piece;          /* of a body that comes in pieces */
    uint64_t version, generation; /* served */
    uint64_t nonce, prepared_version, prepared_generation;
    uint8_t lineage[LINEAGE_SIZE];
    bool is_last, is_dry_run; /* of the open Prepare */
    bool is_broken;           /* a delta could not be applied, or a hash was wrong */
    unsigned prepares, transfers, commits, aborts, confirms;
    bool is_from_copy, takes_confirm, takes_observe; /* what its Hello says */
    uint64_t observed;        /* of the last Observe */
    size_t largest; /* bytes of a Prepare */
    char refused[256], ended[256], aborted[256];
    bool is_woken, is_ended_at_once;
};

static inline int script_compare(const void *a, const void *b) {
    const struct script_entry *x = a, *y = b;
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

static inline void script_remove(struct script_manifest *m, const Headgate__Entry *e) {
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].kind == e->kind && strcmp(m->entries[i].name, e->name) == 0) {
            m->entries[i] = m->entries[--m->count];
            return;
        }
}

static inline void script_upsert(struct script *s, struct script_manifest *m, const Headgate__Entry *e) {
    script_remove(m, e);
    struct script_entry *entry = &m->entries[m->count++];
    entry->kind = e->kind;
    snprintf(entry->name, sizeof entry->name, "%s", e->name);
    if (resource_id_from_bytes(&e->id, &entry->id) < 0)
        s->is_broken = true;
}

static inline void script_hash(const struct script_manifest *m, struct resource_id *ret) {
    struct script_manifest *sorted = malloc(sizeof *sorted);
    Headgate__Entry *entries = calloc(m->count + 1, sizeof *entries);
    Headgate__Entry **list = calloc(m->count + 1, sizeof(Headgate__Entry *));
    *sorted = *m;
    qsort(sorted->entries, sorted->count, sizeof *sorted->entries, script_compare);
    for (size_t i = 0; i < m->count; i++) {
        headgate__entry__init(&entries[i]);
        entries[i].kind = sorted->entries[i].kind;
        entries[i].name = sorted->entries[i].name;
        entries[i].id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, sorted->entries[i].id.bytes};
        list[i] = &entries[i];
    }
    manifest_hash(list, m->count, ret);
    free(list);
    free(entries);
    free(sorted);
}

static inline bool script_has_body(const struct script *s, const struct resource_id *id) {
    for (const struct script_body *b = s->bodies; b; b = b->next)
        if (resource_id_equal(&b->id, id))
            return true;
    return false;
}

static inline bool script_serves(const struct script *s, const struct resource_id *id) {
    for (int part = 0; part < 2; part++)
        for (size_t i = 0; i < s->serving[part].count; i++)
            if (resource_id_equal(&s->serving[part].entries[i].id, id))
                return true;
    return false;
}

/* A transfer that was not committed leaves nothing behind. */
static inline void script_drop_bodies(struct script *s) {
    struct script_body **link = &s->bodies;
    while (*link) {
        struct script_body *b = *link;
        if (script_serves(s, &b->id)) {
            link = &b->next;
            continue;
        }
        *link = b->next;
        free(b);
    }
}

static inline void script_take_body(struct script *s, const Headgate__Body *m) {
    struct resource_id id, hash;
    strbuf_add(&s->piece, m->bytes.data, m->bytes.len);
    if (m->more)
        return;
    if (resource_id_from_bytes(&m->id, &id) < 0 ||
        resource_id_of(s->piece.p ? s->piece.p : "", s->piece.n, &hash) < 0 ||
        !resource_id_equal(&id, &hash) || script_has_body(s, &id))
        s->is_broken = true; /* also a body that is held already must not be sent */
    struct script_body *b = calloc(1, sizeof *b);
    *b = (struct script_body){.next = s->bodies, .id = id};
    s->bodies = b;
    s->body_count++;
    strbuf_reset(&s->piece);
}

static inline void script_check_complete(struct script *s, const Headgate__SnapshotId *id) {
    struct resource_id hash;
    const ProtobufCBinaryData *wanted[2] = {&id->intent_hash, &id->state_hash};
    for (int part = 0; part < 2; part++) {
        script_hash(&s->prepared[part], &hash);
        if (wanted[part]->len != RESOURCE_ID_SIZE ||
            memcmp(wanted[part]->data, hash.bytes, RESOURCE_ID_SIZE) != 0)
            s->is_broken = true;
        for (size_t i = 0; i < s->prepared[part].count; i++)
            if (!script_has_body(s, &s->prepared[part].entries[i].id))
                s->is_broken = true;
    }
}

static inline void script_prepare(struct script *s, const Headgate__Prepare *p) {
    static struct resource_id intent_hash, state_hash;
    static Headgate__SnapshotId id;
    if (p->nonce != s->nonce) {
        s->transfers++;
        memcpy(s->prepared, s->serving, sizeof s->serving);
        strbuf_reset(&s->piece);
        script_drop_bodies(s);
        if (!p->id) {
            s->is_broken = true;
            return;
        }
        id = *p->id;
        resource_id_from_bytes(&p->id->intent_hash, &intent_hash);
        resource_id_from_bytes(&p->id->state_hash, &state_hash);
        id.intent_hash.data = intent_hash.bytes;
        id.state_hash.data = state_hash.bytes;
        s->prepared_version = id.version;
        s->prepared_generation = id.generation;
        memcpy(s->lineage, id.lineage.data, LINEAGE_SIZE);
    }
    s->nonce = p->nonce;
    s->prepares++;
    s->is_last = p->last;
    s->is_dry_run = p->dry_run;
    size_t size = headgate__prepare__get_packed_size(p);
    s->largest = size > s->largest ? size : s->largest;
    for (size_t i = 0; i < p->n_remove_intent; i++)
        script_remove(&s->prepared[0], p->remove_intent[i]);
    for (size_t i = 0; i < p->n_remove_state; i++)
        script_remove(&s->prepared[1], p->remove_state[i]);
    for (size_t i = 0; i < p->n_upsert_intent; i++)
        script_upsert(s, &s->prepared[0], p->upsert_intent[i]);
    for (size_t i = 0; i < p->n_upsert_state; i++)
        script_upsert(s, &s->prepared[1], p->upsert_state[i]);
    for (size_t i = 0; i < p->n_bodies; i++)
        script_take_body(s, p->bodies[i]);
    if (p->last)
        script_check_complete(s, &id);
}

static inline void script_commit(struct script *s) {
    s->commits++;
    memcpy(s->serving, s->prepared, sizeof s->serving);
    s->version = s->prepared_version;
    s->generation = s->prepared_generation;
}

/* Must be about what is served, and only for those that take it. */
static inline void script_confirm(struct script *s, const Headgate__Confirm *m) {
    struct resource_id hash;
    s->confirms++;
    script_hash(&s->serving[0], &hash);
    if (!s->takes_confirm || !s->is_from_copy || !m->id || m->id->version != s->version ||
        m->id->generation != s->generation || m->id->intent_hash.len != RESOURCE_ID_SIZE ||
        memcmp(m->id->intent_hash.data, hash.bytes, RESOURCE_ID_SIZE) != 0)
        s->is_broken = true;
}

static inline void script_copy(char out[256], const char *text) {
    snprintf(out, 256, "%s", text ? text : "");
}

/* Takes one message from the control plane. */
static inline void script_take(struct script *s, const Headgate__ControlPlaneMessage *m) {
    switch (m->message_case) {
    case HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_PREPARE: script_prepare(s, m->prepare); break;
    case HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_COMMIT:
        if (m->commit->nonce != s->nonce || !s->is_last || s->is_dry_run)
            s->is_broken = true;
        script_commit(s);
        break;
    case HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_ABORT:
        s->aborts++;
        script_copy(s->aborted, m->abort->reason);
        break;
    case HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_CONFIRM: script_confirm(s, m->confirm); break;
    case HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_OBSERVE:
        s->observed = m->observe->asked;
        if (!s->takes_observe)
            s->is_broken = true;
        break;
    case HEADGATE__CONTROL_PLANE_MESSAGE__MESSAGE_REFUSE: script_copy(s->refused, m->refuse->reason); break;
    default: s->is_broken = true;
    }
}

/* Takes everything that the control plane has to say now. */
static inline void script_pull(struct script *s) {
    const Headgate__ControlPlaneMessage *m;
    s->is_woken = false;
    while (s->stream && (m = channel_pull(s->channel, s->stream)))
        script_take(s, m);
}

static inline void script_send(struct script *s, Headgate__DataPlaneMessage__MessageCase which,
                               void *message) {
    Headgate__DataPlaneMessage m = HEADGATE__DATA_PLANE_MESSAGE__INIT;
    m.message_case = which;
    m.hello = message;
    channel_receive(s->channel, s->stream, &m);
}

static inline void script_ready(struct script *s, uint64_t nonce) {
    Headgate__Ready m = HEADGATE__READY__INIT;
    m.has_nonce = m.has_build_us = true;
    m.nonce = nonce;
    m.build_us = 7;
    script_send(s, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_READY, &m);
}

static inline void script_ack(struct script *s, uint64_t nonce) {
    Headgate__Ack m = HEADGATE__ACK__INIT;
    m.has_nonce = m.has_switch_us = true;
    m.nonce = nonce;
    m.switch_us = 9;
    script_send(s, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_ACK, &m);
}

static inline void script_nack(struct script *s, uint64_t nonce, const char *text) {
    Headgate__Nack m = HEADGATE__NACK__INIT;
    Headgate__Reason reason = HEADGATE__REASON__INIT, *list = &reason;
    reason.has_kind = true;
    reason.kind = HEADGATE__KIND__KIND_LISTENER;
    reason.name = (char *)"web";
    reason.path = (char *)"addresses[0]";
    reason.code = (char *)"address-in-use";
    reason.message = (char *)text;
    m.has_nonce = true;
    m.nonce = nonce;
    m.n_reasons = 1;
    m.reasons = &list;
    script_send(s, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_NACK, &m);
}

static inline void script_fill_entries(const struct script_manifest *m, Headgate__Entry *entries,
                                       Headgate__Entry **list) {
    for (size_t i = 0; i < m->count; i++) {
        headgate__entry__init(&entries[i]);
        entries[i].has_kind = entries[i].has_id = true;
        entries[i].kind = m->entries[i].kind;
        entries[i].name = (char *)m->entries[i].name;
        entries[i].id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)m->entries[i].id.bytes};
        list[i] = &entries[i];
    }
}

/* Says Hello with what it serves. */
static inline void script_hello(struct script *s, const char *node, uint64_t started_at,
                                uint32_t schema_level) {
    static Headgate__Entry entries[2][SCRIPT_ENTRIES_MAX], *lists[2][SCRIPT_ENTRIES_MAX];
    Headgate__Hello hello = HEADGATE__HELLO__INIT;
    Headgate__SnapshotId id = HEADGATE__SNAPSHOT_ID__INIT;
    for (int part = 0; part < 2; part++) {
        qsort(s->serving[part].entries, s->serving[part].count, sizeof *s->serving[part].entries,
              script_compare);
        script_fill_entries(&s->serving[part], entries[part], lists[part]);
    }
    hello.has_schema_level = hello.has_started_at = true;
    hello.schema_level = schema_level;
    hello.node = (char *)node;
    hello.software = (char *)"script";
    hello.started_at = started_at;
    hello.has_from_last_known_good = hello.has_takes_confirm = true;
    hello.from_last_known_good = s->is_from_copy;
    hello.takes_confirm = s->takes_confirm;
    hello.has_takes_observe = true;
    hello.takes_observe = s->takes_observe;
    id.has_lineage = id.has_version = id.has_generation = true;
    id.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, s->lineage};
    id.version = s->version;
    id.generation = s->generation;
    hello.serving = s->version ? &id : NULL;
    hello.n_intent = s->serving[0].count;
    hello.intent = lists[0];
    hello.n_state = s->serving[1].count;
    hello.state = lists[1];
    script_send(s, HEADGATE__DATA_PLANE_MESSAGE__MESSAGE_HELLO, &hello);
}

static inline void script_finish(struct script *s) {
    while (s->bodies) {
        struct script_body *next = s->bodies->next;
        free(s->bodies);
        s->bodies = next;
    }
    strbuf_finish(&s->piece);
}

/* ---- events of the channel, for scripts as stream owners ---- */

static inline void script_on_wake(void *owner) {
    struct script *s = owner;
    s->is_woken = true;
}

static inline void script_on_end(void *owner, const char *reason, bool at_once) {
    struct script *s = owner;
    script_copy(s->ended, reason);
    s->is_ended_at_once = at_once;
}

static inline void script_connect(struct script *s, struct channel *c) {
    s->channel = c;
    s->nonce = 0;
    s->ended[0] = s->refused[0] = '\0';
    s->stream = channel_connect(c, s, "unix:");
}

static inline void script_disconnect(struct script *s) {
    if (s->stream)
        channel_disconnect(s->channel, s->stream, NULL);
    s->stream = NULL;
}

/* ---- snapshots to push ---- */

/* A snapshot of `count` clusters c0, c1, ... whose bytes are "NAME:salt"; shares bodies with `previous`. */
static inline struct snapshot *script_snapshot(uint64_t version, uint64_t generation, size_t count,
                                               unsigned salt, const struct snapshot *previous) {
    static const uint8_t lineage[LINEAGE_SIZE] = "test lineage 01";
    struct config_resource *items = calloc(count + 1, sizeof *items);
    char(*names)[32] = calloc(count + 1, sizeof *names), (*texts)[64] = calloc(count + 1, sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof *names, "c%05zu", i);
        int n = snprintf(texts[i], sizeof *texts, "%s:%u", names[i], i == salt % count ? salt : 0);
        items[i] = (struct config_resource){.kind = HEADGATE__KIND__KIND_CLUSTER,
                                            .name = names[i],
                                            .bytes = (uint8_t *)texts[i],
                                            .size = (size_t)n};
        resource_id_of(texts[i], (size_t)n, &items[i].id);
    }
    struct part *intent = part_create(items, count, previous ? previous->intent : NULL);
    struct part *state = part_create(NULL, 0, NULL);
    struct snapshot *s = intent && state ? snapshot_create(lineage, version, generation, intent, state)
                                         : NULL;
    if (!intent || !state) {
        part_unref(intent);
        part_unref(state);
    }
    free(items);
    free(names);
    free(texts);
    return s;
}
