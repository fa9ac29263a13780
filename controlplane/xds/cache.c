#include "controlplane/xds/cache.h"

#include <assert.h>

#include "common/alloc.h"

const char *xds_state_name(enum xds_state state) {
    switch (state) {
    case XDS_REQUESTED:      return "REQUESTED";
    case XDS_DOES_NOT_EXIST: return "DOES_NOT_EXIST";
    case XDS_ACKED:          return "ACKED";
    case XDS_NACKED:         return "NACKED";
    case XDS_RECEIVED_ERROR: return "RECEIVED_ERROR";
    case XDS_TIMEOUT:        return "TIMEOUT";
    }
    return "UNKNOWN";
}

void xds_cache_finish(struct xds_cache *c) {
    hg_free(c->timers);
    *c = (struct xds_cache){0};
}

void xds_table_init(struct xds_table *t, struct xds_cache *c, size_t type) {
    *t = (struct xds_table){.cache = c, .type = type};
}

void xds_table_finish(struct xds_table *t) {
    while (t->first)
        xds_resource_destroy(t->first);
    map_finish(&t->by_name);
}

/* ---- the budget ---- */

static bool has_room(const struct xds_cache *c, size_t size) {
    return size <= c->bytes_max && c->bytes <= c->bytes_max - size;
}

static size_t copy_size(const struct xds_copy *copy) {
    return sizeof *copy + copy->version.n + copy->bytes.n;
}

static size_t resource_size(const struct xds_resource *r) {
    return sizeof *r + r->name.n + 1;
}

/* A text that counts against the budget; empty where it cannot be had. */
static struct str keep_text(struct xds_cache *c, struct str text) {
    char *copy = text.n && has_room(c, text.n) ? hg_memdup(text.p, text.n) : NULL;
    c->bytes += copy ? text.n : 0;
    return copy ? (struct str){copy, text.n} : (struct str){"", 0};
}

static void drop_text(struct xds_cache *c, struct str *text) {
    if (text->n) {
        c->bytes -= text->n;
        hg_free((char *)(uintptr_t)text->p);
    }
    *text = (struct str){"", 0};
}

/* ---- timers: a heap by deadline ---- */

static void place_timer(struct xds_cache *c, size_t at, struct xds_resource *r) {
    c->timers[at - 1] = r;
    r->timer = at;
}

static void sift_up(struct xds_cache *c, struct xds_resource *r, size_t at) {
    for (; at > 1 && c->timers[at / 2 - 1]->deadline > r->deadline; at /= 2)
        place_timer(c, at, c->timers[at / 2 - 1]);
    place_timer(c, at, r);
}

static void sift_down(struct xds_cache *c, struct xds_resource *r, size_t at) {
    for (size_t child; (child = 2 * at) <= c->timer_count; at = child) {
        if (child < c->timer_count && c->timers[child]->deadline < c->timers[child - 1]->deadline)
            child++;
        if (c->timers[child - 1]->deadline >= r->deadline)
            break;
        place_timer(c, at, c->timers[child - 1]);
    }
    place_timer(c, at, r);
}

static void stop_timer(struct xds_cache *c, struct xds_resource *r) {
    size_t at = r->timer;
    if (at == 0)
        return;
    struct xds_resource *last = c->timers[--c->timer_count];
    r->timer = 0;
    if (last == r)
        return;
    sift_down(c, last, at);
    sift_up(c, last, last->timer);
}

void xds_resource_set_deadline(struct xds_resource *r, uint64_t deadline) {
    struct xds_cache *c = r->table->cache;
    stop_timer(c, r);
    r->deadline = deadline;
    if (deadline == 0)
        return;
    assert(c->timer_count < c->timer_capacity);
    sift_up(c, r, ++c->timer_count);
}

struct xds_resource *xds_cache_next_timer(const struct xds_cache *c) {
    return c->timer_count ? c->timers[0] : NULL;
}

/* ---- resources ---- */

struct xds_resource *xds_table_get(const struct xds_table *t, struct str name) {
    return name.n ? map_get(&t->by_name, name) : NULL;
}

static void link_resource(struct xds_table *t, struct xds_resource *r) {
    r->table = t;
    r->previous = t->last;
    if (t->last)
        t->last->next = r;
    else
        t->first = r;
    t->last = r;
    t->cache->resource_count++;
    t->cache->bytes += resource_size(r);
}

static void unlink_resource(struct xds_table *t, struct xds_resource *r) {
    *(r->previous ? &r->previous->next : &t->first) = r->next;
    *(r->next ? &r->next->previous : &t->last) = r->previous;
    t->cache->resource_count--;
    t->cache->bytes -= resource_size(r);
}

enum xds_stored xds_table_add(struct xds_table *t, struct str name, struct xds_resource **ret) {
    struct xds_cache *c = t->cache;
    bool fits = name.n <= c->name_max && c->resource_count < c->resources_max
                && has_room(c, sizeof(struct xds_resource) + name.n + 1);
    if (!fits || name.n == 0)
        return XDS_STORE_FULL;
    if (hg_grow(&c->timers, &c->timer_capacity, c->resource_count + 1, sizeof(struct xds_resource *)) != 0)
        return XDS_STORE_NO_MEMORY;
    struct xds_resource *r = hg_malloc(sizeof *r + name.n + 1);
    if (!r)
        return XDS_STORE_NO_MEMORY;
    memcpy(r + 1, name.p, name.n);
    ((char *)(r + 1))[name.n] = '\0';
    *r = (struct xds_resource){.name = {(const char *)(r + 1), name.n}, .error = {"", 0}, .failed_version = {"", 0}};
    if (map_set(&t->by_name, r->name, r) != 0) {
        hg_free(r);
        return XDS_STORE_NO_MEMORY;
    }
    link_resource(t, r);
    *ret = r;
    return XDS_STORED;
}

static void unlink_news(struct xds_cache *c, struct xds_resource *r) {
    *(r->news_previous ? &r->news_previous->news_next : &c->news_first) = r->news_next;
    *(r->news_next ? &r->news_next->news_previous : &c->news_last) = r->news_previous;
    r->news_next = r->news_previous = NULL;
    r->news = 0;
}

void xds_resource_destroy(struct xds_resource *r) {
    struct xds_cache *c = r->table->cache;
    stop_timer(c, r);
    if (r->news)
        unlink_news(c, r);
    r->table->named_count -= r->is_named;
    map_remove(&r->table->by_name, r->name);
    xds_copy_free(c, r->copy);
    drop_text(c, &r->error);
    drop_text(c, &r->failed_version);
    unlink_resource(r->table, r);
    hg_free(r);
}

/* ---- copies and states ---- */

enum xds_stored xds_copy_create(struct xds_cache *c, struct str version, struct str bytes, struct xds_copy **ret) {
    if (bytes.n > c->bytes_max || version.n > c->name_max
        || !has_room(c, sizeof(struct xds_copy) + version.n + bytes.n))
        return XDS_STORE_FULL;
    struct xds_copy *copy = hg_malloc(sizeof *copy + version.n + bytes.n);
    if (!copy)
        return XDS_STORE_NO_MEMORY;
    if (version.n)
        memcpy(copy->block, version.p, version.n);
    if (bytes.n)
        memcpy(copy->block + version.n, bytes.p, bytes.n);
    copy->version = (struct str){copy->block, version.n};
    copy->bytes = (struct str){copy->block + version.n, bytes.n};
    c->bytes += copy_size(copy);
    *ret = copy;
    return XDS_STORED;
}

void xds_copy_free(struct xds_cache *c, struct xds_copy *copy) {
    c->bytes -= copy ? copy_size(copy) : 0;
    hg_free(copy);
}

bool xds_copy_rename(struct xds_copy *copy, struct str version) {
    bool fits = version.n == copy->version.n;
    if (fits && version.n)
        memcpy(copy->block, version.p, version.n);
    return fits;
}

struct xds_copy *xds_resource_swap_copy(struct xds_resource *r, struct xds_copy *copy, uint64_t now) {
    struct xds_copy *old = r->copy;
    if (old || copy)
        xds_resource_tell(r, XDS_NEWS_COPY);
    r->copy = copy;
    r->updated_at = now;
    return old;
}

void xds_resource_set_state(struct xds_resource *r, enum xds_state state, struct str failed_version, struct str error,
                            uint64_t now) {
    struct xds_cache *c = r->table->cache;
    bool is_well = state == XDS_ACKED || state == XDS_REQUESTED;
    bool is_same = r->state == state && str_eq(r->error, error) && str_eq(r->failed_version, failed_version);
    if (is_same)
        return;
    drop_text(c, &r->error);
    drop_text(c, &r->failed_version);
    r->state = state;
    if (!is_well) {
        r->error = keep_text(c, error);
        r->failed_version = keep_text(c, failed_version);
        r->failed_at = now;
    }
    xds_resource_tell(r, XDS_NEWS_ERROR);
}

/* ---- news ---- */

void xds_resource_tell(struct xds_resource *r, unsigned news) {
    struct xds_cache *c = r->table->cache;
    bool is_known = r->news != 0;
    r->news |= news;
    if (is_known)
        return;
    r->news_previous = c->news_last;
    *(c->news_last ? &c->news_last->news_next : &c->news_first) = r;
    c->news_last = r;
}

struct xds_resource *xds_cache_take_news(struct xds_cache *c, unsigned *ret_news) {
    struct xds_resource *r = c->news_first;
    if (!r)
        return NULL;
    *ret_news = r->news;
    unlink_news(c, r);
    return r;
}
