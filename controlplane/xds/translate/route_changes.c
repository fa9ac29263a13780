/* What routes add to heads, and remove from them: in our order of changes. */
#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"
#include "dataplane/routing/changes.h"

enum { NAME_MAX_BYTES = 256 };

#define ACTION(name) ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__##name

static Headgate__HeaderChange__Action action_of(const Envoy__Config__Core__V3__HeaderValueOption *from) {
    if (from->append)
        return from->append->value ? HEADGATE__HEADER_CHANGE__ACTION__APPEND : HEADGATE__HEADER_CHANGE__ACTION__SET;
    switch (from->append_action) {
    case ACTION(ADD_IF_ABSENT): return HEADGATE__HEADER_CHANGE__ACTION__ADD_IF_ABSENT;
    case ACTION(OVERWRITE_IF_EXISTS_OR_ADD): return HEADGATE__HEADER_CHANGE__ACTION__SET;
    case ACTION(OVERWRITE_IF_EXISTS): return HEADGATE__HEADER_CHANGE__ACTION__REPLACE;
    default: return HEADGATE__HEADER_CHANGE__ACTION__APPEND;
    }
}

static bool overwrites(const Envoy__Config__Core__V3__HeaderValueOption *from) {
    Headgate__HeaderChange__Action action = action_of(from);
    return action == HEADGATE__HEADER_CHANGE__ACTION__SET || action == HEADGATE__HEADER_CHANGE__ACTION__REPLACE;
}

static Headgate__HeaderChange *add_change(struct making *m, const struct xds_at *at, const char *name,
                                          struct route_changes *to) {
    Headgate__HeaderChange *change = making_new(m, &headgate__header_change__descriptor);
    if (!change)
        return NULL;
    if (!name[0])
        making_refuse(m, at, ERROR_MISSING, "is missing");
    value_text(m, at, name, &text_own_field_name, NAME_MAX_BYTES, &change->name);
    if (to->count < HEADER_CHANGES_MAX)
        to->items[to->count++] = change;
    else
        making_refuse(m, at, ERROR_RANGE, "is one too many; %d changes of a route are possible", HEADER_CHANGES_MAX);
    return change;
}

/* Its commands must be known. */
static void check_value(struct making *m, const struct xds_at *at, const Headgate__HeaderChange *change, bool is_response) {
    struct header_change ignored;
    const char *bad = header_change_build(&m->arena, change, is_response, &ignored);
    if (bad)
        making_refuse(m, at, ERROR_UNSUPPORTED, "is \"%s\": %s", change->value ? change->value : "", bad);
}

static void add_value(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__HeaderValueOption *from,
                      bool is_response, struct route_changes *to) {
    if (!from->header) {
        making_refuse(m, XDS_AT(at, "header.key"), ERROR_MISSING, "is missing");
        return;
    }
    bool is_raw = from->header->raw_value.len > 0;
    const struct xds_at *at_value = XDS_AT(at, is_raw ? "header.raw_value" : "header.value");
    struct str raw = {(const char *)from->header->raw_value.data, from->header->raw_value.len};
    char *text = is_raw ? making_text(m, raw) : from->header->value;
    if (!text || (!text[0] && !from->keep_empty_value))
        return; /* without a value nothing is changed */
    Headgate__HeaderChange *change = add_change(m, XDS_AT(at, "header.key"), from->header->key, to);
    if (!change)
        return;
    value_text(m, at_value, text, &text_field_value, HEADER_VALUE_MAX, &change->value);
    change->has_action = true;
    change->action = action_of(from);
    change->has_keep_empty = change->keep_empty = from->keep_empty_value;
    if (change->value)
        check_value(m, at_value, change, is_response);
}

void route_changes_add(struct making *m, const struct route_headers *from, bool is_response, struct route_changes *to) {
    for (size_t i = 0; i < from->remove_count; i++) {
        Headgate__HeaderChange *change = add_change(m, XDS_AT_ITEM(from->at, from->remove_field, i), from->remove[i], to);
        if (!change)
            return;
        change->has_action = true;
        change->action = HEADGATE__HEADER_CHANGE__ACTION__REMOVE;
    }
    for (int second = 0; second < 2; second++) /* in one place, first what overwrites and then what adds */
        for (size_t i = 0; i < from->add_count; i++)
            if (overwrites(from->add[i]) == !second)
                add_value(m, XDS_AT_ITEM(from->at, from->add_field, i), from->add[i], is_response, to);
}

bool route_changes_begin(struct making *m, struct route_changes *ret) {
    ret->items = making_array(m, HEADER_CHANGES_MAX, sizeof *ret->items);
    ret->count = 0;
    return ret->items != NULL;
}
