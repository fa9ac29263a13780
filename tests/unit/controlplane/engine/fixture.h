/* fixture.h — an engine on a store in a folder of its own, with scripted data planes on its channel. */
#pragma once

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "controlplane/channel/message_copy.h"
#include "controlplane/engine/engine.h"
#include "tests/unit/controlplane/channel/script.h"

enum { FIXTURE_NODES = 2 };

struct fixture {
    struct ev_loop *loop;
    struct engine *engine;
    const struct engine_checks *checks; /* NULL: nothing is checked */
    struct endpoint_feed *feed;         /* the test's; NULL: none */
    char folder[64], store[80];
    struct script nodes[FIXTURE_NODES];
    int replies;
    Headgate__PushReply *reply; /* a copy of the last one */
};

static inline int fixture_remove(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline struct engine *fixture_open(struct fixture *f, struct error_list *errors) {
    const struct engine_config config = {.loop = f->loop,
                                         .state_dir = f->store,
                                         .channel = channel_config_default,
                                         .checks = f->checks,
                                         .feed = f->feed,
                                         .keep_versions = 3,
                                         .wake = script_on_wake,
                                         .end = script_on_end};
    return engine_create(&config, errors);
}

static inline int fixture_setup_with(void **state, const struct engine_checks *checks) {
    struct fixture *f = calloc(1, sizeof *f);
    struct error_list errors = {0};
    f->checks = checks;
    /* In memory where that is possible: what a disk does is the store's tests' affair. */
    snprintf(f->folder, sizeof f->folder, "%s/headgate-engine-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(f->folder))
        return -1;
    snprintf(f->store, sizeof f->store, "%s/store", f->folder);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->engine = fixture_open(f, &errors);
    *state = f;
    return f->engine ? 0 : -1;
}

static inline int fixture_setup(void **state) {
    return fixture_setup_with(state, NULL);
}

static inline void fixture_forget_reply(struct fixture *f) {
    if (f->reply)
        headgate__push_reply__free_unpacked(f->reply, NULL);
    f->reply = NULL;
}

static inline int fixture_teardown(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < FIXTURE_NODES; i++) {
        script_disconnect(&f->nodes[i]);
        script_finish(&f->nodes[i]);
    }
    engine_destroy(f->engine);
    fixture_forget_reply(f);
    ev_loop_destroy(f->loop);
    nftw(f->folder, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static inline void fixture_on_reply(void *context, const Headgate__PushReply *reply) {
    struct fixture *f = context;
    fixture_forget_reply(f);
    f->replies++;
    f->reply = message_copy(reply);
}

/* ---- requests ---- */

static inline void fixture_push_request(struct fixture *f, Headgate__PushRequest *request) {
    request->author = (char *)"tester";
    engine_push(f->engine, request, fixture_on_reply, f);
}

/* Pushes a whole configuration given as YAML. */
static inline void fixture_push_text(struct fixture *f, const char *yaml) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Sources sources = HEADGATE__SOURCES__INIT;
    Headgate__SourceFile file = HEADGATE__SOURCE_FILE__INIT, *list = &file;
    file.path = (char *)"test.yaml";
    file.has_text = true;
    file.text = (ProtobufCBinaryData){strlen(yaml), (uint8_t *)yaml};
    sources.n_files = 1;
    sources.files = &list;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_SOURCES;
    request.sources = &sources;
    fixture_push_request(f, &request);
}

/* One cluster "web" with one endpoint on this port. */
static inline void fixture_push_port(struct fixture *f, unsigned port) {
    char yaml[128];
    snprintf(yaml, sizeof yaml, "clusters:\n  - {name: web, endpoints: ['127.0.0.1:%u']}\n", port);
    fixture_push_text(f, yaml);
}

static inline void fixture_rollback(struct fixture *f, uint64_t version) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Rollback rollback = HEADGATE__ROLLBACK__INIT;
    rollback.has_version = version != 0;
    rollback.version = version;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_ROLLBACK;
    request.rollback = &rollback;
    fixture_push_request(f, &request);
}

/* ---- data planes ---- */

static inline void fixture_connect(struct fixture *f, int i) {
    static const char *const names[FIXTURE_NODES] = {"a", "b"};
    script_connect(&f->nodes[i], engine_channel(f->engine));
    script_hello(&f->nodes[i], names[i], 1, SCHEMA_LEVEL);
}

/* Answers everything that is open with consent. */
static inline void fixture_settle(struct script *s) {
    script_pull(s);
    script_ready(s, s->nonce);
    script_pull(s);
    script_ack(s, s->nonce);
    script_pull(s);
}
