#include "controlplane/xds/translate/making.h"

#include <openssl/crypto.h>

#include "common/alloc.h"
#include "controlplane/config/message/field.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/translate/names.h"
#include "controlplane/xds/types.h"

enum {
    MAKING_MEMORY_MAX = 512 << 20,
    MAKING_PIECE_MAX = 64 << 10,        /* most pieces are smaller by far */
};

/* ---- what was made ---- */

static void clear(struct str secret) {
    if (secret.n)
        OPENSSL_cleanse((char *)secret.p, secret.n);
}

void xds_made_finish(struct xds_made *made) {
    if (!made)
        return;
    for (size_t i = 0; i < made->given_count; i++) {
        clear(made->givens[i].key);
        for (size_t k = 0; k < made->givens[i].ticket_key_count; k++)
            clear(made->givens[i].ticket_keys[k]);
    }
    config_resources_finish(&made->set);
    hg_free(made->needs);
    map_finish(&made->needs_by_name);
    hg_free(made->givens);
    hg_free(made->values);
    arena_finish(&made->arena);
    *made = (struct xds_made){0};
}

int xds_made_need(struct xds_made *made, const char *type, struct str name, enum xds_awaited awaited) {
    size_t last = (uintptr_t)map_get(&made->needs_by_name, name);
    for (size_t i = last; i > 0; i = made->needs[i - 1].namesake) {
        struct xds_need *need = &made->needs[i - 1];
        if (strcmp(need->type, type) != 0)
            continue;
        need->awaited = awaited < need->awaited ? awaited : need->awaited;
        return 0;
    }
    struct str copy = arena_str(&made->arena, name);
    if (!copy.p || hg_grow(&made->needs, &made->need_capacity, made->need_count + 1, sizeof *made->needs) < 0 ||
        map_set(&made->needs_by_name, copy, (void *)(uintptr_t)(made->need_count + 1)) < 0)
        return -1;
    made->needs[made->need_count++] =
        (struct xds_need){.type = type, .name = copy.p, .awaited = awaited, .namesake = last};
    return 0;
}

/* ---- errors ---- */

static void add_path(const struct xds_at *at, struct strbuf *out) {
    if (!at)
        return;
    add_path(at->up, out);
    strbuf_printf(out, "%s%s", out->n ? "." : "", at->field);
    if (at->item)
        strbuf_printf(out, "[%zu]", at->item - 1);
    if (at->key) {
        strbuf_putc(out, '[');
        strbuf_add_json(out, str_of(at->key));
        strbuf_putc(out, ']');
    }
}

/* A condition that is passed over would mean other requests. */
static bool may_be_passed_over(const struct making *m, enum error_code code, const struct strbuf *path) {
    return m->is_lenient && code == ERROR_UNSUPPORTED && path->p && !strstr(path->p, ".match.");
}

int making_refuse(struct making *m, const struct xds_at *at, enum error_code code, const char *format, ...) {
    struct strbuf path = {0}, message = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&message, format, args);
    va_end(args);
    add_path(at, &path);
    struct error *e = error_addf(m->errors, message.failed ? ERROR_MEMORY : code, "%s",
                                 message.failed ? "out of memory" : strbuf_str(&message).p);
    error_set_resource(m->errors, e, m->resource, path.failed ? NULL : strbuf_str(&path).p);
    m->faults += !may_be_passed_over(m, code, &path);
    strbuf_finish(&path);
    strbuf_finish(&message);
    return -1;
}

int making_unsupported(struct making *m, const struct xds_at *at, const char *reason) {
    return making_refuse(m, at, ERROR_UNSUPPORTED, "is not supported: %s", reason);
}

/* What comes to the bound comes to it every time: a fault of the message, where a lack of memory is one of this moment. */
static int lacks(struct making *m, size_t size) {
    if (m->arena.limit && size > m->arena.limit - m->arena.used)
        return making_refuse(m, NULL, ERROR_RANGE, "takes more than %d MiB when it is translated, which is the bound",
                             MAKING_MEMORY_MAX >> 20);
    error_set_resource(m->errors, error_addf(m->errors, ERROR_MEMORY, "out of memory"), m->resource, NULL);
    m->faults++;
    return -1;
}

int making_out_of_memory(struct making *m) {
    return lacks(m, MAKING_PIECE_MAX);
}

/* ---- beginning and end ---- */

static enum error_code code_of(enum xds_finding_kind kind) {
    switch (kind) {
    case XDS_MALFORMED: return ERROR_SYNTAX;
    case XDS_DEEP:
    case XDS_MORE: return ERROR_RANGE;
    default: return ERROR_UNSUPPORTED;
    }
}

struct looking {
    struct making       *making;
    const struct xds_at *at;
};

static bool take_finding(void *context, const struct xds_finding *finding) {
    const struct looking *l = context;
    struct strbuf text = {0};
    if (finding->kind == XDS_IGNORED)
        return true;
    xds_finding_describe(finding, &text);
    if (text.failed)
        making_out_of_memory(l->making);
    else
        making_refuse(l->making, finding->path[0] ? XDS_AT(l->at, finding->path) : l->at, code_of(finding->kind), "%s",
                      strbuf_str(&text).p);
    strbuf_finish(&text);
    return true;
}

int making_look(struct making *m, const struct xds_at *at, const struct xds_fields *table, const ProtobufCMessage *message) {
    struct looking l = {m, at};
    size_t before = m->faults;
    if (xds_fields_walk(table, message, &(struct xds_findings){take_finding, &l}) < 0)
        making_out_of_memory(m);
    return m->faults == before ? 0 : -1;
}

static int begin(struct making *m, const struct xds_fields *table, const ProtobufCMessage *message, const char *what,
                 const char *name) {
    arena_init(&m->arena, NULL, 0, MAKING_MEMORY_MAX);
    m->made->stream_idle = m->made->stream_idle ? m->made->stream_idle : XDS_STREAM_IDLE;
    m->resource = arena_printf(&m->arena, "%s/%s", what, name);
    if (!m->resource)
        return making_out_of_memory(m);
    return making_look(m, NULL, table, message);
}

int making_begin(struct making *m, const struct xds_fields *table, const ProtobufCMessage *message, const char *what,
                 const char *name, struct xds_made *made, struct error_list *errors) {
    *m = (struct making){.made = made, .errors = errors};
    return begin(m, table, message, what, name);
}

int making_begin_leniently(struct making *m, const struct xds_fields *table, const ProtobufCMessage *message,
                           const char *what, const char *name, struct xds_made *made, struct error_list *errors) {
    *m = (struct making){.made = made, .errors = errors, .is_lenient = true};
    return begin(m, table, message, what, name);
}

int making_end(struct making *m) {
    arena_finish(&m->arena);
    config_resources_sort(&m->made->set);
    return m->faults ? -1 : 0;
}

/* ---- memory ---- */

void *making_new(struct making *m, const ProtobufCMessageDescriptor *type) {
    void *message = field_new_message(&m->arena, type);
    if (!message)
        making_out_of_memory(m);
    return message;
}

void *making_array(struct making *m, size_t count, size_t size) {
    size_t bytes;
    void *items = arena_calloc(&m->arena, count ? count : 1, size);
    if (!items)
        lacks(m, __builtin_mul_overflow(count, size, &bytes) || bytes < MAKING_PIECE_MAX ? MAKING_PIECE_MAX : bytes);
    return items;
}

char *making_text(struct making *m, struct str text) {
    char *copy = (char *)arena_str(&m->arena, text).p;
    if (!copy)
        lacks(m, text.n < MAKING_PIECE_MAX ? MAKING_PIECE_MAX : text.n + 1);
    return copy;
}

/* ---- messages, names, resources ---- */

ProtobufCMessage *making_open(struct making *m, const struct xds_at *at, const Google__Protobuf__Any *any) {
    const ProtobufCMessageDescriptor *type = xds_type_of_url(str_of(any->type_url));
    struct str bytes = {(const char *)any->value.data, any->value.len};
    ProtobufCMessage *message;
    int status = type ? xds_decode(type, &m->arena, bytes, &message) : MESSAGE_MALFORMED;
    if (status == 0)
        return message;
    if (status == MESSAGE_MEMORY || status == MESSAGE_LARGE)
        lacks(m, status == MESSAGE_LARGE ? SIZE_MAX : 0);
    else
        making_refuse(m, at, ERROR_SYNTAX, "%s", xds_decode_reason(status));
    return NULL;
}

char *making_name(struct making *m, const struct xds_at *at, const char *name) {
    if (!name[0]) {
        making_refuse(m, at, ERROR_MISSING, "is empty");
        return NULL;
    }
    char *mapped = (char *)xds_name_map(&m->arena, STR(""), str_of(name)).p;
    if (!mapped)
        making_out_of_memory(m);
    return mapped;
}

void making_need(struct making *m, const char *type, const char *name) {
    making_need_or(m, type, name, XDS_AWAITED);
}

void making_need_or(struct making *m, const char *type, const char *name, enum xds_awaited awaited) {
    if (xds_made_need(m->made, type, str_of(name), awaited) < 0)
        making_out_of_memory(m);
}

void making_emit(struct making *m, Headgate__Kind kind, const char *name, const ProtobufCMessage *message) {
    uint8_t *bytes;
    size_t size;
    if (m->faults)
        return;
    if (resource_encode(message, &bytes, &size) < 0) {
        making_out_of_memory(m);
        return;
    }
    if (config_resources_add(&m->made->set, kind, str_of(name), bytes, size) < 0)
        making_out_of_memory(m);
    hg_free(bytes);
}
