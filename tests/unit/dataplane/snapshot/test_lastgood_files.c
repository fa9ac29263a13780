/* The last-known-good copy: what is written is read again, and damage anywhere is found. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/snapshot/lastgood_files.h"
#include "tests/unit/dataplane/snapshot/manifest_set.h"

static char folder[64];
static struct lastgood_files files;
static struct error_list errors;
static int dir = -1;

static int syncs_until_failure; /* 0: none fails */
static bool is_interrupted;

/* In place of libc's: every other call is interrupted. */
static int synchronize_with(long number, int fd) {
    is_interrupted = !is_interrupted;
    if (is_interrupted) {
        errno = EINTR;
        return -1;
    }
    if (syncs_until_failure && --syncs_until_failure == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

int fsync(int fd) {
    return synchronize_with(SYS_fsync, fd);
}

int syncfs(int fd) {
    return synchronize_with(SYS_syncfs, fd);
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/headgate-lastgood-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return lastgood_files_init(&files, dir, &errors);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int tear_down(void **state) {
    (void)state;
    lastgood_files_finish(&files);
    error_list_finish(&errors);
    close(dir);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* As after a restart. */
static void start_again(void) {
    lastgood_files_finish(&files);
    error_list_finish(&errors);
    assert_int_equal(lastgood_files_init(&files, dir, &errors), 0);
}

static uint64_t salt; /* of the one secret that a set has; 0: it has none */

static void made_secret(struct manifest *m) {
    Headgate__Secret secret = HEADGATE__SECRET__INIT;
    secret.has_salt = true;
    secret.salt = (ProtobufCBinaryData){sizeof salt, (uint8_t *)&salt};
    made_set(&m->state, HEADGATE__KIND__KIND_SECRET, "s", &secret.base);
}

static struct resource_set *make_set(uint64_t version) {
    struct manifest m = {0};
    if (salt)
        made_secret(&m);
    made_cluster(&m, "a", 1);
    made_cluster(&m, "b", (unsigned)version);
    made_endpoint(&m.state, "a", "127.0.0.1:1");
    manifest_seal(&m, version, version);
    return manifest_set(&m);
}

static void write_version(uint64_t version) {
    struct resource_set *set = make_set(version);
    assert_int_equal(lastgood_files_write(&files, set, NULL, &errors), 0);
    resource_set_unref(set);
}

static int try_to_synchronize(void) {
    int status;
    do
        status = lastgood_files_sync_step(&files, &errors);
    while (status > 0);
    return status;
}

static void synchronize(void) {
    assert_int_equal(try_to_synchronize(), 0);
}

/* The version of a copy, 0 when there is none, -1 when it is damaged. */
static long load_version(enum lastgood_copy copy) {
    struct resource_set *set;
    if (lastgood_files_load(&files, copy, &set, &errors) < 0)
        return -1;
    long version = set ? (long)set->id.version : 0;
    if (set) {
        const struct resource *b = resource_set_find(set, HEADGATE__KIND__KIND_CLUSTER, "b");
        assert_int_equal(((const Headgate__Cluster *)b->message)->idle_connections, version);
        assert_int_equal(set->state.count, 1);
    }
    resource_set_unref(set);
    return version;
}

static size_t count_objects(void) {
    char command[128];
    unsigned long count;
    snprintf(command, sizeof command, "ls %s/objects | wc -l", folder);
    FILE *out = popen(command, "r");
    assert_int_equal(fscanf(out, "%lu", &count), 1);
    pclose(out);
    return count;
}

static void empty_folder_has_no_copy(void **state) {
    (void)state;
    assert_int_equal(load_version(LASTGOOD_CURRENT), 0);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 0);
}

static void what_was_written_is_read_after_a_restart(void **state) {
    (void)state;
    write_version(1);
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), 1);
}

static void synchronized_copy_becomes_the_previous_one(void **state) {
    (void)state;
    write_version(1);
    write_version(2); /* 1 had not reached the disk: it is no good as a previous one */
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 0);
    synchronize();
    write_version(3);
    write_version(4);
    assert_int_equal(load_version(LASTGOOD_CURRENT), 4);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 2);
}

static void damaged_manifest_leaves_the_previous_copy(void **state) {
    (void)state;
    write_version(1);
    synchronize();
    write_version(2);
    int fd = openat(dir, "manifest", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, 60), 1);
    close(fd);
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), -1);
    assert_int_equal(errors.items[0].code, ERROR_INTEGRITY);
    assert_string_equal(errors.items[0].file, "manifest");
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 1);
    write_version(3); /* does not put the damaged one in the place of the good one */
    assert_int_equal(load_version(LASTGOOD_CURRENT), 3);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 1);
}

static void damaged_object_is_found_and_written_again(void **state) {
    (void)state;
    struct resource_set *set = make_set(1);
    char path[128] = "objects/";
    write_version(1);
    resource_id_format(&set->state.items[0]->id, path + 8);
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, 3), 1);
    close(fd);
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), -1);
    write_version(1);
    assert_int_equal(load_version(LASTGOOD_CURRENT), 1);
    resource_set_unref(set);
}

/* A loss of power can leave an object without its bytes under its name, before any manifest names it. */
static void object_that_lost_its_bytes_is_written_again(void **state) {
    (void)state;
    struct resource_set *set = make_set(1);
    char path[128] = "objects/";
    resource_id_format(&set->intent.items[0]->id, path + 8);
    close(openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    start_again();
    write_version(1);
    assert_int_equal(load_version(LASTGOOD_CURRENT), 1);
    resource_set_unref(set);
}

static ino_t inode_of(const struct resource *r) {
    char path[128] = "objects/";
    struct stat st;
    resource_id_format(&r->id, path + 8);
    assert_int_equal(fstatat(dir, path, &st, 0), 0);
    return st.st_ino;
}

/* What is on the disk is not replaced by what is not there yet. */
static void whole_object_stays_as_it_is(void **state) {
    (void)state;
    struct resource_set *set = make_set(1);
    write_version(1);
    synchronize();
    ino_t before = inode_of(set->intent.items[0]);
    write_version(2);
    assert_int_equal(inode_of(set->intent.items[0]), before);
    resource_set_unref(set);
}

static void unsynchronized_copy_of_a_killed_writer_does_not_become_the_previous_one(void **state) {
    (void)state;
    write_version(1);
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), 1);
    write_version(2);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 0);
    synchronize();
    write_version(3);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 2);
}

static void write_set(const struct resource_set *set, const struct resource_set *base) {
    assert_int_equal(lastgood_files_write(&files, set, base, &errors), 0);
}

/* Each synchronization failed in turn. Of what can be read no more is trusted than the previous copy names. */
static void copy_that_did_not_reach_the_disk_is_written_anew(void **state) {
    (void)state;
    struct resource_set *first = make_set(1), *second = make_set(2);
    const struct resource *shared = second->intent.items[0], *own = second->intent.items[1];
    int failures = 0;
    for (bool has_failed = true; has_failed; failures += has_failed) {
        write_set(first, NULL);
        synchronize();
        write_set(second, NULL);
        ino_t shared_before = inode_of(shared), own_before = inode_of(own);
        syncs_until_failure = failures + 1;
        has_failed = try_to_synchronize() < 0;
        syncs_until_failure = 0;
        assert_int_equal(errors.count > 0 && errors.items[0].code == ERROR_IO, has_failed);
        write_set(second, second);
        assert_int_equal(load_version(LASTGOOD_PREVIOUS), has_failed ? 1 : 2);
        assert_true(inode_of(shared) == shared_before);
        assert_int_equal(inode_of(own) != own_before, has_failed);
        start_again();
    }
    assert_true(failures >= 3); /* a file, and two folders */
    resource_set_unref(first);
    resource_set_unref(second);
}

static void file_system_that_could_not_be_synchronized_is_told(void **state) {
    (void)state;
    write_version(1);
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), 1);
    write_version(2);
    syncs_until_failure = 1;
    assert_int_equal(try_to_synchronize(), -1);
    assert_int_equal(errors.items[0].code, ERROR_IO);
    write_version(3);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 0);
}

/* Flips each bit of the first copy's files in turn. */
static void every_flipped_byte_is_found(void **state) {
    (void)state;
    struct resource_set *set = make_set(1);
    char object[128] = "objects/";
    resource_id_format(&set->intent.items[0]->id, object + 8);
    const char *const names[] = {"manifest", object};
    for (size_t which = 0; which < 2; which++) {
        off_t size = 1;
        for (off_t at = 0; at < size; at++) {
            write_version(1);
            int fd = openat(dir, names[which], O_RDWR | O_CLOEXEC);
            char byte;
            size = lseek(fd, 0, SEEK_END);
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= 0x10;
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            close(fd);
            start_again();
            assert_int_equal(load_version(LASTGOOD_CURRENT), -1);
        }
        assert_true(size > 1);
    }
    resource_set_unref(set);
}

static void missing_object_is_found(void **state) {
    (void)state;
    struct resource_set *set = make_set(1);
    char path[128] = "objects/";
    write_version(1);
    resource_id_format(&set->intent.items[0]->id, path + 8);
    assert_int_equal(unlinkat(dir, path, 0), 0);
    assert_int_equal(load_version(LASTGOOD_CURRENT), -1);
    assert_int_equal(errors.items[0].code, ERROR_IO);
    resource_set_unref(set);
}

static void objects_that_nothing_names_are_removed(void **state) {
    (void)state;
    for (uint64_t version = 1; version <= 100; version++) {
        write_version(version);
        synchronize();
        lastgood_files_sweep(&files);
    }
    assert_true(count_objects() < 100);
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), 100);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 99);
}

static void write_secret(uint64_t version, uint64_t number) {
    salt = number;
    write_version(version);
    synchronize();
    lastgood_files_sweep(&files);
    salt = 0;
}

/* Files whose body has this salt: a secret's is little else. */
static bool is_stored(uint64_t number) {
    struct resource_id id;
    struct manifest m = {0};
    char path[128] = "objects/";
    salt = number;
    made_secret(&m);
    salt = 0;
    id = m.state.items[0].id;
    resource_id_format(&id, path + 8);
    return faccessat(dir, path, F_OK, 0) == 0;
}

static void old_secrets_are_removed_at_once(void **state) {
    (void)state;
    write_secret(1, 11);
    write_secret(2, 12);
    assert_true(is_stored(11) && is_stored(12));
    write_secret(3, 13);
    assert_true(!is_stored(11) && is_stored(12) && is_stored(13));
    write_secret(4, 13); /* the same secret in another version */
    assert_true(!is_stored(12) && is_stored(13));
    size_t before = count_objects();
    write_version(5); /* without any; nothing of a secret goes, so nothing is looked for */
    synchronize();
    lastgood_files_sweep(&files);
    assert_true(is_stored(13) && count_objects() == before + 1);
    write_version(6);
    synchronize();
    lastgood_files_sweep(&files);
    assert_false(is_stored(13));
    start_again();
    assert_int_equal(load_version(LASTGOOD_CURRENT), 6);
    assert_int_equal(load_version(LASTGOOD_PREVIOUS), 5);
}

/* The first copy of a data plane that was started anew tidies up. */
static void secrets_that_a_killed_writer_left_are_removed(void **state) {
    (void)state;
    write_secret(1, 11);
    write_secret(2, 12);
    salt = 13;
    write_version(3);
    salt = 0;
    synchronize();
    assert_true(is_stored(11));
    start_again();
    write_secret(4, 13);
    assert_true(!is_stored(11) && is_stored(13));
}

/* A writer killed at any moment leaves a whole copy, no older than what it had reported as written. */
static void killed_writer_leaves_a_whole_copy(void **state) {
    (void)state;
    for (int round = 0; round < 30; round++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t pid = fork();
        if (pid == 0) {
            for (uint64_t version = (uint64_t)round * 100000 + 1;; version++) {
                write_version(version);
                synchronize();
                lastgood_files_sweep(&files);
                if (write(pipe_fds[1], &version, sizeof version) < 0)
                    _exit(1);
            }
        }
        uint64_t reported = 0;
        for (int i = 0; i <= round % 5; i++)
            assert_int_equal(read(pipe_fds[0], &reported, sizeof reported), sizeof reported);
        assert_int_equal(kill(pid, SIGKILL), 0);
        waitpid(pid, NULL, 0);
        close(pipe_fds[1]);
        while (read(pipe_fds[0], &reported, sizeof reported) == sizeof reported)
            continue;
        close(pipe_fds[0]);
        start_again();
        long loaded = load_version(LASTGOOD_CURRENT);
        if (loaded == 0) /* between the two renames */
            loaded = load_version(LASTGOOD_PREVIOUS);
        assert_true(loaded >= (long)reported);
    }
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    struct resource_set *first = make_set(1), *second = make_set(2), *loaded;
    assert_int_equal(lastgood_files_write(&files, first, NULL, &errors), 0);
    int status = -1;
    for (long nth = 0; status < 0; nth++) {
        hg_alloc_fail_at(nth, 0);
        status = lastgood_files_write(&files, second, first, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(load_version(LASTGOOD_CURRENT), status < 0 ? 1 : 2);
    }
    status = -1;
    for (long nth = 0; status < 0; nth++) {
        hg_alloc_fail_at(nth, 0);
        status = lastgood_files_load(&files, LASTGOOD_CURRENT, &loaded, &errors);
        hg_alloc_fail_at(-1, 0);
    }
    resource_set_unref(loaded);
    resource_set_unref(first);
    resource_set_unref(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty_folder_has_no_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_written_is_read_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(synchronized_copy_becomes_the_previous_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_manifest_leaves_the_previous_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_object_is_found_and_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(object_that_lost_its_bytes_is_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whole_object_stays_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            unsynchronized_copy_of_a_killed_writer_does_not_become_the_previous_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copy_that_did_not_reach_the_disk_is_written_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(file_system_that_could_not_be_synchronized_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_flipped_byte_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_object_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(objects_that_nothing_names_are_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_secrets_are_removed_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_that_a_killed_writer_left_are_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_writer_leaves_a_whole_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_failed_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
