#include "controlplane/engine/reply.h"

#include <stdio.h>
#include <string.h>

static char *copy(struct arena *arena, const char *text) {
    return text ? arena_strdup(arena, text) : NULL;
}

/* ---- problems ---- */

static Headgate__Problem *append(struct arena *arena, struct problem_list *list) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        Headgate__Problem **items = arena_calloc(arena, capacity, sizeof(Headgate__Problem *));
        if (!items)
            return NULL;
        if (list->count)
            memcpy(items, list->items, list->count * sizeof(Headgate__Problem *));
        list->items = items;
        list->capacity = capacity;
    }
    Headgate__Problem *p = arena_alloc(arena, sizeof *p);
    if (!p)
        return NULL;
    headgate__problem__init(p);
    list->items[list->count++] = p;
    return p;
}

static void fill_problem(struct arena *arena, Headgate__Problem *p, const struct error *e) {
    p->code = (char *)error_code_name(e->code);
    p->message = copy(arena, e->message);
    p->file = copy(arena, e->file);
    p->has_line = e->line > 0;
    p->line = e->line;
    p->has_column = e->column > 0;
    p->column = e->column;
    p->resource = copy(arena, e->resource);
    p->path = copy(arena, e->path);
    p->expected = copy(arena, e->expected);
    p->nearest = copy(arena, e->nearest);
}

void reply_add_problems(struct arena *arena, struct problem_list *list, const struct error_list *errors,
                        bool is_warning) {
    for (size_t i = 0; i < errors->count; i++) {
        Headgate__Problem *p = append(arena, list);
        if (!p)
            return;
        fill_problem(arena, p, &errors->items[i]);
        p->has_is_warning = p->is_warning = is_warning;
    }
    if (errors->dropped)
        reply_add_problem(arena, list, ERROR_RANGE, NULL, NULL, "and more of them, which are not listed");
}

void reply_add_problem(struct arena *arena, struct problem_list *list, enum error_code code,
                       const char *resource, const char *path, const char *message) {
    const struct error e = {.code = code, .message = message, .resource = resource, .path = path};
    Headgate__Problem *p = append(arena, list);
    if (p)
        fill_problem(arena, p, &e);
}

void reply_add_reason(struct arena *arena, struct problem_list *list, const char *node, const Headgate__Reason *reason) {
    char message[1024], resource[RESOURCE_NAME_MAX + 32];
    const char *kind = reason->has_kind ? kind_name(reason->kind) : NULL;
    bool names_one = kind && reason->name;
    const char *text = reason->message ? reason->message : "no reason given";
    snprintf(message, sizeof message, "data plane %s: %s", node ? node : "", text);
    if (names_one)
        snprintf(resource, sizeof resource, "%s/%.*s", kind, RESOURCE_NAME_MAX, reason->name);
    reply_add_problem(arena, list, ERROR_STATE, names_one ? resource : NULL, reason->path, message);
}

void reply_copy_problem(struct arena *arena, struct problem_list *list, const Headgate__Problem *problem) {
    Headgate__Problem *p = append(arena, list);
    if (!p)
        return;
    *p = *problem;
    p->base.n_unknown_fields = 0;
    p->base.unknown_fields = NULL;
}

/* ---- changes ---- */

static bool is_same_bytes(const struct config_resource *a, const struct config_resource *b) {
    return a->size == b->size && resource_id_equal(&a->id, &b->id);
}

static Headgate__FieldChange *field_change(struct arena *arena, const struct config_change *from) {
    Headgate__FieldChange *to = arena_alloc(arena, sizeof *to);
    if (!to)
        return NULL;
    headgate__field_change__init(to);
    to->path = copy(arena, from->path);
    to->before = copy(arena, from->before);
    to->after = copy(arena, from->after);
    return to;
}

static void add_fields(struct arena *arena, Headgate__Change *change, const struct config_resource *a,
                       const struct config_resource *b) {
    struct config_changes differences = {0};
    struct error_list errors = {0};
    if (config_diff(a->kind, a->bytes, a->size, b->bytes, b->size, &differences, &errors) == 0) {
        size_t count = differences.count < REPLY_FIELDS_MAX ? differences.count : REPLY_FIELDS_MAX;
        change->has_field_count = true;
        change->field_count = differences.count;
        change->fields = arena_calloc(arena, count ? count : 1, sizeof(Headgate__FieldChange *));
        for (size_t i = 0; change->fields && i < count; i++) {
            Headgate__FieldChange *f = field_change(arena, &differences.items[i]);
            if (f)
                change->fields[change->n_fields++] = f;
        }
    }
    config_changes_finish(&differences);
    error_list_finish(&errors);
}

static Headgate__Change *make_change(struct arena *arena, const struct config_resource *a,
                                     const struct config_resource *b) {
    Headgate__Change *change = arena_alloc(arena, sizeof *change);
    if (!change)
        return NULL;
    headgate__change__init(change);
    change->has_kind = change->has_what = true;
    change->kind = a ? a->kind : b->kind;
    change->name = copy(arena, a ? a->name : b->name);
    change->what = !a  ? HEADGATE__CHANGE__WHAT__ADDED
                   : b ? HEADGATE__CHANGE__WHAT__CHANGED
                       : HEADGATE__CHANGE__WHAT__REMOVED;
    if (a && b)
        add_fields(arena, change, a, b);
    return change;
}

static int compare(const struct config_resource *a, const struct config_resource *b) {
    return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->name, b->name);
}

/* One step of walking two sorted sets side by side: the pair that stands for the next resource. */
static bool next_pair(const struct config_resources *a, const struct config_resources *b, size_t *i,
                      size_t *j, const struct config_resource **ret_a, const struct config_resource **ret_b) {
    if (*i == a->count && *j == b->count)
        return false;
    int order = *i == a->count ? 1 : *j == b->count ? -1 : compare(&a->items[*i], &b->items[*j]);
    *ret_a = order <= 0 ? &a->items[(*i)++] : NULL;
    *ret_b = order >= 0 ? &b->items[(*j)++] : NULL;
    return true;
}

static size_t count_changes(const struct config_resources *a, const struct config_resources *b) {
    const struct config_resource *x, *y;
    size_t i = 0, j = 0, n = 0;
    while (next_pair(a, b, &i, &j, &x, &y))
        n += !x || !y || !is_same_bytes(x, y);
    return n;
}

size_t reply_changes(struct arena *arena, const struct config_resources *a, const struct config_resources *b,
                     Headgate__Change ***ret, size_t *ret_count) {
    const struct config_resource *x, *y;
    size_t i = 0, j = 0, n = 0, count = count_changes(a, b);
    size_t listed = count < REPLY_CHANGES_MAX ? count : REPLY_CHANGES_MAX;
    Headgate__Change **list = arena_calloc(arena, listed ? listed : 1, sizeof(Headgate__Change *));
    while (list && n < listed && next_pair(a, b, &i, &j, &x, &y)) {
        if (x && y && is_same_bytes(x, y))
            continue;
        list[n] = make_change(arena, x, y);
        if (!list[n])
            break;
        n++;
    }
    *ret = list;
    *ret_count = n;
    return count;
}

/* ---- data planes ---- */

static Headgate__Reason *lost_reason(struct arena *arena, const char *text) {
    Headgate__Reason *r = arena_alloc(arena, sizeof *r);
    if (!r)
        return NULL;
    headgate__reason__init(r);
    r->code = (char *)error_code_name(ERROR_IO);
    r->message = copy(arena, text);
    return r;
}

/* The Nack lives as long as the push result only, so its reasons are copied. */
static Headgate__Reason *copy_reason(struct arena *arena, const Headgate__Reason *from) {
    Headgate__Reason *r = arena_memdup(arena, from, sizeof *from);
    if (!r)
        return NULL;
    r->base.n_unknown_fields = 0;
    r->base.unknown_fields = NULL;
    r->name = copy(arena, from->name);
    r->path = copy(arena, from->path);
    r->code = copy(arena, from->code);
    r->message = copy(arena, from->message);
    return r;
}

static void add_reasons(struct arena *arena, Headgate__DataPlaneResult *to,
                        const struct push_participant *from) {
    size_t count = from->nack ? from->nack->n_reasons : 0;
    to->reasons = arena_calloc(arena, count + 1, sizeof(Headgate__Reason *));
    for (size_t i = 0; to->reasons && i < count; i++) {
        Headgate__Reason *r = copy_reason(arena, from->nack->reasons[i]);
        if (r)
            to->reasons[to->n_reasons++] = r;
    }
    Headgate__Reason *lost = to->reasons && from->lost_reason ? lost_reason(arena, from->lost_reason) : NULL;
    if (lost)
        to->reasons[to->n_reasons++] = lost;
}

static Headgate__DataPlaneResult__State result_state(enum participant_state state) {
    switch (state) {
    case PARTICIPANT_ACKED: return HEADGATE__DATA_PLANE_RESULT__STATE__ACKED;
    case PARTICIPANT_NACKED: return HEADGATE__DATA_PLANE_RESULT__STATE__NACKED;
    case PARTICIPANT_READY: return HEADGATE__DATA_PLANE_RESULT__STATE__READY;
    default: return HEADGATE__DATA_PLANE_RESULT__STATE__LOST;
    }
}

static Headgate__DataPlaneResult *data_plane_result(struct arena *arena,
                                                    const struct push_participant *from) {
    Headgate__DataPlaneResult *to = arena_alloc(arena, sizeof *to);
    if (!to)
        return NULL;
    headgate__data_plane_result__init(to);
    to->node = copy(arena, from->node);
    to->has_state = to->has_build_us = to->has_switch_us = to->has_sent_bytes = true;
    to->state = result_state(from->state);
    to->build_us = from->build_us;
    to->switch_us = from->switch_us;
    to->sent_bytes = from->sent_bytes;
    add_reasons(arena, to, from);
    return to;
}

void reply_data_planes(struct arena *arena, const struct push_result *result,
                       Headgate__DataPlaneResult ***ret, size_t *ret_count) {
    Headgate__DataPlaneResult **list = arena_calloc(arena, result->count + 1,
                                                    sizeof(Headgate__DataPlaneResult *));
    size_t n = 0;
    for (size_t i = 0; list && i < result->count; i++) {
        list[n] = data_plane_result(arena, &result->participants[i]);
        n += list[n] != NULL;
    }
    *ret = list;
    *ret_count = n;
}
