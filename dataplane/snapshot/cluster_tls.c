#include "dataplane/snapshot/cluster_tls.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "dataplane/snapshot/tls.h"
#include "proto/tls_choice.h"

/* ---- ids ---- */

static int by_key(const void *a, const void *b) {
    return str_cmp(((const struct metadata *)a)->key, ((const struct metadata *)b)->key);
}

/* Of the match alone: an endpoint keeps its choice when what that says has changed. */
uint64_t cluster_tls_id(const Headgate__TlsChoice *m) {
    struct metadata match[TLS_CHOICE_KEYS_MAX];
    size_t count = m->n_match < TLS_CHOICE_KEYS_MAX ? m->n_match : TLS_CHOICE_KEYS_MAX;
    for (size_t i = 0; i < count; i++)
        match[i] = (struct metadata){str_of(m->match[i]->key ? m->match[i]->key : ""),
                                     str_of(m->match[i]->value ? m->match[i]->value : "")};
    qsort(match, count, sizeof *match, by_key);
    return cluster_subset(match, (uint32_t)count);
}

/* ---- making ---- */

struct making {
    const struct resource     *cluster;
    const struct resource_set *resources;
    struct error_list         *errors;
};

static void fault(const struct making *m, const char *path, enum error_code code, const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "cluster/%s", m->cluster->name);
    error_set_resource(m->errors, error_addf(m->errors, code, "%s", message), resource, path);
}

/* NULL `tls`: plaintext, which HTTP/3 does not know. */
static int make_pair(const struct making *m, const Headgate__ClientTls *tls, const char *path, struct tls_client **ret_tcp,
                     struct tls_client **ret_quic) {
    const Headgate__Cluster *cluster = (const Headgate__Cluster *)m->cluster->message;
    bool is_http3 = cluster->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP3;
    enum tls_protocols over_tcp = cluster->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP1 ? TLS_HTTP1 : TLS_HTTP2;
    struct tls_client *tcp = NULL;
    if (!tls && is_http3)
        fault(m, path, ERROR_MISSING, "HTTP/3 is always encrypted");
    if (!tls)
        return is_http3 ? -1 : 0;
    if (snapshot_client_tls(m->cluster->name, path, tls, over_tcp, m->resources, &tcp, m->errors) < 0)
        return -1;
    if (is_http3 && snapshot_client_tls(m->cluster->name, path, tls, TLS_HTTP3, m->resources, ret_quic, m->errors) < 0) {
        tls_client_unref(tcp);
        return -1;
    }
    *ret_tcp = tcp;
    return 0;
}

static int make_choice(const struct making *m, const Headgate__TlsChoice *from, size_t i, struct tls_choice *ret) {
    char path[64];
    snprintf(path, sizeof path, "tls_choices[%zu].match", i);
    if (from->n_match > TLS_CHOICE_KEYS_MAX) {
        fault(m, path, ERROR_RANGE, "at most 16 entries are possible");
        return -1;
    }
    snprintf(path, sizeof path, "tls_choices[%zu].tls", i);
    ret->id = cluster_tls_id(from);
    return make_pair(m, from->tls, path, &ret->tcp, &ret->quic);
}

static int make_choices(const struct making *m, struct cluster_tls *to) {
    const Headgate__Cluster *from = (const Headgate__Cluster *)m->cluster->message;
    int status = 0;
    if (from->n_tls_choices == 0)
        return 0;
    if (from->n_tls_choices > TLS_CHOICES_MAX) {
        fault(m, "tls_choices", ERROR_RANGE, "at most 64 are possible");
        return -1;
    }
    to->choices = hg_calloc(from->n_tls_choices, sizeof *to->choices);
    if (!to->choices)
        return -1;
    for (size_t i = 0; i < from->n_tls_choices; i++)
        status |= make_choice(m, from->tls_choices[i], i, &to->choices[to->choice_count++]);
    return status;
}

int cluster_tls_make(const struct resource *cluster, const struct resource_set *resources, struct cluster_tls *ret,
                     struct error_list *errors) {
    const struct making m = {cluster, resources, errors};
    struct cluster_tls made = {0};
    int status = make_pair(&m, ((const Headgate__Cluster *)cluster->message)->tls, "tls", &made.tcp, &made.quic);
    status |= make_choices(&m, &made);
    if (status == 0)
        *ret = made;
    else
        cluster_tls_finish(&made);
    return status;
}

static void unref_choices(struct tls_choice *choices, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        tls_client_unref(choices[i].tcp);
        tls_client_unref(choices[i].quic);
    }
    hg_free(choices);
}

void cluster_tls_finish(struct cluster_tls *t) {
    tls_client_unref(t->tcp);
    tls_client_unref(t->quic);
    unref_choices(t->choices, t->choice_count);
    *t = (struct cluster_tls){0};
}

/* ---- of a definition ---- */

bool cluster_tls_is_of(const struct cluster_tls *t, const struct cluster_definition *d) {
    return d->options.tls == t->tcp && d->options.quic_tls == t->quic &&
           tls_choices_equal(d->tls_choices, d->tls_choice_count, t->choices, t->choice_count);
}

void cluster_tls_move(struct cluster_tls *t, struct cluster_definition *d) {
    d->options.tls = t->tcp;
    d->options.quic_tls = t->quic;
    d->tls_choices = t->choices;
    d->tls_choice_count = t->choice_count;
    *t = (struct cluster_tls){0};
}

void cluster_tls_drop(struct cluster_definition *d) {
    tls_client_unref(d->options.tls);
    tls_client_unref(d->options.quic_tls);
    unref_choices(d->tls_choices, d->tls_choice_count);
}
