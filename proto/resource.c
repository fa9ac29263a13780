#include "proto/resource.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include "common/alloc.h"
#include "proto/message.h"

struct kind_row {
    Headgate__Kind kind;
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
};

static const struct kind_row rows[] = {
    {HEADGATE__KIND__KIND_SETTINGS, "settings", &headgate__settings__descriptor},
    {HEADGATE__KIND__KIND_LISTENER, "listener", &headgate__listener__descriptor},
    {HEADGATE__KIND__KIND_ROUTE_TABLE, "route-table", &headgate__route_table__descriptor},
    {HEADGATE__KIND__KIND_CLUSTER, "cluster", &headgate__cluster__descriptor},
    {HEADGATE__KIND__KIND_ENDPOINT_SET, "endpoint-set", &headgate__endpoint_set__descriptor},
    {HEADGATE__KIND__KIND_SECRET, "secret", &headgate__secret__descriptor},
};

enum { KIND_COUNT = sizeof rows / sizeof *rows, DEPTH_MAX = 32 };

static const struct kind_row *find_kind(Headgate__Kind kind) {
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (rows[i].kind == kind)
            return &rows[i];
    return NULL;
}

const char *kind_name(Headgate__Kind kind) {
    const struct kind_row *row = find_kind(kind);
    return row ? row->name : NULL;
}

Headgate__Kind kind_from_name(struct str name) {
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (str_eq(name, str_of(rows[i].name)))
            return rows[i].kind;
    return HEADGATE__KIND__KIND_UNSPECIFIED;
}

const ProtobufCMessageDescriptor *kind_descriptor(Headgate__Kind kind) {
    const struct kind_row *row = find_kind(kind);
    return row ? row->descriptor : NULL;
}

const Headgate__Kind *kind_all(size_t *ret_count) {
    static const Headgate__Kind kinds[KIND_COUNT] = {
        HEADGATE__KIND__KIND_SETTINGS, HEADGATE__KIND__KIND_LISTENER,     HEADGATE__KIND__KIND_ROUTE_TABLE,
        HEADGATE__KIND__KIND_CLUSTER,  HEADGATE__KIND__KIND_ENDPOINT_SET, HEADGATE__KIND__KIND_SECRET,
    };
    *ret_count = KIND_COUNT;
    return kinds;
}

bool resource_name_is_valid(struct str name) {
    if (name.n == 0 || name.n > RESOURCE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && (c == '\0' || !strchr("-_.:/@*", c)))
            return false;
    }
    return true;
}

int resource_id_of(const void *bytes, size_t size, struct resource_id *ret) {
    struct resource_id id;
    unsigned length = 0;
    if (EVP_Digest(bytes, size, id.bytes, &length, EVP_sha256(), NULL) != 1 || length != RESOURCE_ID_SIZE)
        return -1;
    *ret = id;
    return 0;
}

bool resource_id_equal(const struct resource_id *a, const struct resource_id *b) {
    return memcmp(a->bytes, b->bytes, RESOURCE_ID_SIZE) == 0;
}

void resource_id_format(const struct resource_id *id, char text[2 * RESOURCE_ID_SIZE + 1]) {
    hex_encode(id->bytes, RESOURCE_ID_SIZE, text);
}

int resource_id_from_bytes(const ProtobufCBinaryData *bytes, struct resource_id *ret) {
    if (bytes->len != RESOURCE_ID_SIZE)
        return -1;
    memcpy(ret->bytes, bytes->data, RESOURCE_ID_SIZE);
    return 0;
}

/* ---- strictness: a walk over a decoded message by its descriptor ---- */

struct walk {
    const char *resource, *path;
    struct error_list *errors;
    size_t faults;
};

/* Where the walk is: a field, in a message that is itself in a field. Texts are made of it only for a fault.
 * */
struct place {
    const struct place *parent;
    const ProtobufCFieldDescriptor *field; /* NULL: the message that the walk began with */
    size_t index;                          /* of a repeated field */
    unsigned depth;
};

static void format_place(const struct walk *w, const struct place *at, struct strbuf *out) {
    if (!at->field) {
        strbuf_puts(out, w->path ? w->path : "");
        return;
    }
    format_place(w, at->parent, out);
    strbuf_printf(out, out->n ? ".%s" : "%s", at->field->name);
    if (at->field->label == PROTOBUF_C_LABEL_REPEATED)
        strbuf_printf(out, "[%zu]", at->index);
}

static void report(struct walk *w, const struct place *at, enum error_code code, const char *message) {
    struct strbuf path = {0};
    struct error *e = error_addf(w->errors, code, "%s", message);
    format_place(w, at, &path);
    error_set_resource(w->errors, e, w->resource, path.failed ? NULL : strbuf_str(&path).p);
    strbuf_finish(&path);
    w->faults++;
}

static void walk_message(struct walk *w, const struct place *at, const ProtobufCMessage *m);

static void check_unknown_fields(struct walk *w, const struct place *at, const ProtobufCMessage *m) {
    for (unsigned i = 0; i < m->n_unknown_fields; i++) {
        char message[160];
        snprintf(message, sizeof message, "unknown field number %u of %s", m->unknown_fields[i].tag,
                 m->descriptor->short_name);
        report(w, at, ERROR_UNSUPPORTED, message);
    }
}

static void walk_value(struct walk *w, const struct place *at, const void *value) {
    if (at->field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage *inner;
        memcpy(&inner, value, sizeof inner);
        if (inner)
            walk_message(w, at, inner);
        return;
    }
    int number;
    memcpy(&number, value, sizeof number);
    const ProtobufCEnumDescriptor *values = at->field->descriptor;
    if (!protobuf_c_enum_descriptor_get_value(values, number)) {
        char message[160];
        snprintf(message, sizeof message, "unknown value %d of %s", number, values->short_name);
        report(w, at, ERROR_UNSUPPORTED, message);
    }
}

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;
    uint32_t which;
    protobuf_c_boolean has;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        memcpy(&which, base + f->quantifier_offset, sizeof which);
        return which == f->id;
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->label == PROTOBUF_C_LABEL_REQUIRED)
        return true;
    memcpy(&has, base + f->quantifier_offset, sizeof has);
    return has;
}

static void walk_repeated(struct walk *w, struct place *at, const ProtobufCMessage *m) {
    const char *base = (const char *)m;
    size_t count;
    const char *items;
    memcpy(&count, base + at->field->quantifier_offset, sizeof count);
    memcpy(&items, base + at->field->offset, sizeof items);
    size_t width = at->field->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *) : sizeof(int);
    for (at->index = 0; at->index < count; at->index++)
        walk_value(w, at, items + at->index * width);
}

static void walk_field(struct walk *w, const struct place *parent, const ProtobufCMessage *m,
                       const ProtobufCFieldDescriptor *f) {
    struct place at = {.parent = parent, .field = f, .depth = parent->depth + 1};
    if (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_ENUM)
        return;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        walk_repeated(w, &at, m);
    else if (is_set(m, f))
        walk_value(w, &at, (const char *)m + f->offset);
}

static void walk_message(struct walk *w, const struct place *at, const ProtobufCMessage *m) {
    if (at->depth >= DEPTH_MAX) {
        report(w, at, ERROR_RANGE, "nested too deeply");
        return;
    }
    check_unknown_fields(w, at, m);
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        walk_field(w, at, m, &m->descriptor->fields[i]);
}

size_t message_check_known(const ProtobufCMessage *m, const char *resource, const char *path,
                           struct error_list *errors) {
    struct walk w = {.resource = resource, .path = path, .errors = errors};
    walk_message(&w, &(struct place){0}, m);
    return w.faults;
}

static ProtobufCMessage *refuse(struct error_list *errors, const char *resource, enum error_code code,
                                const char *message) {
    struct error *e = error_addf(errors, code, "%s", message);
    error_set_resource(errors, e, resource, NULL);
    return NULL;
}

ProtobufCMessage *resource_decode(Headgate__Kind kind, struct str name, const void *bytes, size_t size,
                                  struct error_list *errors) {
    return resource_decode_into(NULL, kind, name, bytes, size, errors);
}

ProtobufCMessage *resource_decode_into(struct arena *arena, Headgate__Kind kind, struct str name, const void *bytes,
                                       size_t size, struct error_list *errors) {
    char resource[RESOURCE_NAME_MAX + 32];
    const char *text = kind_name(kind);
    if (text)
        snprintf(resource, sizeof resource, "%s/%.*s", text,
                 (int)(name.n > RESOURCE_NAME_MAX ? RESOURCE_NAME_MAX : name.n), name.p);
    else
        snprintf(resource, sizeof resource, "kind %d", (int)kind);
    if (!text)
        return refuse(errors, resource, ERROR_UNSUPPORTED, "unknown kind of resource");
    if (!resource_name_is_valid(name))
        return refuse(errors, resource, ERROR_SYNTAX, "not a valid resource name");
    if (size > RESOURCE_BYTES_MAX)
        return refuse(errors, resource, ERROR_RANGE, "resource is too large");
    ProtobufCMessage *m;
    int status = message_unpack(kind_descriptor(kind), arena, (struct str){bytes, size}, &m);
    if (status == MESSAGE_MEMORY)
        return refuse(errors, resource, ERROR_MEMORY, "out of memory");
    if (status < 0)
        return refuse(errors, resource, ERROR_SYNTAX, "not a well-formed message of this kind");
    if (message_check_known(m, resource, "", errors) == 0)
        return m;
    if (!arena)
        protobuf_c_message_free_unpacked(m, NULL);
    return NULL;
}

int resource_encode(const ProtobufCMessage *m, uint8_t **ret_bytes, size_t *ret_size) {
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size);
    if (!bytes)
        return -1;
    protobuf_c_message_pack(m, bytes);
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}

/* ---- manifests ---- */

static struct entry_key key_of(const Headgate__Entry *e) {
    return (struct entry_key){e->kind, e->name ? e->name : "", e->id.data};
}

int entry_key_compare(const struct entry_key *a, const struct entry_key *b) {
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return strcmp(a->name, b->name);
}

int entry_compare(const Headgate__Entry *a, const Headgate__Entry *b) {
    struct entry_key of_a = key_of(a), of_b = key_of(b);
    return entry_key_compare(&of_a, &of_b);
}

bool entry_begins_group(const struct entry_key *key) {
    enum { GROUP_MEAN = 32 };
    return XXH64(key->name, strlen(key->name), (XXH64_hash_t)key->kind) % GROUP_MEAN == 0;
}

static void put_u32(uint8_t out[4], uint32_t v) {
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

int entry_hasher_begin(struct entry_hasher *h) {
    h->last = (struct entry_key){0};
    h->count = 0;
    h->digest = EVP_MD_CTX_new();
    return h->digest && EVP_DigestInit_ex(h->digest, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

static int hash_what_waits(struct entry_hasher *h) {
    size_t count = h->count;
    h->count = 0;
    return EVP_DigestUpdate(h->digest, h->bytes, count) == 1 ? 0 : -1;
}

int entry_hasher_add(struct entry_hasher *h, const struct entry_key *key) {
    enum { HEAD_SIZE = 8 };
    size_t name_size = strlen(key->name);
    if (h->last.name && entry_key_compare(&h->last, key) >= 0)
        return -1;
    if (name_size > sizeof h->bytes - HEAD_SIZE - RESOURCE_ID_SIZE)
        return -1;
    if (h->count + HEAD_SIZE + name_size + RESOURCE_ID_SIZE > sizeof h->bytes && hash_what_waits(h) < 0)
        return -1;
    uint8_t *at = h->bytes + h->count;
    put_u32(at, (uint32_t)key->kind);
    put_u32(at + 4, (uint32_t)name_size);
    memcpy(at + HEAD_SIZE, key->name, name_size);
    memcpy(at + HEAD_SIZE + name_size, key->id, RESOURCE_ID_SIZE);
    h->count += HEAD_SIZE + name_size + RESOURCE_ID_SIZE;
    h->last = *key;
    return 0;
}

int entry_hasher_end(struct entry_hasher *h, struct resource_id *ret) {
    struct resource_id id;
    int status = h->digest ? hash_what_waits(h) : -1;
    if (status == 0 && EVP_DigestFinal_ex(h->digest, id.bytes, NULL) != 1)
        status = -1;
    EVP_MD_CTX_free(h->digest);
    h->digest = NULL;
    if (status == 0)
        *ret = id;
    return status;
}

static bool is_hashable(const Headgate__Entry *e) {
    return e->name && e->id.len == RESOURCE_ID_SIZE;
}

static int hash_group(Headgate__Entry *const *entries, size_t count, struct resource_id *ret) {
    struct entry_hasher hasher;
    struct resource_id id;
    int status = entry_hasher_begin(&hasher);
    for (size_t i = 0; i < count && status == 0; i++) {
        struct entry_key key = key_of(entries[i]);
        status = is_hashable(entries[i]) ? entry_hasher_add(&hasher, &key) : -1;
    }
    if (entry_hasher_end(&hasher, &id) < 0 || status < 0)
        return -1;
    *ret = id;
    return 0;
}

static size_t group_end(Headgate__Entry *const *entries, size_t count, size_t first) {
    for (size_t i = first + 1; i < count; i++) {
        struct entry_key key = key_of(entries[i]);
        if (entry_begins_group(&key))
            return i;
    }
    return count;
}

static int hash_groups(EVP_MD_CTX *digest, Headgate__Entry *const *entries, size_t count) {
    struct resource_id group;
    for (size_t i = 0, end; i < count; i = end) {
        end = group_end(entries, count, i);
        if ((i && entry_compare(entries[i - 1], entries[i]) >= 0) || hash_group(entries + i, end - i, &group) < 0 ||
            EVP_DigestUpdate(digest, group.bytes, sizeof group.bytes) != 1)
            return -1;
    }
    return 0;
}

int manifest_hash(Headgate__Entry *const *entries, size_t count, struct resource_id *ret) {
    struct resource_id id;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    int status = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 ? hash_groups(digest, entries, count) : -1;
    if (status == 0 && EVP_DigestFinal_ex(digest, id.bytes, NULL) != 1)
        status = -1;
    EVP_MD_CTX_free(digest);
    if (status == 0)
        *ret = id;
    return status;
}

int manifest_hash_matches(Headgate__Entry *const *entries, size_t count, const struct resource_id *hash) {
    struct resource_id actual;
    if (manifest_hash(entries, count, &actual) < 0)
        return -1;
    if (resource_id_equal(&actual, hash))
        return 1;
    if (hash_group(entries, count, &actual) < 0)
        return -1;
    return resource_id_equal(&actual, hash);
}
