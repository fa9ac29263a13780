/* Secrets: made of files for each push, made again when a file changes or a key is due. */
#include "controlplane/engine/secrets.h"

#include <limits.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/config/source/watch.h"
#include "controlplane/engine/internal.h"
#include "controlplane/engine/state.h"

enum { LOGGED_MAX = 20 };

static const double DUE_SECONDS = 30.; /* how often it is looked at whether something is due */

/* In the saved state, a secret that is not in the current one: rollbacks may need what came with a push, and what a
 * server has given may be named later. No other name ends like that. */
static const char kept_mark = '*';

/* ---- the secrets that are known ---- */

static bool is_secret(const struct part *p, size_t i) {
    return p && p->entries[i]->kind == HEADGATE__KIND__KIND_SECRET;
}

static bool is_given(const char *name) {
    return config_is_given(str_of(name));
}

/* Those of the state, and kept ones that it does not have. Borrowed; hg_free(ret->items). */
static int known_secrets(const struct part *state, const struct part *kept, struct config_resources *ret) {
    size_t n = 0, most = (state ? state->count : 0) + (kept ? kept->count : 0);
    struct config_resource *items = hg_calloc(most + 1, sizeof *items);
    if (!items)
        return -1;
    for (size_t i = 0; state && i < state->count; i++)
        if (is_secret(state, i))
            items[n++] = state_resource(state, i);
    for (size_t i = 0; kept && i < kept->count; i++)
        if (!state || part_find(state, kept->entries[i]->kind, kept->entries[i]->name) < 0)
            items[n++] = state_resource(kept, i);
    qsort(items, n, sizeof *items, state_compare);
    *ret = (struct config_resources){.items = items, .count = n, .capacity = most};
    return 0;
}

/* ---- a new state ---- */

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "no memory for secrets");
    return -1;
}

static bool is_same(const struct config_resource *a, const struct part *intent) {
    ssize_t at = intent ? part_find(intent, a->kind, a->name) : -1;
    return at >= 0 && resource_id_equal(&a->id, &part_body(intent, at)->id);
}

/* Whether every resource that can refer to secrets is as it was, and none has gone. */
static bool refers_to_the_same(const struct config_resources *set, const struct part *intent) {
    size_t here = 0, there = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!config_may_refer_to_secrets(set->items[i].kind))
            continue;
        here++;
        if (!is_same(&set->items[i], intent))
            return false;
    }
    for (size_t i = 0; intent && i < intent->count; i++)
        there += config_may_refer_to_secrets(intent->entries[i]->kind);
    return here == there;
}

int secrets_work_begin(struct secrets_work *w, struct engine *e, const struct config_resources *set,
                       const struct secret_request *request, struct error_list *errors) {
    const struct snapshot *current = channel_current(e->channel);
    *w = (struct secrets_work){.before = current ? part_ref(current->state) : NULL,
                               .due = e->secrets.next,
                               .is_for_changes = request->is_for_changes};
    bool looks = request->is_for_changes || request->embedded_count;
    w->is_as_before = !looks && current && refers_to_the_same(set, current->intent);
    if (w->is_as_before)
        return 0;
    w->kept = e->secrets.kept ? part_ref(e->secrets.kept) : NULL;
    w->given = e->secrets.given ? part_ref(e->secrets.given) : NULL;
    if (w->given && part_resources(w->given, &w->given_set) < 0)
        return out_of_memory(errors);
    if (config_secrets_collect(set, &w->want, errors) < 0)
        return -1;
    if (known_secrets(w->before, w->kept, &w->known) < 0)
        return out_of_memory(errors);
    w->source = (struct secret_source){.root = &e->secrets.root,
                                       .embedded = request->embedded,
                                       .embedded_count = request->embedded_count,
                                       .previous = &w->known,
                                       .given = &w->given_set,
                                       .stamps = &e->secrets.stamps,
                                       .keep_old = request->keep_old,
                                       .now = clock_realtime_us()};
    return 0;
}

bool secrets_work_is_long(const struct secrets_work *w) {
    return !w->is_as_before && w->want.count > 0;
}

void secrets_work_run(void *work) {
    struct secrets_work *w = work;
    w->is_as_before = w->is_as_before || (w->is_for_changes && secrets_are_current(&w->source, &w->want, w->due));
    w->status = w->is_as_before ? 0 : secrets_make(&w->source, &w->want, &w->set, &w->errors, &w->warnings);
}

static void move_errors(struct error_list *from, struct error_list *to) {
    for (size_t i = 0; i < from->count; i++)
        error_list_add(to, &from->items[i]);
}

int secrets_work_end(struct secrets_work *w, struct secrets_made *ret, struct error_list *errors,
                     struct error_list *warnings) {
    *ret = (struct secrets_made){.is_as_before = w->is_as_before};
    move_errors(&w->errors, errors);
    move_errors(&w->warnings, warnings);
    if (w->status < 0)
        return -1;
    if (w->is_as_before) {
        ret->state = part_ref(w->before);
        return 0;
    }
    ret->next = w->set.next;
    ret->expires = w->set.expires;
    ret->stamps = w->set.stamps;
    w->set.stamps = (struct secret_stamps){0};
    ret->state = state_replace(w->before, HEADGATE__KIND__KIND_SECRET, w->set.items, w->set.count);
    return ret->state ? 0 : out_of_memory(errors);
}

void secrets_work_finish(struct secrets_work *w) {
    secret_set_finish(&w->set);
    hg_free(w->known.items);
    hg_free(w->given_set.items);
    config_secrets_finish(&w->want);
    part_unref(w->before);
    part_unref(w->kept);
    part_unref(w->given);
    error_list_finish(&w->errors);
    error_list_finish(&w->warnings);
    *w = (struct secrets_work){0};
}

/* ---- on disk ---- */

static struct store_resource stored(const struct config_resource *r, const char *name) {
    return (struct store_resource){.kind = r->kind, .name = name, .id = r->id, .bytes = r->bytes, .size = r->size};
}

/* Everything that is not in `state` is saved as kept; what is given, when `from` is all of that. */
static size_t add_kept(const struct part *from, bool is_of_given, const struct part *state, struct arena *arena,
                       struct store_resource *list, size_t n) {
    for (size_t i = 0; from && i < from->count; i++) {
        struct config_resource r = state_resource(from, i);
        bool is_there = part_find(state, r.kind, r.name) >= 0 || is_given(r.name) != is_of_given;
        const char *name = is_there || !is_secret(from, i) ? NULL : arena_printf(arena, "%s%c", r.name, kept_mark);
        if (name)
            list[n++] = stored(&r, name);
    }
    return n;
}

struct store_resource *engine_gather_state(struct engine *e, const struct part *state, struct arena *arena,
                                           size_t *ret_count) {
    const struct snapshot *current = channel_current(e->channel);
    const struct part *before = current ? current->state : NULL, *kept = e->secrets.kept, *given = e->secrets.given;
    size_t n = 0, most = state->count + (before ? before->count : 0) + (kept ? kept->count : 0) + (given ? given->count : 0);
    struct store_resource *list = hg_calloc(most + 1, sizeof *list);
    for (size_t i = 0; list && i < state->count; i++) {
        struct config_resource r = state_resource(state, i);
        list[n++] = stored(&r, r.name);
    }
    if (list) {
        size_t gone = add_kept(before, false, state, arena, list, n);
        n = gone > n ? gone : add_kept(kept, false, state, arena, list, n);
        n = add_kept(given, true, state, arena, list, n);
    }
    *ret_count = n;
    return list;
}

int engine_save_state(struct engine *e, const struct part *state, uint64_t generation, struct error_list *errors) {
    struct arena arena = {0};
    size_t n = 0;
    struct store_resource *list = engine_gather_state(e, state, &arena, &n);
    const struct store_state saved = {.generation = generation, .resources = list, .count = n};
    state_saver_drop(&e->endpoints.saver); /* it is older */
    int status = list ? store_save_state(e->store, &saved, errors) : out_of_memory(errors);
    hg_free(list);
    arena_finish(&arena);
    return status;
}

static bool is_kept_name(const struct store_resource *r) {
    size_t n = strlen(r->name);
    return r->kind == HEADGATE__KIND__KIND_SECRET && n > 1 && r->name[n - 1] == kept_mark;
}

/* A list that becomes a part. */
struct pile {
    struct config_resource *items;
    size_t count;
};

/* What a server has given and the state has is in two of them. */
static void sort_out(const struct store_state *saved, struct arena *names, struct pile *state, struct pile *kept,
                     struct pile *given) {
    for (size_t i = 0; i < saved->count; i++) {
        const struct store_resource *s = &saved->resources[i];
        struct config_resource r = {.kind = s->kind, .name = s->name, .bytes = s->bytes, .size = s->size, .id = s->id};
        bool is_kept = is_kept_name(s);
        if (is_kept)
            r.name = arena_str(names, (struct str){s->name, strlen(s->name) - 1}).p;
        if (!r.name)
            continue;
        bool is_given_one = r.kind == HEADGATE__KIND__KIND_SECRET && is_given(r.name);
        if (!is_kept)
            state->items[state->count++] = r;
        else if (!is_given_one)
            kept->items[kept->count++] = r;
        if (is_given_one)
            given->items[given->count++] = r;
    }
}

static struct part *part_of(struct pile *pile) {
    qsort(pile->items, pile->count, sizeof *pile->items, state_compare);
    return part_create(pile->items, pile->count, NULL);
}

struct part *engine_split_state(struct engine *e, const struct store_state *saved) {
    struct pile piles[3];
    struct arena names = {0};
    struct part *state = NULL;
    for (int i = 0; i < 3; i++)
        piles[i] = (struct pile){.items = hg_calloc(saved->count + 1, sizeof(struct config_resource))};
    if (piles[0].items && piles[1].items && piles[2].items) {
        sort_out(saved, &names, &piles[0], &piles[1], &piles[2]);
        state = part_of(&piles[0]);
        e->secrets.kept = part_of(&piles[1]);
        e->secrets.given = part_of(&piles[2]);
    }
    arena_finish(&names);
    for (int i = 0; i < 3; i++)
        hg_free(piles[i].items);
    return state;
}

/* What the new state has no more is kept, unless nothing has gone. */
static void keep_gone(struct engine *e, const struct part *before, const struct part *after) {
    struct config_resource *items = hg_calloc(before->count + 1, sizeof *items);
    size_t n = 0;
    for (size_t i = 0; items && i < before->count; i++)
        if (is_secret(before, i) && !is_given(before->entries[i]->name) &&
            part_find(after, before->entries[i]->kind, before->entries[i]->name) < 0)
            items[n++] = state_resource(before, i);
    struct part *kept = n ? part_create(items, n, before) : NULL;
    hg_free(items);
    if (!kept)
        return;
    part_unref(e->secrets.kept);
    e->secrets.kept = kept;
}

/* ---- what is watched ---- */

static int watch_file(const struct engine *e, struct config_sources *folders, const char *name) {
    char path[PATH_MAX];
    bool is_on_disk = name && !str_starts(str_of(name), str_of(CONFIG_EMBEDDED));
    return is_on_disk && secret_file_path(&e->secrets.root, name, path, sizeof path) == 0 ? watch_path(folders, path) : 0;
}

static int list_folders(const struct engine *e, const struct config_secrets *want, struct config_sources *folders) {
    int status = 0;
    for (size_t i = 0; i < want->count && status == 0; i++) {
        const struct config_secret *s = &want->items[i];
        if (s->is_given)
            continue;
        status = watch_file(e, folders, s->certificate) | watch_file(e, folders, s->key) | watch_file(e, folders, s->ocsp);
        if (s->what == CONFIG_SECRET_SYSTEM_TRUST)
            status |= watch_file(e, folders, secrets_system_bundle());
    }
    watch_sort(folders);
    return status;
}

/* Returns whether folders are watched now that were not before: what changed there in between was not seen. */
static bool watch_secrets(struct engine *e, const struct config_resources *set) {
    struct config_secrets want = {0};
    struct config_sources folders = {0};
    struct error_list errors = {0};
    bool is_new = false;
    if (config_secrets_collect(set, &want, &errors) < 0 || list_folders(e, &want, &folders) < 0) {
        log_error("no memory to watch the files of certificates");
        config_sources_finish(&folders);
    } else if (watch_is_same(&folders, &e->secrets.folders)) {
        config_sources_finish(&folders);
    } else {
        config_sources_finish(&e->secrets.folders);
        e->secrets.folders = folders;
        watch_set(&e->secrets.watch, folders.directories, folders.directory_count);
        is_new = true;
    }
    config_secrets_finish(&want);
    error_list_finish(&errors);
    return is_new;
}

/* ---- looking again ---- */

static bool is_same_problem(const struct error *a, const struct error_list *list) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(a->message, list->items[i].message) == 0)
            return true;
    return false;
}

/* Problems stay to be seen in status; only new ones are logged. */
static void take_problems(struct engine *e, struct error_list *problems) {
    for (size_t i = 0; i < problems->count && i < LOGGED_MAX; i++)
        if (!is_same_problem(&problems->items[i], &e->secrets.problems))
            log_warning("files of certificates", LOG_S("resource", problems->items[i].resource),
                        LOG_S("path", problems->items[i].path), LOG_S("problem", problems->items[i].message));
    error_list_finish(&e->secrets.problems);
    e->secrets.problems = *problems;
    *problems = (struct error_list){0};
}

static int adopt(struct engine *e, struct part *state, struct error_list *errors) {
    const struct snapshot *current = channel_current(e->channel);
    if (engine_save_state(e, state, current->generation + 1, errors) < 0)
        return -1;
    struct part *before = part_ref(current->state);
    int status = engine_set_state(e, state);
    if (status == 0) {
        current = channel_current(e->channel);
        keep_gone(e, before, state);
        engine_renew_checks(e);
        log_info("secrets have changed", LOG_U("version", current->version), LOG_U("generation", current->generation));
    }
    part_unref(before);
    return status < 0 ? out_of_memory(errors) : 0;
}

/* From now on these are the files that the state is made of. */
static void take_files(struct engine *e, struct secrets_made *made) {
    if (made->is_as_before)
        return;
    secret_stamps_finish(&e->secrets.stamps);
    e->secrets.stamps = made->stamps;
    e->secrets.next = made->next;
    e->secrets.expires = made->expires;
    made->stamps = (struct secret_stamps){0};
}

void secrets_made_finish(struct secrets_made *made) {
    part_unref(made->state);
    secret_stamps_finish(&made->stamps);
    *made = (struct secrets_made){0};
}

int engine_adopt_state(struct engine *e, struct secrets_made *made, struct error_list *errors) {
    const struct snapshot *current = channel_current(e->channel);
    bool is_same = resource_id_equal(&made->state->hash, &current->state->hash);
    int status = is_same ? 0 : adopt(e, made->state, errors);
    if (status == 0)
        take_files(e, made);
    return status;
}

static int make_now(struct engine *e, const struct config_resources *set, const struct secret_request *request,
                    struct secrets_made *ret, struct error_list *errors, struct error_list *warnings) {
    struct secrets_work w;
    int status = secrets_work_begin(&w, e, set, request, errors);
    if (status == 0) {
        secrets_work_run(&w);
        status = secrets_work_end(&w, ret, errors, warnings);
    }
    secrets_work_finish(&w);
    return status;
}

static void refresh(struct engine *e, const struct config_resources *set) {
    const struct secret_request request = {.keep_old = true, .is_for_changes = true};
    struct error_list errors = {0}, warnings = {0};
    struct secrets_made made = {0};
    if (make_now(e, set, &request, &made, &errors, &warnings) < 0 || engine_adopt_state(e, &made, &errors) < 0)
        e->secrets.next = clock_realtime_us(); /* the disk, or memory: again in a while */
    for (size_t i = 0; i < errors.count; i++)
        error_list_add(&warnings, &errors.items[i]);
    if (!made.is_as_before)
        take_problems(e, &warnings);
    secrets_made_finish(&made);
    error_list_finish(&errors);
    error_list_finish(&warnings);
}

void engine_refresh_secrets(struct engine *e) {
    const struct snapshot *current = channel_current(e->channel);
    struct config_resources set = {0};
    e->secrets.is_pending = e->job != NULL;
    if (!current || e->job || part_resources(current->intent, &set) < 0)
        return;
    watch_secrets(e, &set);
    refresh(e, &set);
    hg_free(set.items);
}

void engine_secrets_committed(struct engine *e, const struct part *before, const struct config_resources *set,
                              struct secrets_made *made, struct error_list *warnings) {
    const struct snapshot *current = channel_current(e->channel);
    if (made->is_as_before)
        return;
    take_files(e, made);
    if (before)
        keep_gone(e, before, current->state);
    if (watch_secrets(e, set))
        e->secrets.is_pending = true;
    error_list_finish(&e->secrets.problems);
    for (size_t i = 0; i < warnings->count; i++)
        error_list_add(&e->secrets.problems, &warnings->items[i]);
}

/* What has a folder's name by now may be another folder, which nobody watches yet. */
static void on_changed(void *owner) {
    struct engine *e = owner;
    watch_set(&e->secrets.watch, e->secrets.folders.directories, e->secrets.folders.directory_count);
    engine_refresh_secrets(e);
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int events) {
    struct engine *e = timer->data;
    (void)loop;
    (void)events;
    if (e->secrets.next && clock_realtime_us() >= e->secrets.next && !e->is_stopping)
        engine_refresh_secrets(e);
}

uint64_t engine_first_expiry(const struct engine *e) {
    return e->secrets.expires;
}

const struct error_list *engine_secret_problems(const struct engine *e) {
    return &e->secrets.problems;
}

/* ---- life ---- */

int engine_secrets_init(struct engine *e, struct error_list *errors) {
    e->secrets.root.fd = -1;
    watch_init(&e->secrets.watch, e->config.loop, on_changed, e);
    given_init(e);
    ev_timer_init(&e->secrets.due, on_due, DUE_SECONDS, DUE_SECONDS);
    e->secrets.due.data = e;
    ev_timer_start(e->config.loop, &e->secrets.due);
    return secret_root_open(e->config.files_root, e->config.files_base, &e->secrets.root, errors);
}

void engine_secrets_finish(struct engine *e) {
    ev_timer_stop(e->config.loop, &e->secrets.due);
    watch_finish(&e->secrets.watch);
    config_sources_finish(&e->secrets.folders);
    error_list_finish(&e->secrets.problems);
    secret_stamps_finish(&e->secrets.stamps);
    part_unref(e->secrets.kept);
    given_finish(e);
    secret_root_close(&e->secrets.root);
}
