#include "controlplane/store/internal.h"

#include <stdio.h>

/* ---- in memory ---- */

struct store_manifest *manifest_create(void) {
    struct store_manifest *m = hg_calloc(1, sizeof *m);
    if (m)
        m->references = 1;
    return m;
}

void manifest_enlist(struct store *s, struct store_manifest *m) {
    m->next = s->live;
    m->link = &s->live;
    if (m->next)
        m->next->link = &m->next;
    s->live = m;
}

struct store_manifest *store_manifest_ref(struct store_manifest *m) {
    m->references++;
    return m;
}

void store_manifest_unref(struct store_manifest *m) {
    if (!m || --m->references)
        return;
    if (m->link)
        *m->link = m->next;
    if (m->next)
        m->next->link = m->link;
    arena_finish(&m->arena);
    hg_free(m);
}

static int compare_key(Headgate__Kind kind, struct str name, const struct store_entry *e) {
    if (kind != e->kind)
        return kind < e->kind ? -1 : 1;
    return str_cmp(name, str_of(e->name));
}

const struct store_entry *store_manifest_find(const struct store_manifest *m, Headgate__Kind kind,
                                              struct str name) {
    size_t low = 0, high = m->version.resources;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_key(kind, name, &m->entries[middle]);
        if (order == 0)
            return &m->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct store_entry *manifest_entry(const struct store_manifest *m, size_t i) {
    return i < m->version.resources ? &m->entries[i] : &m->hidden[i - m->version.resources];
}

/* ---- encoding ---- */

static Headgate__Entry **entries_to_messages(const struct store_manifest *m, struct arena *arena) {
    size_t count = m->version.resources;
    Headgate__Entry *messages = arena_alloc(arena, count * sizeof *messages);
    Headgate__Entry **pointers = arena_alloc(arena, count * sizeof *pointers);
    for (size_t i = 0; messages && pointers && i < count; i++) {
        const struct store_entry *e = &m->entries[i];
        messages[i] = (Headgate__Entry)HEADGATE__ENTRY__INIT;
        messages[i].has_kind = messages[i].has_id = true;
        messages[i].kind = e->kind;
        messages[i].name = (char *)e->name;
        messages[i].id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)e->id.bytes};
        pointers[i] = &messages[i];
    }
    return messages ? pointers : NULL;
}

static int encode_manifest(const struct store *s, struct store_manifest *m, struct arena *arena,
                           struct str *ret_frame, struct resource_id *ret_hash) {
    Headgate__SnapshotId id = HEADGATE__SNAPSHOT_ID__INIT;
    Headgate__Manifest manifest = HEADGATE__MANIFEST__INIT;
    manifest.intent = entries_to_messages(m, arena);
    manifest.n_intent = m->version.resources;
    if (!manifest.intent || manifest_hash(manifest.intent, manifest.n_intent, &m->version.intent_hash) < 0)
        return -1;
    id.has_lineage = id.has_version = id.has_intent_hash = true;
    id.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, (uint8_t *)s->lineage};
    id.version = m->version.number;
    id.intent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, m->version.intent_hash.bytes};
    manifest.id = &id;
    return frame_encode(arena, FRAME_MANIFEST, &manifest.base, ret_frame, ret_hash);
}

/* Only what the record of a plain store has not. */
static void fill_layered(struct store_manifest *m, struct resource_id *hash_of_layers, Headgate__Store__Record *r) {
    const struct store_version *v = &m->version;
    r->has_layers_hash = hash_of_layers != NULL;
    if (hash_of_layers)
        r->layers_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, hash_of_layers->bytes};
    r->has_layer = v->layer != 0;
    r->layer = v->layer;
    r->has_pushed = v->pushed_before != v->parent;
    r->pushed = v->pushed_before;
    r->has_pushed_hash = r->has_pushed && v->pushed_before != 0;
    if (r->has_pushed_hash)
        r->pushed_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, m->pushed_hash.bytes};
}

static int encode_record(const struct store *s, struct store_manifest *m, const struct resource_id *parent_hash,
                         struct resource_id *hash_of_manifest, struct resource_id *hash_of_layers, struct arena *arena,
                         struct str *ret_frame) {
    Headgate__Store__Record r = HEADGATE__STORE__RECORD__INIT;
    struct store_version *v = &m->version;
    r.has_lineage = r.has_number = r.has_parent = r.has_time_us = r.has_intent_hash = r.has_resources =
        r.has_manifest_hash = true;
    r.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, (uint8_t *)s->lineage};
    r.number = v->number;
    r.parent = v->parent;
    r.has_parent_hash = parent_hash != NULL;
    if (parent_hash)
        r.parent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)parent_hash->bytes};
    r.has_restores = v->restores != 0;
    r.restores = v->restores;
    r.time_us = v->time_us;
    r.author = (char *)v->author;
    r.message = (char *)v->message;
    r.intent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, v->intent_hash.bytes};
    r.resources = v->resources;
    r.manifest_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, hash_of_manifest->bytes};
    fill_layered(m, hash_of_layers, &r);
    return frame_encode(arena, FRAME_RECORD, &r.base, ret_frame, &v->hash);
}

int version_encode(const struct store *s, struct store_manifest *m, const struct resource_id *parent_hash,
                   struct arena *arena, struct str ret_frames[VERSION_FRAMES_MAX], size_t *ret_count) {
    struct resource_id hash_of_manifest, hash_of_layers;
    struct str frames[VERSION_FRAMES_MAX];
    bool has_layers = layers_has_any(m);
    if (encode_manifest(s, m, arena, &frames[1], &hash_of_manifest) < 0 ||
        (has_layers && layers_encode(m, arena, &frames[2], &hash_of_layers) < 0) ||
        encode_record(s, m, parent_hash, &hash_of_manifest, has_layers ? &hash_of_layers : NULL, arena, &frames[0]) < 0)
        return -1;
    *ret_count = has_layers ? 3 : 2;
    memcpy(ret_frames, frames, *ret_count * sizeof *frames);
    return 0;
}

/* ---- decoding ---- */

static int layered_from_message(const Headgate__Store__Record *m, struct record *r) {
    struct store_version *v = &r->version;
    v->layer = m->layer;
    v->pushed_before = m->has_pushed ? m->pushed : m->parent;
    r->has_layers = m->has_layers_hash;
    if (m->layer >= STORE_LAYERS_MAX || (m->has_pushed && m->pushed >= m->parent) ||
        m->has_pushed_hash != (m->has_pushed && m->pushed != 0))
        return MESSAGE_MALFORMED;
    if ((m->has_layers_hash && resource_id_from_bytes(&m->layers_hash, &r->layers_hash) < 0) ||
        (m->has_pushed_hash && resource_id_from_bytes(&m->pushed_hash, &r->pushed_hash) < 0))
        return MESSAGE_MALFORMED;
    if (!m->has_pushed)
        r->pushed_hash = r->parent_hash;
    return 0;
}

static int record_from_message(const struct store *s, const Headgate__Store__Record *m, struct record *r) {
    r->version = (struct store_version){
        .number = m->number,
        .parent = m->parent,
        .restores = m->restores,
        .time_us = m->time_us,
        .author = m->author ? m->author : "",
        .message = m->message ? m->message : "",
        .resources = m->resources,
        .hash = r->frame.hash,
    };
    r->has_parent_hash = m->has_parent_hash;
    if (m->lineage.len != LINEAGE_SIZE || memcmp(m->lineage.data, s->lineage, LINEAGE_SIZE) != 0 ||
        m->number == 0 || m->parent != m->number - 1 || m->has_parent_hash != (m->parent != 0) ||
        m->resources > RESOURCES_MAX)
        return MESSAGE_MALFORMED;
    if ((m->has_parent_hash && resource_id_from_bytes(&m->parent_hash, &r->parent_hash) < 0) ||
        resource_id_from_bytes(&m->intent_hash, &r->version.intent_hash) < 0 ||
        resource_id_from_bytes(&m->manifest_hash, &r->manifest_hash) < 0)
        return MESSAGE_MALFORMED;
    return layered_from_message(m, r);
}

int record_decode(const struct store *s, struct str file, uint64_t number, struct arena *arena,
                  struct record *ret_record) {
    struct record r = {0};
    ProtobufCMessage *m;
    int status = frame_decode(FRAME_RECORD, file, &headgate__store__record__descriptor, arena, &r.frame, &m);
    if (status == 0)
        status = record_from_message(s, (Headgate__Store__Record *)m, &r);
    if (status == 0 && r.version.number != number)
        status = MESSAGE_MALFORMED;
    if (status == 0)
        *ret_record = r;
    return status;
}

/* Copies the entries out of the decoded message, into the compact memory of `m`. */
static int take_entries(struct store_manifest *m, const Headgate__Manifest *message, struct store_entry **ret) {
    struct store_entry *entries = arena_alloc(&m->arena, message->n_intent * sizeof *entries);
    if (!entries)
        return MESSAGE_MEMORY;
    for (size_t i = 0; i < message->n_intent; i++) {
        const Headgate__Entry *e = message->intent[i];
        entries[i].kind = e->kind;
        entries[i].layer = 0;
        entries[i].name = arena_strdup(&m->arena, e->name);
        if (!entries[i].name)
            return MESSAGE_MEMORY;
        memcpy(entries[i].id.bytes, e->id.data, RESOURCE_ID_SIZE);
    }
    m->entries = *ret = entries;
    return 0;
}

/* The manifest frame must be the one that the record names, end the file but for layers, and hold the intent that the
 * record says. */
static int decode_manifest(struct store_manifest *m, const struct record *r, struct str bytes,
                           struct arena *arena) {
    struct frame frame;
    ProtobufCMessage *decoded;
    int status = frame_decode(FRAME_MANIFEST, bytes, &headgate__manifest__descriptor, arena, &frame,
                              &decoded);
    if (status < 0)
        return status;
    const Headgate__Manifest *message = (const Headgate__Manifest *)decoded;
    struct store_entry *entries;
    if ((frame.size != bytes.n) != r->has_layers || !resource_id_equal(&frame.hash, &r->manifest_hash) ||
        message->n_intent != r->version.resources ||
        manifest_hash_matches(message->intent, message->n_intent, &r->version.intent_hash) != 1)
        return MESSAGE_MALFORMED;
    status = take_entries(m, message, &entries);
    if (status < 0 || !r->has_layers)
        return status;
    return layers_decode(m, entries, r, (struct str){bytes.p + frame.size, bytes.n - frame.size}, arena);
}

static int take_version(struct store_manifest *m, const struct store_version *v) {
    m->version = *v;
    m->version.author = arena_strdup(&m->arena, v->author);
    m->version.message = arena_strdup(&m->arena, v->message);
    return m->version.author && m->version.message ? 0 : MESSAGE_MEMORY;
}

static int decode_version(const struct store *s, struct str file, uint64_t number, struct record *ret_record,
                          struct store_manifest *m) {
    struct arena arena = {0};
    struct record r;
    int status = record_decode(s, file, number, &arena, &r);
    if (status == 0)
        status = take_version(m, &r.version);
    m->pushed_hash = status == 0 ? r.pushed_hash : m->pushed_hash;
    if (status == 0)
        status = decode_manifest(m, &r, (struct str){file.p + r.frame.size, file.n - r.frame.size}, &arena);
    if (status == 0 && ret_record) {
        *ret_record = r;
        ret_record->version = m->version;
    }
    arena_finish(&arena);
    return status;
}

static void report_version(const struct store *s, uint64_t number, int status, struct error_list *errors) {
    char path[PATH_SIZE], message[96];
    path_of_version(number, path);
    snprintf(message, sizeof message, "version %llu is %s", (unsigned long long)number,
             status > 0 ? "missing" : "damaged");
    if (status == MESSAGE_MEMORY)
        report_memory(s, errors);
    else
        disk_report(&s->disk, path, ERROR_INTEGRITY, message, errors);
}

int record_read(const struct store *s, uint64_t number, struct arena *arena, struct record *ret_record,
                struct error_list *errors) {
    char path[PATH_SIZE];
    struct str start;
    path_of_version(number, path);
    int status = disk_read_file(&s->disk, path, RECORD_FRAME_MAX, &start, NULL, errors);
    if (status < 0)
        return status == DISK_MEMORY ? MESSAGE_MEMORY : MESSAGE_MALFORMED;
    if (status == 0) {
        status = record_decode(s, start, number, arena, ret_record);
        hg_free((void *)start.p);
    }
    if (status != 0)
        report_version(s, number, status, errors);
    return status > 0 ? MESSAGE_MALFORMED : status;
}

struct store_manifest *version_read(const struct store *s, uint64_t number, struct record *record,
                                    struct error_list *errors) {
    char path[PATH_SIZE];
    struct str file;
    path_of_version(number, path);
    int status = disk_read_file(&s->disk, path, VERSION_FILE_MAX, &file, NULL, errors);
    if (status != 0) {
        if (status > 0)
            report_version(s, number, status, errors);
        return NULL;
    }
    struct store_manifest *m = manifest_create();
    status = m ? decode_version(s, file, number, record, m) : MESSAGE_MEMORY;
    hg_free((void *)file.p);
    if (status == 0)
        return m;
    store_manifest_unref(m);
    report_version(s, number, status, errors);
    return NULL;
}
