/* Layers of runtime values (RTDS). */
#include "controlplane/xds/translate/runtime.h"

#include <math.h>

#include "common/alloc.h"
#include "controlplane/xds/translate/making.h"
#include "controlplane/xds/translate/tables.h"

enum { PATH_MAX_BYTES = 4096, DEPTH_MAX = 32 };

const struct xds_fields xds_read_runtime = XDS_TABLE(envoy__service__runtime__v3__runtime,
    XDS_READ("name"),
    XDS_NOTE("layer", "any values, which are held, and told by client status. `runtime_fraction` of routes goes by them: a "
                      "whole number is a percentage, numerator and denominator may stand there, anything else leaves the "
                      "default. Where another field names a `runtime_key`, its default holds"));

/* ---- what layers come to ---- */

static uint64_t hash_of(const struct xds_runtime_value *v) {
    return (map_hash(str_of(v->key)) ^ ((uint64_t)v->numerator << 32 | v->of)) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

int xds_runtime_set(struct xds_runtime *r, const struct xds_runtime_value *value) {
    struct xds_runtime_value *v = map_get(&r->by_key, str_of(value->key));
    if (v) {
        r->hash -= hash_of(v);
    } else {
        v = arena_alloc(&r->arena, sizeof *v);
        const char *key = v ? arena_strdup(&r->arena, value->key) : NULL;
        if (!key || map_set(&r->by_key, str_of(key), v) < 0)
            return -1;
        v->key = key;
    }
    v->numerator = value->numerator;
    v->of = value->of;
    r->hash += hash_of(v);
    return 0;
}

const struct xds_runtime_value *xds_runtime_find(const struct xds_runtime *r, const char *key) {
    return r ? map_get(&r->by_key, str_of(key)) : NULL;
}

void xds_runtime_finish(struct xds_runtime *r) {
    map_finish(&r->by_key);
    arena_finish(&r->arena);
    *r = (struct xds_runtime){0};
}

/* ---- one layer ---- */

static void add_value(struct making *m, const char *key, uint32_t numerator, uint32_t of) {
    struct xds_made *made = m->made;
    char *copy = arena_strdup(&made->arena, key);
    if (!copy || hg_grow(&made->values, &made->value_capacity, made->value_count + 1, sizeof *made->values) < 0)
        making_out_of_memory(m);
    else
        made->values[made->value_count++] = (struct xds_runtime_value){copy, numerator < of ? numerator : of, of};
}

static bool is_whole(const Google__Protobuf__Value *v, double most) {
    return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE && v->number_value >= 0
           && v->number_value <= most && floor(v->number_value) == v->number_value;
}

static void add_number(struct making *m, const char *key, const Google__Protobuf__Value *v) {
    if (is_whole(v, UINT32_MAX))
        add_value(m, key, (uint32_t)v->number_value, 100);
    else
        add_value(m, key, 0, 0);
}

static const Google__Protobuf__Value *member(const Google__Protobuf__Struct *s, const char *name) {
    for (size_t i = 0; i < s->n_fields; i++)
        if (strcmp(s->fields[i]->key, name) == 0)
            return s->fields[i]->value;
    return NULL;
}

/* As the message FractionalPercent has it, whose denominator is HUNDRED where it is left out. */
static uint32_t denominator_of(const Google__Protobuf__Value *v) {
    static const struct {
        const char *name;
        uint32_t    of;
    } known[] = {{"HUNDRED", 100}, {"TEN_THOUSAND", 10000}, {"MILLION", 1000000}};
    for (size_t i = 0; v && i < sizeof known / sizeof *known; i++) {
        bool is_text = v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        bool is_name = is_text && strcmp(v->string_value, known[i].name) == 0;
        if (is_name || (is_whole(v, 2) && (size_t)v->number_value == i))
            return known[i].of;
    }
    return v ? 0 : 100;
}

/* Whether the struct is a share, and no more keys. */
static bool add_share(struct making *m, const char *key, const Google__Protobuf__Struct *s) {
    const Google__Protobuf__Value *numerator = member(s, "numerator"), *denominator = member(s, "denominator");
    size_t known = (numerator != NULL) + (denominator != NULL);
    uint32_t of = denominator_of(denominator);
    if (known == 0 || s->n_fields != known || (numerator && !is_whole(numerator, UINT32_MAX)) || of == 0)
        return false;
    add_value(m, key, numerator ? (uint32_t)numerator->number_value : 0, of);
    return true;
}

static void add_struct(struct making *m, const char *prefix, const Google__Protobuf__Struct *s, unsigned depth);

static void add_member(struct making *m, const char *key, const Google__Protobuf__Value *v, unsigned depth) {
    bool is_struct = v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE && v->struct_value;
    if (!is_struct)
        add_number(m, key, v);
    else if (!add_share(m, key, v->struct_value))
        add_struct(m, key, v->struct_value, depth + 1);
}

static void add_struct(struct making *m, const char *prefix, const Google__Protobuf__Struct *s, unsigned depth) {
    const struct xds_at *at = XDS_AT(NULL, "layer");
    for (size_t i = 0; i < s->n_fields && !m->faults; i++) {
        struct strbuf key = {0};
        strbuf_printf(&key, "%s%s%s", prefix, prefix[0] ? "." : "", s->fields[i]->key);
        if (key.failed)
            making_out_of_memory(m);
        else if (depth == DEPTH_MAX || key.n > PATH_MAX_BYTES || m->made->value_count == XDS_RUNTIME_KEYS_MAX)
            making_refuse(m, at, ERROR_RANGE, "has more than %d keys, %d levels or %d bytes in a key", XDS_RUNTIME_KEYS_MAX,
                          DEPTH_MAX, PATH_MAX_BYTES);
        else
            add_member(m, key.p, s->fields[i]->value, depth);
        strbuf_finish(&key);
    }
}

int xds_translate_runtime(const Envoy__Service__Runtime__V3__Runtime *m, struct xds_made *ret, struct error_list *errors) {
    struct making making;
    if (making_begin(&making, &xds_read_runtime, &m->base, "runtime", m->name, ret, errors) == 0 && m->layer)
        add_struct(&making, "", m->layer, 0);
    return making_end(&making);
}
