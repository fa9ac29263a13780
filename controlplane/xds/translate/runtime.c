/* Layers of runtime values (RTDS). */
#include "controlplane/xds/translate/runtime.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/translate/making.h"
#include "controlplane/xds/translate/tables.h"

enum { PATH_MAX_BYTES = 4096, DEPTH_MAX = 32, HUNDRED = 100 };

const struct xds_fields xds_read_runtime = XDS_TABLE(envoy__service__runtime__v3__runtime,
    XDS_READ("name"),
    XDS_NOTE("layer", "as in Envoy: a number, or a text that is one, is a percentage (its whole part) or a weight; "
                      "numerator and denominator are a share; anything else leaves the default. A list or null is refused. "
                      "All values are held, and told by client status. What goes by them names a `runtime_key`: "
                      "`runtime_fraction` of routes, `runtime_key_prefix` of weighted clusters, `aggression` of a slow "
                      "start. Keys that Envoy itself knows (`upstream.healthy_panic_threshold` and the like) "
                      "change nothing"));

/* ---- what layers come to ---- */

static uint64_t mix(uint64_t hash, uint64_t more) {
    return (hash ^ more) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_of(const struct xds_runtime_value *v) {
    uint64_t number;
    memcpy(&number, &v->number, sizeof number);
    uint64_t hash = mix(map_hash(str_of(v->key)), (uint64_t)v->is_share << 1 | v->is_number);
    return mix(mix(hash, (uint64_t)v->numerator << 32 | v->of), number) | 1;
}

int xds_runtime_set(struct xds_runtime *r, const struct xds_runtime_value *value) {
    struct xds_runtime_value *v = map_get(&r->by_key, str_of(value->key));
    const char *key = v ? v->key : NULL;
    if (v) {
        r->hash -= hash_of(v);
    } else {
        v = arena_alloc(&r->arena, sizeof *v);
        key = v ? arena_strdup(&r->arena, value->key) : NULL;
        if (!key || map_set(&r->by_key, str_of(key), v) < 0)
            return -1;
    }
    *v = *value;
    v->key = key;
    r->hash += hash_of(v);
    return 0;
}

static const struct xds_runtime_value *find(const struct xds_runtime *r, const char *key) {
    return r && key[0] ? map_get(&r->by_key, str_of(key)) : NULL;
}

static const double WHOLE_MAX = 18446744073709549568.0; /* the largest double that is a uint64_t */

static bool is_integer(const struct xds_runtime_value *v) {
    return v && v->is_number && v->number >= 0 && v->number <= WHOLE_MAX;
}

bool xds_runtime_share(const struct xds_runtime *r, const char *key, uint32_t *numerator, uint32_t *of) {
    const struct xds_runtime_value *v = find(r, key);
    if (v && v->is_share) {
        *numerator = v->numerator;
        *of = v->of;
    } else if (is_integer(v)) {
        *numerator = v->number < HUNDRED ? (uint32_t)v->number : HUNDRED;
        *of = HUNDRED;
    } else {
        return false;
    }
    return true;
}

uint64_t xds_runtime_integer(const struct xds_runtime *r, const char *key, uint64_t otherwise) {
    const struct xds_runtime_value *v = find(r, key);
    return is_integer(v) ? (uint64_t)v->number : otherwise;
}

double xds_runtime_number(const struct xds_runtime *r, const char *key, double otherwise) {
    const struct xds_runtime_value *v = find(r, key);
    return v && v->is_number ? v->number : otherwise;
}

void xds_runtime_finish(struct xds_runtime *r) {
    map_finish(&r->by_key);
    arena_finish(&r->arena);
    *r = (struct xds_runtime){0};
}

/* ---- values ---- */

/* Decimal, with space around it; hexadecimal digits are none. */
struct xds_runtime_value xds_runtime_of_text(const char *key, const char *text) {
    struct xds_runtime_value v = {.key = key};
    char *end;
    v.number = strtod(text, &end);
    bool is_any = end != text && !memchr(text, 'x', (size_t)(end - text)) && !memchr(text, 'X', (size_t)(end - text));
    while (isspace((unsigned char)*end))
        end++;
    v.is_number = is_any && !*end && !isnan(v.number);
    v.number = v.is_number ? v.number : 0;
    return v;
}

static void add_value(struct making *m, const struct xds_runtime_value *v) {
    struct xds_made *made = m->made;
    char *key = arena_strdup(&made->arena, v->key);
    if (!key || hg_grow(&made->values, &made->value_capacity, made->value_count + 1, sizeof *made->values) < 0) {
        making_out_of_memory(m);
        return;
    }
    made->values[made->value_count] = *v;
    made->values[made->value_count++].key = key;
}

static const Google__Protobuf__Value *member(const Google__Protobuf__Struct *s, const char *name) {
    for (size_t i = 0; i < s->n_fields; i++)
        if (strcmp(s->fields[i]->key, name) == 0)
            return s->fields[i]->value;
    return NULL;
}

/* As the message FractionalPercent has it, whose denominator is HUNDRED where it is left out. 0: none. */
static uint32_t denominator_of(const Google__Protobuf__Value *v) {
    static const struct {
        const char *name;
        uint32_t    of;
    } known[] = {{"HUNDRED", 100}, {"TEN_THOUSAND", 10000}, {"MILLION", 1000000}};
    bool is_text = v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    for (size_t i = 0; is_text && i < sizeof known / sizeof *known; i++)
        if (strcmp(v->string_value, known[i].name) == 0)
            return known[i].of;
    return v ? 0 : HUNDRED;
}

static uint32_t numerator_of(const Google__Protobuf__Value *v, uint32_t of) {
    bool is_number = v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE && v->number_value > 0;
    if (!is_number)
        return 0;
    return v->number_value < of ? (uint32_t)v->number_value : of;
}

/* A struct that is empty, or has one of these words in it, is one value: a share when there is nothing else in it. */
static bool is_one_value(const Google__Protobuf__Struct *s) {
    return s->n_fields == 0 || member(s, "numerator") || member(s, "denominator");
}

static void add_share(struct making *m, const char *key, const Google__Protobuf__Struct *s) {
    const Google__Protobuf__Value *numerator = member(s, "numerator"), *denominator = member(s, "denominator");
    size_t known = (numerator != NULL) + (denominator != NULL);
    struct xds_runtime_value v = {.key = key};
    uint32_t of = denominator_of(denominator);
    if (s->n_fields == known && of > 0) {
        v.is_share = true;
        v.numerator = numerator_of(numerator, of);
        v.of = of;
    }
    add_value(m, &v);
}

/* ---- one layer ---- */

static void add_struct(struct making *m, const char *prefix, const Google__Protobuf__Struct *s, unsigned depth);

static void add_member(struct making *m, const char *key, const Google__Protobuf__Value *v, unsigned depth) {
    struct xds_runtime_value value = {.key = key};
    switch (v ? v->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
    case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
        if (is_one_value(v->struct_value))
            add_share(m, key, v->struct_value);
        else
            add_struct(m, key, v->struct_value, depth + 1);
        return;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        value.is_number = !isnan(v->number_value);
        value.number = value.is_number ? v->number_value : 0;
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE: value = xds_runtime_of_text(key, v->string_value); break;
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE: break;
    default: making_refuse(m, XDS_AT(NULL, "layer"), ERROR_TYPE, "has a list or nothing as the value \"%s\"", key); return;
    }
    add_value(m, &value);
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

int xds_translate_layer(const char *name, const Google__Protobuf__Struct *layer, struct xds_made *ret,
                        struct error_list *errors) {
    Envoy__Service__Runtime__V3__Runtime m = ENVOY__SERVICE__RUNTIME__V3__RUNTIME__INIT;
    m.name = (char *)(uintptr_t)name;
    m.layer = (Google__Protobuf__Struct *)(uintptr_t)layer;
    return xds_translate_runtime(&m, ret, errors);
}
