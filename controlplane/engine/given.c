/* Secrets that servers give: kept beside the state, and given again to what names them. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/secret_memory.h"
#include "controlplane/engine/internal.h"
#include "controlplane/engine/state.h"

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "no memory for secrets");
    return -1;
}

/* ---- who has given what ---- */

/* Since the start of the process. 0, or -1 without memory. */
static int note_name(struct engine *e, const char *name) {
    if (map_get(&e->secrets.given_now, str_of(name)))
        return 0;
    char *copy = hg_strdup(name);
    if (copy && map_set(&e->secrets.given_now, str_of(copy), copy) == 0)
        return 0;
    hg_free(copy);
    return -1;
}

static void forget_name(struct engine *e, const char *name) {
    hg_free(map_remove(&e->secrets.given_now, str_of(name)));
}

/* ---- following ---- */

static void on_given_due(struct ev_loop *loop, ev_timer *timer, int events) {
    struct engine *e = timer->data;
    (void)loop;
    (void)events;
    if (!e->is_stopping)
        engine_refresh_secrets(e);
}

/* Those that there are without the one of that name, and with `made`, unless it has no bytes. */
static struct part *replace_given(const struct engine *e, const char *name, const struct config_resource *made) {
    const struct part *given = e->secrets.given;
    struct config_resource *items = hg_calloc((given ? given->count : 0) + 2, sizeof *items);
    size_t n = 0;
    if (!items)
        return NULL;
    for (size_t i = 0; given && i < given->count; i++)
        if (strcmp(given->entries[i]->name, name) != 0)
            items[n++] = state_resource(given, i);
    if (made->bytes)
        items[n++] = *made;
    qsort(items, n, sizeof *items, state_compare);
    struct part *part = part_create(items, n, given);
    hg_free(items);
    return part;
}

/* One that is in use is made anew and saved with the state; another is saved with whatever comes next. */
static void follow_given(struct engine *e, const char *name) {
    const struct snapshot *current = channel_current(e->channel);
    if (!current)
        return;
    if (part_find(current->state, HEADGATE__KIND__KIND_SECRET, name) < 0) {
        engine_endpoints_save_soon(e);
        return;
    }
    if (ev_is_active(&e->secrets.given_due))
        return;
    ev_timer_set(&e->secrets.given_due, 0., 0.);
    ev_timer_start(e->config.loop, &e->secrets.given_due);
}

int engine_set_given_secret(struct engine *e, const char *name, const struct given_secret *content,
                            struct error_list *errors) {
    const struct part *given = e->secrets.given;
    ssize_t at = given ? part_find(given, HEADGATE__KIND__KIND_SECRET, name) : -1;
    struct config_resource before = {0}, made = {0};
    if (!given_name_is_valid(name)) {
        error_addf(errors, ERROR_SYNTAX, "%s is no name of a secret that is given", name);
        return -1;
    }
    if (at >= 0)
        before = state_resource(given, (size_t)at);
    if (content && given_secret_make(name, content, at >= 0 ? &before : NULL, &made, errors) < 0)
        return -1;
    if (content && note_name(e, name) < 0) {
        secret_free((void *)(uintptr_t)made.bytes);
        return out_of_memory(errors);
    }
    if (!content)
        forget_name(e, name);
    bool is_same = content ? at >= 0 && resource_id_equal(&before.id, &made.id) : at < 0;
    struct part *part = is_same ? NULL : replace_given(e, name, &made);
    secret_free((void *)(uintptr_t)made.bytes);
    if (!is_same && !part)
        return out_of_memory(errors);
    if (is_same)
        return 0;
    part_unref(e->secrets.given);
    e->secrets.given = part;
    follow_given(e, name);
    return 0;
}

static bool is_needed(const struct engine *e, const char *name) {
    const struct snapshot *current = channel_current(e->channel);
    return map_get(&e->secrets.given_now, str_of(name)) || part_find(current->state, HEADGATE__KIND__KIND_SECRET, name) >= 0;
}

void engine_forget_given(struct engine *e) {
    const struct part *given = e->secrets.given;
    struct config_resource *items = given ? hg_calloc(given->count + 1, sizeof *items) : NULL;
    size_t n = 0;
    for (size_t i = 0; items && i < given->count; i++)
        if (is_needed(e, given->entries[i]->name))
            items[n++] = state_resource(given, i);
    struct part *left = items && n < given->count ? part_create(items, n, given) : NULL;
    hg_free(items);
    if (!left)
        return;
    log_info("secrets of an earlier time are forgotten", LOG_U("secrets", given->count - n));
    part_unref(e->secrets.given);
    e->secrets.given = left;
    engine_endpoints_save_soon(e);
}

/* ---- life ---- */

void given_init(struct engine *e) {
    ev_timer_init(&e->secrets.given_due, on_given_due, 0., 0.);
    e->secrets.given_due.data = e;
}

void given_finish(struct engine *e) {
    const struct map_entry *entry;
    size_t position = 0;
    ev_timer_stop(e->config.loop, &e->secrets.given_due);
    while ((entry = map_next(&e->secrets.given_now, &position)) != NULL)
        hg_free(entry->value);
    map_finish(&e->secrets.given_now);
    part_unref(e->secrets.given);
}
