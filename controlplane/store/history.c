#include "controlplane/store/internal.h"

#include <inttypes.h>

const uint8_t *store_lineage(const struct store *s) {
    return s->lineage;
}

struct store_manifest *store_current(const struct store *s) {
    return s->current;
}

uint64_t store_next_version(const struct store *s) {
    return s->head.newest + 1;
}

uint64_t store_oldest_version(const struct store *s) {
    return s->head.oldest;
}

uint64_t store_pinned_version(const struct store *s) {
    return s->head.pinned ? s->head.newest : 0;
}

int store_set_pin(struct store *s, bool pin, struct error_list *errors) {
    struct head head = s->head;
    if (check_writable(s, errors) < 0)
        return -1;
    if (pin && head.newest == 0) {
        disk_report(&s->disk, NULL, ERROR_STATE, "there is no version to pin to", errors);
        return -1;
    }
    if (head.pinned == pin)
        return 0;
    head.pinned = pin;
    return head_write(s, &head, errors);
}

static int check_number(const struct store *s, uint64_t number, struct error_list *errors) {
    bool is_inside = number && number >= s->head.oldest && number <= s->head.newest;
    if (is_inside && kept_has(&s->kept, number))
        return 0;
    if (is_inside)
        error_addf(errors, ERROR_REFERENCE, "version %" PRIu64 " was not pushed, and is not kept any more", number);
    else if (s->head.newest == 0)
        error_addf(errors, ERROR_REFERENCE, "there is no version %" PRIu64 ": the store is empty", number);
    else
        error_addf(errors, ERROR_REFERENCE,
                   "there is no version %" PRIu64 ": the store has %" PRIu64 " to %" PRIu64, number,
                   s->head.oldest, s->head.newest);
    return -1;
}

struct store_manifest *store_read_version(struct store *s, uint64_t number, struct error_list *errors) {
    if (check_number(s, number, errors) < 0)
        return NULL;
    if (number == s->head.newest)
        return store_manifest_ref(s->current);
    struct store_manifest *m = version_read(s, number, NULL, errors);
    if (m)
        manifest_enlist(s, m);
    return m;
}

/* ---- list ---- */

/* What is known of the version that is read next: the hash that its successor, or the head, has for it. */
struct chain {
    bool is_known;
    struct resource_id hash;
};

static void follow_chain(const struct store *s, struct chain *chain, const struct record *r,
                         struct error_list *errors) {
    char path[PATH_SIZE];
    if (chain->is_known && !resource_id_equal(&chain->hash, &r->version.hash)) {
        path_of_version(r->version.number, path);
        disk_report(&s->disk, path, ERROR_INTEGRITY, "not the version that its successor was made from",
                    errors);
    }
    uint64_t before = kept_before(&s->kept, r->version.number);
    bool is_parent = before == r->version.parent;
    *chain = (struct chain){.is_known = r->has_parent_hash && (is_parent || before == r->version.pushed_before),
                            .hash = is_parent ? r->parent_hash : r->pushed_hash};
}

static int list_from(const struct store *s, uint64_t from, size_t limit, struct store_log *log,
                     struct error_list *errors) {
    struct chain chain = {.is_known = from == s->head.newest, .hash = s->head.newest_hash};
    for (uint64_t number = from; number && limit; number = kept_before(&s->kept, number), limit--) {
        struct record r;
        int status = record_read(s, number, &log->arena, &r, errors);
        if (status == MESSAGE_MEMORY)
            return -1;
        chain.is_known &= status == 0;
        if (status < 0)
            continue;
        follow_chain(s, &chain, &r, errors);
        log->items[log->count++] = r.version;
    }
    return 0;
}

int store_list(struct store *s, uint64_t from, size_t limit, struct store_log *ret_log,
               struct error_list *errors) {
    struct store_log log = {0};
    if (s->head.newest == 0 && from == 0) {
        *ret_log = log;
        return 0;
    }
    if (from == 0)
        from = s->head.newest;
    if (check_number(s, from, errors) < 0)
        return -1;
    uint64_t kept = from - s->head.oldest + 1;
    if (limit > kept)
        limit = (size_t)kept;
    log.items = hg_calloc(limit, sizeof *log.items);
    if (!log.items)
        return report_memory(s, errors);
    if (list_from(s, from, limit, &log, errors) < 0) {
        store_log_finish(&log);
        return -1;
    }
    *ret_log = log;
    return 0;
}

void store_log_finish(struct store_log *log) {
    hg_free(log->items);
    arena_finish(&log->arena);
    *log = (struct store_log){0};
}
