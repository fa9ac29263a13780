/* layers.h — sets of layers for tests, written as configurations, and their answers. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "controlplane/engine/layers.h"
#include "tests/unit/controlplane/engine/fixture.h"

#define OUTCOME(name) HEADGATE__PUSH_REPLY__OUTCOME__##name

/* The resources of the configuration without its settings and without those of `except` ("cluster/web"), which are there
 * for others to refer to. */
static inline struct config_resources layer_of(const char *yaml, const char *except) {
    struct config_sources sources = {0};
    struct config_resources all = {0}, set = {0};
    struct error_list errors = {0}, warnings = {0};
    char name[300];
    assert_int_equal(config_sources_add(&sources, STR("layer.yaml"), str_of(yaml), &errors), 0);
    assert_int_equal(config_compile(&sources, NULL, &all, &errors, &warnings), 0);
    for (size_t i = 0; i < all.count; i++) {
        const struct config_resource *r = &all.items[i];
        bool is_endpoints = r->kind == HEADGATE__KIND__KIND_ENDPOINT_SET;
        snprintf(name, sizeof name, "%s/%s", is_endpoints ? "cluster" : kind_name(r->kind), r->name);
        if (r->kind != HEADGATE__KIND__KIND_SETTINGS && (!except || strcmp(name, except) != 0))
            assert_int_equal(config_resources_add(&set, r->kind, str_of(r->name), r->bytes, r->size), 0);
    }
    config_resources_sort(&set);
    config_sources_finish(&sources);
    config_resources_finish(&all);
    error_list_finish(&warnings);
    return set;
}

/* What became of one set. */
struct layer_answer {
    int count;
    Headgate__PushReply__Outcome outcome;
    uint64_t version;
    size_t problems;
    char resource[128], path[128], message[256]; /* of the first problem */
};

static inline void layer_on_reply(void *context, const Headgate__PushReply *reply) {
    struct layer_answer *a = context;
    a->count++;
    a->outcome = reply->outcome;
    a->version = reply->version;
    a->problems = reply->n_problems;
    const Headgate__Problem *p = reply->n_problems ? reply->problems[0] : NULL;
    snprintf(a->resource, sizeof a->resource, "%s", p && p->resource ? p->resource : "");
    snprintf(a->path, sizeof a->path, "%s", p && p->path ? p->path : "");
    snprintf(a->message, sizeof a->message, "%s", p && p->message ? p->message : "");
}

static inline void layer_begin(struct fixture *f, enum engine_layer layer, const char *yaml, const char *except,
                               struct layer_answer *ret) {
    struct config_resources set = layer_of(yaml, except);
    *ret = (struct layer_answer){0};
    assert_int_equal(engine_set_layer(f->engine, layer, &set, layer_on_reply, ret), 0);
    assert_null(set.items);
}

/* Turns the loop until the answer is there; data planes consent. */
static inline void layer_wait(struct fixture *f, const struct layer_answer *a) {
    while (a->count == 0) {
        ev_run(f->loop, EVRUN_NOWAIT);
        for (int i = 0; i < FIXTURE_NODES; i++)
            if (f->nodes[i].stream)
                fixture_settle(&f->nodes[i]);
    }
    assert_int_equal(a->count, 1);
}

static inline struct layer_answer layer_set(struct fixture *f, enum engine_layer layer, const char *yaml,
                                            const char *except) {
    struct layer_answer a;
    layer_begin(f, layer, yaml, except, &a);
    layer_wait(f, &a);
    return a;
}

/* The layer that has cluster/web or the like now; -1: there is no such resource. */
static inline int layer_owner(struct fixture *f, Headgate__Kind kind, const char *name) {
    struct engine_view view = {0};
    struct error_list errors = {0};
    assert_int_equal(engine_view(f->engine, 0, &view, &errors), 0);
    const struct config_resource *r = config_resources_find(&view.set, kind, str_of(name));
    int owner = r ? r->layer : -1;
    engine_view_finish(&view);
    return owner;
}
