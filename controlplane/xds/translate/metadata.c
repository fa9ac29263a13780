#include <stdlib.h>

#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/values.h"
#include "proto/google/protobuf/struct.pb-c.h"

#define BALANCER_METADATA "envoy.lb"

enum { ENTRIES_MAX = 64, KEY_MAX = 128, VALUE_MAX = 1024 };

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

static Headgate__MetadataEntry *take_entry(struct making *m, const struct xds_at *at,
                                           const Google__Protobuf__Struct__FieldsEntry *field) {
    const struct xds_at *here = XDS_AT_KEY(at, "fields", field->key);
    Headgate__MetadataEntry *entry = making_new(m, &headgate__metadata_entry__descriptor);
    if (!entry)
        return NULL;
    if (!field->key[0])
        making_refuse(m, here, ERROR_MISSING, "has no name");
    value_text(m, here, field->key, &text_word, KEY_MAX, &entry->key);
    entry->value = part_metadata_value(m, here, field->value);
    return entry->key && entry->value ? entry : NULL;
}

static int compare(const void *a, const void *b) {
    const Headgate__MetadataEntry *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* A map that was encoded oddly may have a key twice: the last one counts, as protobuf has it. */
static size_t place_of(Headgate__MetadataEntry *const *items, size_t count, const char *key) {
    size_t i = 0;
    while (i < count && strcmp(items[i]->key, key) != 0)
        i++;
    return i;
}

static void take_struct(struct making *m, const struct xds_at *at, const Google__Protobuf__Struct *fields,
                        Headgate__MetadataEntry ***ret_items, size_t *ret_count) {
    if (fields->n_fields > ENTRIES_MAX) {
        making_refuse(m, at, ERROR_RANGE, "has %zu entries; %d are possible", fields->n_fields, ENTRIES_MAX);
        return;
    }
    Headgate__MetadataEntry **items = making_array(m, fields->n_fields, sizeof *items);
    size_t count = 0;
    for (size_t i = 0; items && i < fields->n_fields; i++) {
        Headgate__MetadataEntry *entry = take_entry(m, at, fields->fields[i]);
        size_t place = entry ? place_of(items, count, entry->key) : 0;
        if (!entry)
            continue;
        items[place] = entry;
        count += place == count;
    }
    if (!count)
        return;
    qsort(items, count, sizeof *items, compare);
    *ret_items = items;
    *ret_count = count;
}

void part_metadata(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Metadata *metadata,
                   Headgate__MetadataEntry ***ret_items, size_t *ret_count) {
    for (size_t i = 0; metadata && i < metadata->n_filter_metadata; i++) {
        const Envoy__Config__Core__V3__Metadata__FilterMetadataEntry *e = metadata->filter_metadata[i];
        if (strcmp(e->key, BALANCER_METADATA) == 0 && e->value)
            take_struct(m, XDS_AT_KEY(at, "filter_metadata", BALANCER_METADATA), e->value, ret_items, ret_count);
    }
}
