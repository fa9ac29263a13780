#include <stdlib.h>

#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/values.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/tls_choice.h"

#define BALANCER_METADATA  "envoy.lb"
#define TRANSPORT_METADATA "envoy.transport_socket_match"
#define TRANSPORT_KEY      TRANSPORT_METADATA "."    /* what such keys begin with here, where all are together */

enum { ENTRIES_MAX = 64, SUBSET_MAX = 8, KEY_MAX = 128, VALUE_MAX = 1024 };

/* Entries under way to one list. */
struct entries {
    struct making            *making;
    Headgate__MetadataEntry **items;
    size_t                    count, room;
};

char *part_metadata_value(struct making *m, const struct xds_at *at, const Google__Protobuf__Value *value) {
    char *text = NULL;
    switch (value ? value->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE: text = making_text(m, str_of(value->string_value)); break;
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        text = making_text(m, value->bool_value ? STR("true") : STR("false"));
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        text = arena_printf(&m->arena, "%.17g", value->number_value);
        if (!text)
            making_out_of_memory(m);
        break;
    default: making_unsupported(m, at, "only texts, numbers and true or false are"); return NULL;
    }
    if (text && strlen(text) > VALUE_MAX) {
        making_refuse(m, at, ERROR_RANGE, "has %zu bytes; %d are possible", strlen(text), VALUE_MAX);
        return NULL;
    }
    return text;
}

/* A key of `prefix` and the text; NULL after an error. */
static char *take_key(struct making *m, const struct xds_at *at, const char *text, const char *prefix) {
    char *key = NULL;
    if (!text[0])
        making_refuse(m, at, ERROR_MISSING, "has no name");
    if (!prefix[0] && str_starts(str_of(text), STR(TRANSPORT_KEY)))
        making_unsupported(m, at, "such keys are of transport sockets here");
    value_text(m, at, text, &text_word, KEY_MAX - strlen(prefix), &key);
    if (!key || !prefix[0])
        return key;
    char *whole = arena_printf(&m->arena, "%s%s", prefix, key);
    if (!whole)
        making_out_of_memory(m);
    return whole;
}

static Headgate__MetadataEntry *take_entry(struct making *m, const struct xds_at *at,
                                           const Google__Protobuf__Struct__FieldsEntry *field, const char *prefix) {
    const struct xds_at *here = XDS_AT_KEY(at, "fields", field->key);
    Headgate__MetadataEntry *entry = making_new(m, &headgate__metadata_entry__descriptor);
    if (!entry)
        return NULL;
    entry->key = take_key(m, here, field->key, prefix);
    entry->value = part_metadata_value(m, here, field->value);
    return entry->key && entry->value ? entry : NULL;
}

static int compare(const void *a, const void *b) {
    const Headgate__MetadataEntry *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* A map that was encoded oddly may have a key twice: the last one counts, as protobuf has it. */
static size_t place_of(const struct entries *e, const char *key) {
    size_t i = 0;
    while (i < e->count && strcmp(e->items[i]->key, key) != 0)
        i++;
    return i;
}

static void take_struct(struct entries *e, const struct xds_at *at, const Google__Protobuf__Struct *fields,
                        const char *prefix) {
    if (fields->n_fields > e->room - e->count) {
        making_refuse(e->making, at, ERROR_RANGE, "has %zu entries; %zu are possible", fields->n_fields, e->room - e->count);
        return;
    }
    if (!e->items)
        e->items = making_array(e->making, e->room, sizeof *e->items);
    for (size_t i = 0; e->items && i < fields->n_fields; i++) {
        Headgate__MetadataEntry *entry = take_entry(e->making, at, fields->fields[i], prefix);
        size_t place = entry ? place_of(e, entry->key) : 0;
        if (!entry)
            continue;
        e->items[place] = entry;
        e->count += place == e->count;
    }
}

static void hand_out(const struct entries *e, Headgate__MetadataEntry ***ret_items, size_t *ret_count) {
    if (!e->count)
        return;
    qsort(e->items, e->count, sizeof *e->items, compare);
    *ret_items = e->items;
    *ret_count = e->count;
}

/* ---- of endpoints and of those who choose among them ---- */

static void take_of(struct entries *e, const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *metadata,
                    const char *name, const char *prefix) {
    for (size_t i = 0; metadata && i < metadata->n_filter_metadata; i++) {
        const Envoy__Config__Core__V3__Metadata__FilterMetadataEntry *item = metadata->filter_metadata[i];
        if (strcmp(item->key, name) == 0 && item->value)
            take_struct(e, XDS_AT_KEY(at, "filter_metadata", name), item->value, prefix);
    }
}

void part_metadata(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *metadata,
                   Headgate__MetadataEntry ***ret_items, size_t *ret_count) {
    struct entries e = {.making = m, .room = ENTRIES_MAX};
    take_of(&e, at, metadata, BALANCER_METADATA, "");
    hand_out(&e, ret_items, ret_count);
}

void part_subset(struct making *m, const struct xds_at *outer_at, const Envoy__Config__Core__V3__Metadata *outer,
                 const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *own, Headgate__WeightedCluster *to) {
    Headgate__MetadataEntry **first = NULL, **second = NULL;
    size_t first_count = 0, second_count = 0;
    part_metadata(m, XDS_AT(outer_at, "metadata_match"), outer, &first, &first_count);
    part_metadata(m, XDS_AT(at, "metadata_match"), own, &second, &second_count);
    to->subset = making_array(m, first_count + second_count, sizeof *to->subset);
    if (!to->subset)
        return;
    for (size_t i = 0, k = 0; i < first_count || k < second_count;) {
        int order = i == first_count ? 1 : k == second_count ? -1 : strcmp(first[i]->key, second[k]->key);
        to->subset[to->n_subset++] = order < 0 ? first[i] : second[k];
        i += order <= 0;
        k += order >= 0;
    }
    if (to->n_subset > SUBSET_MAX)
        making_refuse(m, XDS_AT(own ? at : outer_at, "metadata_match"), ERROR_RANGE, "has %zu keys; %d are possible",
                      to->n_subset, SUBSET_MAX);
}

void part_endpoint_metadata(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *metadata,
                            Headgate__MetadataEntry ***ret_items, size_t *ret_count) {
    struct entries e = {.making = m, .room = ENTRIES_MAX};
    take_of(&e, at, metadata, BALANCER_METADATA, "");
    take_of(&e, at, metadata, TRANSPORT_METADATA, TRANSPORT_KEY);
    hand_out(&e, ret_items, ret_count);
}

void part_transport_match(struct making *m, const struct xds_at *at, const Google__Protobuf__Struct *match,
                          Headgate__MetadataEntry ***ret_items, size_t *ret_count) {
    struct entries e = {.making = m, .room = TLS_CHOICE_KEYS_MAX};
    if (match)
        take_struct(&e, at, match, TRANSPORT_KEY);
    hand_out(&e, ret_items, ret_count);
}

bool part_metadata_is_of_transport(const Envoy__Config__Core__V3__Metadata *metadata) {
    for (size_t i = 0; metadata && i < metadata->n_filter_metadata; i++)
        if (strcmp(metadata->filter_metadata[i]->key, TRANSPORT_METADATA) == 0)
            return true;
    return false;
}
