/* script.h — a short life of a store, for the tests that stop it at every step: making it, commits, states, a
 * rollback with a pin, and a clean-up. Says in shared memory how far it came, so that a parent knows after
 * the death of the child. */
#pragma once

#include <sys/mman.h>

#include "tests/unit/controlplane/store/fixture.h"

enum { SCRIPT_VERSIONS = 4 };

/* What was acknowledged. The next of each may have reached the disk too, nothing else. */
struct acknowledged {
    uint64_t version, generation;
};

static inline struct acknowledged *shared_acknowledged(void) {
    void *p = mmap(NULL, sizeof(struct acknowledged), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
    assert_true(p != MAP_FAILED);
    return p;
}

/* The intent of each version of the script. */
static inline void script_intent(struct intent *in, uint64_t version) {
    char name[16], text[32];
    intent_finish(in);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "base%u", i);
        intent_set(in, name, name);
    }
    /* The third is more than what is synced file by file; the fourth repeats the second. */
    unsigned extra = version == 3 ? 20 : 2;
    for (unsigned i = 0; i < extra && version > 1; i++) {
        snprintf(name, sizeof name, "extra%u", i);
        snprintf(text, sizeof text, "%u of version %u", i, version == 3 ? 3 : 2);
        intent_set(in, name, text);
    }
}

static inline int script_commit(struct store *s, uint64_t version, struct acknowledged *done) {
    struct error_list errors = {0};
    struct intent *in = calloc(1, sizeof *in);
    script_intent(in, version);
    struct store_commit c = commit_of(s, in);
    c.pin = version == 4;
    c.restores = version == 4 ? 2 : 0;
    /* The second and third are a server's, and the third hides something. */
    struct store_resource hidden = in->resources[0];
    c.layer = version == 2 || version == 3 ? 2 : 0;
    for (size_t i = 4; i < in->count; i++)
        in->resources[i].layer = (unsigned char)c.layer;
    hidden.layer = 2;
    c.hidden = &hidden;
    c.hidden_count = version == 3;
    int status = store_commit(s, &c, &errors);
    error_list_finish(&errors);
    intent_finish(in);
    free(in);
    if (status == 0)
        done->version = version;
    return status;
}

static inline int script_save(struct store *s, uint64_t generation, struct acknowledged *done) {
    struct error_list errors = {0};
    struct intent *in = calloc(1, sizeof *in);
    intent_set(in, "web", generation == 1 ? "up" : "down, and a longer text");
    struct store_state state = {.generation = generation, .resources = in->resources, .count = in->count};
    int status = store_save_state(s, &state, &errors);
    error_list_finish(&errors);
    intent_finish(in);
    free(in);
    if (status == 0)
        done->generation = generation;
    return status;
}

static inline int script_gc(struct store *s, uint64_t keep) {
    struct error_list errors = {0};
    struct store_gc_result result;
    int status = store_gc(s, &(struct store_retention){.versions = keep, .discovered = 1}, false, &result, &errors);
    error_list_finish(&errors);
    return status;
}

/* Goes on whatever fails; returns the number of failed calls. */
static inline unsigned script_run(const char *path, struct acknowledged *done) {
    struct error_list errors = {0};
    struct store *s = store_open(path, &errors);
    error_list_finish(&errors);
    if (!s)
        return 1;
    unsigned failed = 0;
    failed += script_commit(s, 1, done) < 0;
    failed += script_save(s, 1, done) < 0;
    for (uint64_t version = 2; version <= SCRIPT_VERSIONS; version++)
        if (done->version == version - 1)
            failed += script_commit(s, version, done) < 0;
    failed += script_save(s, 2, done) < 0;
    failed += script_gc(s, 2) < 0;
    store_close(s);
    return failed;
}

/* Opens what was left behind and expects all that was acknowledged, or one more, and a clean verify. Returns
 * the version. */
static inline uint64_t assert_survived(const char *path, const struct acknowledged *done) {
    struct error_list errors = {0};
    struct store_state state;
    struct store *s = open_store(path);
    uint64_t version = store_next_version(s) - 1;
    assert_true(version == done->version || version == done->version + 1);
    if (version) {
        struct intent *in = calloc(1, sizeof *in);
        script_intent(in, version);
        assert_current_is(s, in);
        intent_finish(in);
        free(in);
    }
    assert_int_equal(store_pinned_version(s), version == 4 ? 4 : 0);
    int loaded = store_load_state(s, &state, &errors);
    assert_no_errors(&errors);
    uint64_t generation = loaded ? state.generation : 0;
    if (loaded)
        store_state_finish(&state);
    assert_true(generation == done->generation || generation == done->generation + 1);
    assert_verifies(s);
    /* And it is a working store. */
    assert_int_equal(script_commit(s, version % SCRIPT_VERSIONS + 1, &(struct acknowledged){0}), 0);
    store_close(s);
    return version;
}
