/* How a set becomes what is served: with the holder's answers at the other end, a real writer and copy on
 * disk, and a small stand-in for building and switching. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/holder/requests.h"
#include "dataplane/snapshot/adopt.h"
#include "dataplane/snapshot/dataplane.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/lastgood.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "dataplane/snapshot/log_output.h"
#include "tests/unit/dataplane/snapshot/manifest_set.h"

enum { WORKERS = 2 };

static struct ev_loop *loop;
static struct requests holder;
static ev_io holder_watcher;
static struct holder_client *client;
static struct listen_sockets *sockets;
static struct log_output *output;
static struct adopter adopter;
static char folder[64];

/* ---- the stand-in ---- */

static struct {
    int              built, freed, switched;
    int              switch_failures;       /* so many more switches find no memory */
    const char      *build_error;           /* NULL: builds */
    struct log_ring *rings[WORKERS];
    void           (*done)(void *arg, uint64_t switch_us);
    void            *arg;
} fake;

static struct snapshot *const some_snapshot = (struct snapshot *)&fake;

static int fake_build(struct resource_set *resources, const struct snapshot *previous,
                      struct snapshot **ret, struct error_list *errors) {
    (void)resources;
    (void)previous;
    if (fake.build_error) {
        error_set_resource(errors, error_addf(errors, ERROR_REFERENCE, "%s", fake.build_error), "cluster/a",
                           "x");
        return -1;
    }
    fake.built++;
    *ret = some_snapshot;
    return 0;
}

static void fake_free(struct snapshot *snapshot) {
    assert_ptr_equal(snapshot, some_snapshot);
    fake.freed++;
}

static const struct snapshot *fake_current(const struct dataplane *dataplane) {
    (void)dataplane;
    return NULL;
}

static void fake_set_access_log(struct dataplane *dataplane, unsigned worker, struct log_ring *ring) {
    (void)dataplane;
    fake.rings[worker] = ring;
}

static int fake_switch(struct dataplane *dataplane, struct snapshot *snapshot,
                       struct listen_sockets *held, void (*done)(void *arg, uint64_t switch_us),
                       void *arg) {
    (void)dataplane;
    (void)snapshot;
    (void)held;
    if (fake.switch_failures-- > 0)
        return -1;
    fake.done = done;
    fake.arg = arg;
    fake.switched++;
    return 0;
}

static const struct adopt_ops ops = {fake_build, fake_free, fake_current, fake_set_access_log, fake_switch};

/* ---- what the owner hears ---- */

static struct {
    int                prepared, committed;
    enum error_code    code;               /* of the first error; ERROR_NONE: ready */
    char               resource[64];
    char               persist_error[128];
} heard;

static void on_prepared(void *owner, const struct error_list *errors, uint64_t build_us) {
    (void)owner;
    (void)build_us;
    heard.prepared++;
    heard.code = errors->count ? errors->items[0].code : ERROR_NONE;
    snprintf(heard.resource, sizeof heard.resource, "%s",
             errors->count && errors->items[0].resource ? errors->items[0].resource : "");
    ev_break(loop, EVBREAK_ONE);
}

static void on_committed(void *owner, uint64_t switch_us, const char *persist_error) {
    (void)owner;
    (void)switch_us;
    heard.committed++;
    snprintf(heard.persist_error, sizeof heard.persist_error, "%s", persist_error ? persist_error : "");
    ev_break(loop, EVBREAK_ONE);
}

/* ---- set-up ---- */

static void serve(struct ev_loop *l, ev_io *watcher, int events) {
    (void)events;
    if (requests_serve(&holder, watcher->fd) < 0)
        ev_io_stop(l, watcher);
}

static void on_lost(void *owner) {
    (void)owner;
}

static int start_lastgood(void) {
    struct error_list errors = {0};
    adopter.lastgood = lastgood_create(loop, open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &errors);
    error_list_finish(&errors);
    return adopter.lastgood ? lastgood_start(adopter.lastgood, NULL) : -1;
}

static int set_up(void **state) {
    (void)state;
    int pair[2];
    memset(&fake, 0, sizeof fake);
    memset(&heard, 0, sizeof heard);
    strcpy(folder, "/tmp/headgate-adopt-XXXXXX");
    if (!mkdtemp(folder) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    loop = ev_loop_new(0);
    holder = (struct requests){.state_dir = -1, .sockets.sockets_max = 100};
    ev_io_init(&holder_watcher, serve, pair[1], EV_READ);
    ev_io_start(loop, &holder_watcher);
    client = holder_client_create(loop, pair[0], on_lost, NULL);
    sockets = listen_sockets_create(client, loop, WORKERS);
    output = log_output_create(client, WORKERS);
    adopter = (struct adopter){
        .ops = &ops, .loop = loop, .workers = WORKERS, .sockets = sockets, .log = output};
    return start_lastgood();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int tear_down(void **state) {
    (void)state;
    struct lastgood *lastgood = adopter.lastgood;
    adopter_finish(&adopter);
    log_output_destroy(output);
    lastgood_destroy(lastgood);
    listen_sockets_destroy(sockets);
    holder_client_destroy(client);
    requests_finish(&holder);
    ev_io_stop(loop, &holder_watcher);
    close(holder_watcher.fd);
    ev_loop_destroy(loop);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- sets ---- */

static void made_access_log(struct manifest *m, const char *name, Headgate__AccessLog__Format format) {
    Headgate__Settings settings = HEADGATE__SETTINGS__INIT;
    Headgate__AccessLog log = HEADGATE__ACCESS_LOG__INIT;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    log.has_format = 1;
    log.format = format;
    log.path = path;
    settings.access_log = &log;
    made_set(&m->intent, HEADGATE__KIND__KIND_SETTINGS, "default", &settings.base);
}

static struct resource_set *make_set(uint64_t version, uint64_t generation, const char *address) {
    struct manifest m = {0};
    made_access_log(&m, "access.log", HEADGATE__ACCESS_LOG__FORMAT__JSON);
    made_cluster(&m, "a", (unsigned)version);
    made_endpoint(&m.state, "a", generation % 2 ? "127.0.0.1:1" : "127.0.0.1:2");
    if (address)
        made_listener(&m, "web", address);
    manifest_seal(&m, version, generation);
    return manifest_set(&m);
}

static void prepare(struct resource_set *set) {
    int before = heard.prepared;
    adopt_prepare(&adopter, set, on_prepared, NULL);
    if (heard.prepared == before)
        ev_run(loop, 0);
    assert_int_equal(heard.prepared, before + 1);
}

static void commit(void) {
    int before = heard.committed;
    adopt_commit(&adopter, false, on_committed, NULL);
    while (!fake.done)
        ev_run(loop, EVRUN_ONCE);
    void (*done)(void *, uint64_t) = fake.done;
    fake.done = NULL;
    done(fake.arg, 7);
    if (heard.committed == before)
        ev_run(loop, 0);
    assert_int_equal(heard.committed, before + 1);
}

static void serve_set(uint64_t version, uint64_t generation, const char *address) {
    struct resource_set *set = make_set(version, generation, address);
    prepare(set);
    assert_int_equal(heard.code, ERROR_NONE);
    commit();
    assert_ptr_equal(adopter.serving, set);
    resource_set_unref(set);
}

static long stored_version(void) {
    struct lastgood_files files;
    struct error_list errors = {0};
    struct resource_set *set = NULL;
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(lastgood_files_init(&files, dir, &errors), 0);
    assert_int_equal(lastgood_files_load(&files, LASTGOOD_CURRENT, &set, &errors), 0);
    long version = set ? (long)set->id.version : 0;
    resource_set_unref(set);
    lastgood_files_finish(&files);
    close(dir);
    return version;
}

/* ---- tests ---- */

static void committed_set_is_served_and_on_disk(void **state) {
    (void)state;
    serve_set(1, 1, "127.0.0.1:0");
    assert_string_equal(heard.persist_error, "");
    assert_int_equal(fake.switched, 1);
    assert_non_null(fake.rings[1]);
    assert_int_equal(holder.sockets.addresses, 1);
    assert_int_equal(stored_version(), 1);
}

static void refused_build_leaves_nothing(void **state) {
    (void)state;
    struct resource_set *set = make_set(1, 1, "127.0.0.1:0");
    fake.build_error = "no such route table";
    prepare(set);
    assert_int_equal(heard.code, ERROR_REFERENCE);
    assert_int_equal(adopter.state, ADOPT_IDLE);
    assert_int_equal(holder.sockets.addresses, 0);
    assert_int_equal(fake.freed, 0);
    assert_int_equal(set->refcount, 1);
    resource_set_unref(set);
}

static void address_in_use_refuses_and_frees_what_was_built(void **state) {
    (void)state;
    struct address any = {0}, taken = {.length = sizeof taken.u};
    char text[ADDRESS_TEXT_MAX];
    address_parse(STR("127.0.0.1:0"), &any);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, &any.u.any, any.length), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, &taken.u.any, &taken.length), 0);
    address_format(&taken, text);
    struct resource_set *set = make_set(1, 1, text);
    prepare(set);
    assert_int_equal(heard.code, ERROR_ADDRESS_IN_USE);
    assert_string_equal(heard.resource, "listener/web");
    assert_int_equal(fake.freed, 1);
    assert_int_equal(adopter.state, ADOPT_IDLE);
    close(other);
    resource_set_unref(set);
}

static void log_that_cannot_be_opened_refuses(void **state) {
    (void)state;
    struct manifest m = {0};
    made_access_log(&m, "no/such/folder", HEADGATE__ACCESS_LOG__FORMAT__JSON);
    manifest_seal(&m, 1, 1);
    struct resource_set *set = manifest_set(&m);
    prepare(set);
    assert_int_equal(heard.code, ERROR_IO);
    assert_string_equal(heard.resource, "settings/default");
    resource_set_unref(set);
}

static void abort_leaves_what_is_served(void **state) {
    (void)state;
    serve_set(1, 1, "127.0.0.1:0");
    struct resource_set *serving = adopter.serving, *set = make_set(2, 1, "127.0.0.2:0");
    prepare(set);
    assert_int_equal(holder.sockets.addresses, 2);
    adopt_abort(&adopter);
    for (int i = 0; i < 10; i++)
        ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(holder.sockets.addresses, 1);
    assert_ptr_equal(adopter.serving, serving);
    assert_int_equal(fake.freed, 1);
    assert_int_equal(set->refcount, 1);
    assert_int_equal(stored_version(), 1);
    resource_set_unref(set);
}

static void abort_while_opening_is_silent(void **state) {
    (void)state;
    struct resource_set *set = make_set(1, 1, "127.0.0.1:0");
    adopt_prepare(&adopter, set, on_prepared, NULL);
    assert_int_equal(adopter.state, ADOPT_OPENING);
    adopt_abort(&adopter);
    for (int i = 0; i < 10; i++)
        ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(heard.prepared, 0);
    assert_int_equal(holder.sockets.addresses, 0);
    resource_set_unref(set);
    serve_set(1, 1, "127.0.0.1:0"); /* and the next one is not disturbed */
}

/* A change of the state part alone does not wait for the disk. */
static void change_of_state_is_not_held_up_by_the_disk(void **state) {
    (void)state;
    serve_set(1, 1, NULL);
    struct resource_set *set = make_set(1, 2, NULL);
    prepare(set);
    adopt_commit(&adopter, false, on_committed, NULL);
    assert_int_equal(heard.committed, 1);
    fake.done(fake.arg, 1); /* nothing else was waited for */
    assert_int_equal(heard.committed, 2);
    resource_set_unref(set);
}

static void failing_disk_is_told_and_does_not_stop_the_commit(void **state) {
    (void)state;
    char path[96];
    snprintf(path, sizeof path, "%s/manifest.new", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    serve_set(1, 1, NULL);
    assert_non_null(strstr(heard.persist_error, "Is a directory"));
}

static void switch_without_memory_is_tried_until_it_succeeds(void **state) {
    (void)state;
    fake.switch_failures = 2;
    serve_set(1, 1, NULL);
    assert_int_equal(fake.switched, 1);
    assert_int_equal(fake.freed, 0);
}

static void log_is_switched_off_and_on(void **state) {
    (void)state;
    struct manifest off = {0};
    serve_set(1, 1, NULL);
    struct log_ring *ring = fake.rings[0];
    assert_non_null(ring);
    serve_set(2, 1, NULL);
    assert_ptr_equal(fake.rings[0], ring); /* what did not change stays */
    made_access_log(&off, "access.log", HEADGATE__ACCESS_LOG__FORMAT__OFF);
    manifest_seal(&off, 3, 1);
    struct resource_set *set = manifest_set(&off);
    prepare(set);
    commit();
    assert_null(fake.rings[0]);
    resource_set_unref(set);
    serve_set(4, 1, NULL);
    assert_non_null(fake.rings[0]);
}

/* As a program that rotates logs does it: move the file away, then the signal. */
static void log_is_opened_anew_after_its_rotation(void **state) {
    (void)state;
    char from[128], to[128];
    log_output_reopen(output); /* nothing is open yet: nothing happens */
    serve_set(1, 1, NULL);
    snprintf(from, sizeof from, "%s/access.log", folder);
    snprintf(to, sizeof to, "%s/access.log.1", folder);
    assert_int_equal(rename(from, to), 0);
    log_output_reopen(output);
    struct stat st = {0};
    for (; st.st_size == 0; usleep(1000)) { /* until a record comes to the new file */
        ev_run(loop, EVRUN_NOWAIT);
        assert_true(log_ring_put(fake.rings[0], "line\n", 5));
        stat(from, &st);
    }
    assert_int_equal(st.st_size % 5, 0);
}

/* Whatever allocation fails while preparing: an error is told, nothing is left behind, and the next try
 * succeeds. */
static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    struct resource_set *set = make_set(1, 1, "127.0.0.1:0");
    heard.code = ERROR_MEMORY;
    for (long nth = 0; heard.code != ERROR_NONE; nth++) {
        hg_alloc_fail_at(nth, 0);
        prepare(set);
        hg_alloc_fail_at(-1, 0);
        assert_true(heard.code == ERROR_NONE || adopter.state == ADOPT_IDLE);
        assert_true(heard.code == ERROR_NONE || set->refcount == 1);
    }
    assert_int_equal(fake.built, fake.freed + 1);
    resource_set_unref(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(committed_set_is_served_and_on_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_build_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_in_use_refuses_and_frees_what_was_built, set_up, tear_down),
        cmocka_unit_test_setup_teardown(log_that_cannot_be_opened_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(abort_leaves_what_is_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(abort_while_opening_is_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(change_of_state_is_not_held_up_by_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_disk_is_told_and_does_not_stop_the_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(switch_without_memory_is_tried_until_it_succeeds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(log_is_switched_off_and_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(log_is_opened_anew_after_its_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_failed_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
