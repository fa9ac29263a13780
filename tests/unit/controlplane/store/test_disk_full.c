/* Real full and read-only file systems: small ones in memory, in a mount namespace of this process. Where the
 * system does not allow that, these tests are skipped and say so; test_crash.c fails every step with the same
 * errors by hand. */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/unit/controlplane/store/fixture.h"

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct intent intent;
    const char *reason; /* why it cannot be tested; NULL: it can */
};

static void write_map(const char *file, unsigned id) {
    char text[64];
    int n = snprintf(text, sizeof text, "%u %u 1", id, id), fd = open(file, O_WRONLY);
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        print_message("%s: %s\n", file, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* As root a mount namespace is enough; otherwise it takes a user namespace too. */
static bool enter_namespace(void) {
    static bool is_inside;
    unsigned uid = getuid(), gid = getgid();
    if (is_inside || unshare(CLONE_NEWNS) == 0)
        return is_inside = true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    write_map("/proc/self/uid_map", uid);
    int fd = open("/proc/self/setgroups", O_WRONLY);
    if (fd >= 0 && write(fd, "deny", 4) == 4)
        write_map("/proc/self/gid_map", gid);
    close(fd);
    return is_inside = true;
}

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    make_folder(w->folder);
    snprintf(w->path, sizeof w->path, "%s/store", w->folder);
    if (!enter_namespace())
        w->reason = "no mount namespace";
    else if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
             mount("tmpfs", w->folder, "tmpfs", 0, "size=512k,mode=0700") < 0)
        w->reason = "no mount of a file system in memory";
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    intent_finish(&w->intent);
    remove_tree(w->path);
    umount2(w->folder, MNT_DETACH);
    remove_tree(w->folder);
    free(w);
    return 0;
}

static void need_mounts(const struct world *w) {
    if (!w->reason)
        return;
    print_message("skipped: %s: %s\n", w->reason, strerror(errno));
    skip();
}

static char *text_of(size_t size) {
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + rand() % 26);
    text[size] = '\0';
    return text;
}

static void a_resource_that_does_not_fit_changes_nothing(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    need_mounts(w);
    struct store *s = open_store(w->path);
    intent_set(&w->intent, "web", "small");
    commit_intent(s, &w->intent);
    char *text = text_of(1 << 20);
    intent_set(&w->intent, "web", text);
    struct store_commit c = commit_of(s, &w->intent);
    assert_int_equal(store_commit(s, &c, &errors), -1);
    assert_error(&errors, ERROR_IO, "No space left on device");
    struct store_state big = {.generation = 1, .resources = w->intent.resources, .count = 1};
    assert_int_equal(store_save_state(s, &big, &errors), -1);
    assert_error(&errors, ERROR_IO, "No space left on device");
    free(text);
    intent_set(&w->intent, "web", "small");
    assert_current_is(s, &w->intent);
    assert_verifies(s);
    intent_set(&w->intent, "web", "also small");
    commit_intent(s, &w->intent);
    assert_verifies(s);
    store_close(s);
}

static void a_full_disk_is_an_error_and_gc_makes_room(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_gc_result dropped;
    unsigned commits = 0;
    need_mounts(w);
    struct store *s = open_store(w->path);
    for (;; commits++) {
        char *text = text_of(20000);
        intent_set(&w->intent, "web", text);
        free(text);
        struct store_commit c = commit_of(s, &w->intent);
        if (store_commit(s, &c, &errors) < 0)
            break;
        assert_current_is(s, &w->intent);
    }
    assert_error(&errors, ERROR_IO, "No space left on device");
    assert_in_range(commits, 5, 30);
    assert_int_equal(store_current(s)->version.number, commits);
    assert_verifies(s);
    store_close(s);
    s = open_store(w->path);
    assert_int_equal(store_current(s)->version.number, commits);
    assert_int_equal(store_gc(s, &(struct store_retention){.versions = 1}, false, &dropped, &errors), 0);
    assert_no_errors(&errors);
    commit_intent(s, &w->intent);
    assert_current_is(s, &w->intent);
    assert_verifies(s);
    store_close(s);
}

/* While a store is open its lock file keeps a file system from being made read-only; so it is closed before.
 * */
static void a_read_only_file_system_is_an_error(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    char other[FIXTURE_PATH + 16];
    need_mounts(w);
    struct store *s = open_store(w->path);
    intent_set(&w->intent, "web", "one");
    commit_intent(s, &w->intent);
    store_close(s);
    assert_int_equal(mount(NULL, w->folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_IO, "Read-only file system");
    snprintf(other, sizeof other, "%s/other", w->folder);
    assert_null(store_open(other, &errors));
    assert_error(&errors, ERROR_IO, "cannot make the folder of the store: Read-only file system");
    assert_int_equal(mount(NULL, w->folder, NULL, MS_REMOUNT, NULL), 0);
    s = open_store(w->path);
    assert_current_is(s, &w->intent);
    commit_intent(s, &w->intent);
    assert_verifies(s);
    store_close(s);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_resource_that_does_not_fit_changes_nothing),
        T(a_full_disk_is_an_error_and_gc_makes_room),
        T(a_read_only_file_system_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
