#include "controlplane/etcd/mirror.h"

#include "common/alloc.h"

#define NO_MEMORY "no memory for what etcd says"

int etcd_mirror_init(struct etcd_mirror *m, const char *prefix, const struct etcd_mirror_ops *ops, void *context) {
    *m = (struct etcd_mirror){.ops = ops, .context = context, .prefix_n = strlen(prefix), .page = ETCD_PAGE};
    m->prefix = hg_strdup(prefix);
    m->end = hg_strdup(prefix);
    if (!m->prefix || !m->end) {
        etcd_mirror_finish(m);
        return -1;
    }
    m->end[m->prefix_n - 1]++;
    return 0;
}

void etcd_mirror_finish(struct etcd_mirror *m) {
    hg_free(m->prefix);
    hg_free(m->end);
    strbuf_finish(&m->next);
    *m = (struct etcd_mirror){0};
}

static ProtobufCBinaryData bytes_of(const char *p, size_t n) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)p, .len = n};
}

static void list_anew(struct etcd_mirror *m) {
    m->step = ETCD_LIST;
    m->revision = 0;
    strbuf_reset(&m->next);
}

/* Without the prefix; p == NULL: it is none of ours. */
static struct str key_of(const struct etcd_mirror *m, const Mvccpb__KeyValue *kv) {
    struct str key = kv ? (struct str){(const char *)kv->key.data, kv->key.len} : (struct str){0};
    if (!str_starts(key, (struct str){m->prefix, m->prefix_n}) || key.n == m->prefix_n)
        return (struct str){0};
    return (struct str){key.p + m->prefix_n, key.n - m->prefix_n};
}

static bool set(struct etcd_mirror *m, const Mvccpb__KeyValue *kv) {
    struct str key = key_of(m, kv);
    struct str value = {kv && kv->value.len ? (const char *)kv->value.data : "", kv ? kv->value.len : 0};
    return !key.p || m->ops->set(m->context, key, value, kv->mod_revision);
}

/* ---- ranges ---- */

void etcd_mirror_range(const struct etcd_mirror *m, Etcdserverpb__RangeRequest *ret) {
    etcdserverpb__range_request__init(ret);
    ret->key = m->next.n ? bytes_of(m->next.p, m->next.n) : bytes_of(m->prefix, m->prefix_n);
    ret->range_end = bytes_of(m->end, m->prefix_n);
    ret->limit = m->page;
    if (m->step == ETCD_LIST) {
        ret->revision = m->revision;
    } else {
        ret->limit = 1;
        ret->keys_only = true;
    }
}

static const char *take_items(struct etcd_mirror *m, const Etcdserverpb__RangeResponse *reply) {
    if (!m->next.n)
        m->ops->list(m->context);
    for (size_t i = 0; i < reply->n_kvs; i++)
        if (!set(m, reply->kvs[i]))
            return NO_MEMORY;
    return NULL;
}

static bool is_before(const Mvccpb__KeyValue *kv, const struct strbuf *place) {
    return str_cmp((struct str){(const char *)kv->key.data, kv->key.len}, strbuf_str(place)) < 0;
}

/* The key right behind the last one, unless that is before what was asked for: it would go on for ever. */
static const char *turn_page(struct etcd_mirror *m, const Etcdserverpb__RangeResponse *reply) {
    const Mvccpb__KeyValue *last = reply->n_kvs ? reply->kvs[reply->n_kvs - 1] : NULL;
    if (!last || !key_of(m, last).p || is_before(last, &m->next))
        return "etcd says that there is more and does not say what";
    strbuf_reset(&m->next);
    strbuf_add(&m->next, last->key.data, last->key.len);
    strbuf_putc(&m->next, '\0');
    return m->next.failed ? NO_MEMORY : NULL;
}

static const char *take_page(struct etcd_mirror *m, const Etcdserverpb__RangeResponse *reply) {
    if (!m->revision) {
        m->revision = reply->header->revision;
        m->cluster = reply->header->cluster_id;
    }
    const char *wrong = take_items(m, reply);
    if (wrong || reply->more)
        return wrong ? wrong : turn_page(m, reply);
    strbuf_reset(&m->next);
    m->step = ETCD_WATCH;
    m->page = ETCD_PAGE;
    m->ops->settled(m->context);
    return NULL;
}

const char *etcd_mirror_take_range(struct etcd_mirror *m, const Etcdserverpb__RangeResponse *reply) {
    const char *wrong = NULL;
    if (!reply->header || reply->header->revision <= 0)
        wrong = "an answer of etcd without a revision";
    else if (m->step == ETCD_LIST)
        wrong = take_page(m, reply);
    else if (reply->header->revision < m->revision || reply->header->cluster_id != m->cluster)
        list_anew(m);
    else
        m->step = ETCD_WATCH;
    if (wrong)
        list_anew(m);
    return wrong;
}

void etcd_mirror_range_failed(struct etcd_mirror *m, bool is_compacted, bool is_too_big) {
    if (is_too_big && m->page > 1)
        m->page /= 2;
    if (is_compacted)
        list_anew(m);
}

/* ---- the watch ---- */

void etcd_mirror_watch(const struct etcd_mirror *m, Etcdserverpb__WatchCreateRequest *ret) {
    etcdserverpb__watch_create_request__init(ret);
    ret->key = bytes_of(m->prefix, m->prefix_n);
    ret->range_end = bytes_of(m->end, m->prefix_n);
    ret->start_revision = m->revision + 1;
    ret->progress_notify = true;
    ret->fragment = true;
}

/* The changes of a revision come whole, but for fragments: those of the last one make them so. */
static const char *take_events(struct etcd_mirror *m, const Etcdserverpb__WatchResponse *reply) {
    for (size_t i = 0; i < reply->n_events; i++) {
        const Mvccpb__Event *event = reply->events[i];
        struct str key = key_of(m, event->kv);
        if (event->type != MVCCPB__EVENT__EVENT_TYPE__DELETE) {
            if (!set(m, event->kv))
                return NO_MEMORY;
        } else if (key.p) {
            m->ops->removed(m->context, key);
        }
    }
    if (reply->fragment || !reply->n_events)
        return NULL;
    const Mvccpb__KeyValue *last = reply->events[reply->n_events - 1]->kv;
    if (last && last->mod_revision > m->revision)
        m->revision = last->mod_revision;
    m->ops->settled(m->context);
    return NULL;
}

/* Compacted: what comes next is no longer there. */
static const char *take_end(struct etcd_mirror *m, const Etcdserverpb__WatchResponse *reply, bool *ret_is_due) {
    if (reply->compact_revision) {
        list_anew(m);
        *ret_is_due = true;
        return "etcd has compacted what was to come";
    }
    m->step = ETCD_CHECK;
    return reply->cancel_reason && *reply->cancel_reason ? reply->cancel_reason : "etcd has ended the watch";
}

const char *etcd_mirror_take_watch(struct etcd_mirror *m, const Etcdserverpb__WatchResponse *reply, bool *ret_is_due) {
    *ret_is_due = false;
    if (reply->canceled)
        return take_end(m, reply, ret_is_due);
    if (reply->created)
        m->ops->watching(m->context);
    if (!reply->created && !reply->n_events && reply->header && reply->header->revision > m->revision)
        m->revision = reply->header->revision; /* all changes up to there have been told */
    const char *wrong = reply->created ? NULL : take_events(m, reply);
    if (wrong) {
        m->step = ETCD_CHECK;
    } else if (m->ops->is_list_due && m->ops->is_list_due(m->context)) {
        list_anew(m);
        *ret_is_due = true;
        wrong = "keys that were not kept are wanted now";
    }
    return wrong;
}

void etcd_mirror_watch_failed(struct etcd_mirror *m) {
    m->step = ETCD_CHECK;
}
