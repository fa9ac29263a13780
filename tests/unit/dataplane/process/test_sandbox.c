/* What a process in the sandbox can still do, and what not. Each check runs in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/process/sandbox.h"

#ifdef SYS_fork
enum { FORK_CALL = SYS_fork };
#else
enum { FORK_CALL = SYS_clone }; /* this architecture has but the one */
#endif

/* Sanitizers need some of what is denied otherwise (sandbox.c). */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

static char folder[64], state_path[96];
static const char *readable[2]; /* files that may be read again */

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/headgate-sandbox-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(state_path, sizeof state_path, "%s/state", folder);
    return mkdir(state_path, 0700);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int tear_down(void **state) {
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Runs `act` in a child in the sandbox; returns what it returned (0 to 200), 255 when it could not be
 * entered. */
static int in_sandbox(int (*act)(int state_dir)) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int dir = open(state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _exit(sandbox_enter(dir, readable) < 0 ? 255 : act(dir));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The errno of a call that has to fail, 0 when it did not. */
static int failure(long result) {
    return result < 0 ? errno : 0;
}

static bool has_landlock(void) {
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

static int use_state_folder(int dir) {
    int fd = openat(dir, "new", O_WRONLY | O_CREAT, 0600);
    return fd < 0 || write(fd, "x", 1) != 1 || renameat(dir, "new", dir, "manifest") < 0 ||
           mkdirat(dir, "objects", 0700) < 0 || (fd = openat(dir, "manifest", O_RDONLY)) < 0 ||
           fsync(fd) < 0 || unlinkat(dir, "manifest", 0) < 0;
}

static int make_file_elsewhere(int dir) {
    (void)dir;
    return failure(open("/tmp/headgate-must-not-be", O_WRONLY | O_CREAT, 0600));
}

static int read_file_elsewhere(int dir) {
    (void)dir;
    return failure(open("/etc/passwd", O_RDONLY));
}

/* Where ..data leads when Kubernetes has renewed a secret: a folder beside the one that it led to at the start. */
static int read_renewed_file(int dir) {
    char bytes[8] = "", path[160];
    (void)dir;
    snprintf(path, sizeof path, "%s/keys/..2/file", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? failure(fd) : read(fd, bytes, sizeof bytes) != 6 || memcmp(bytes, "second", 6) != 0;
}

static int write_readable_file(int dir) {
    (void)dir;
    return failure(open(readable[0], O_WRONLY | O_CLOEXEC));
}

static int run_program(int dir) {
    (void)dir;
    return failure(execl("/bin/true", "true", NULL));
}

static int make_process(int dir) {
    (void)dir;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return failure(pid);
}

/* The calls before clone, which the C library's fork does without. */
static int make_process_by_fork_call(int dir) {
    (void)dir;
    long pid = syscall(FORK_CALL, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return failure(pid);
}

static int make_process_by_vfork(int dir) {
    (void)dir;
    pid_t pid = vfork();
    if (pid == 0)
        _exit(0);
    return failure(pid);
}

static int bind_socket(int dir) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0headgate-sandbox"};
    (void)dir;
    return failure(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name));
}

static void *do_nothing(void *arg) {
    return arg;
}

static int make_thread_and_connect(int dir) {
    pthread_t thread;
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
    (void)dir;
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 || connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name) == 0 ||
           close(fd) < 0;
}

static void state_folder_can_be_used(void **state) {
    (void)state;
    assert_int_equal(in_sandbox(use_state_folder), 0);
}

static void nothing_can_be_written_elsewhere(void **state) {
    (void)state;
    if (!has_landlock()) {
        print_message("skipped: the kernel has no Landlock\n");
        skip();
    }
    assert_int_equal(in_sandbox(make_file_elsewhere), EACCES);
    if (is_sanitized)
        print_message("with sanitizers files may be read\n");
    else
        assert_int_equal(in_sandbox(read_file_elsewhere), EACCES);
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void files_that_were_named_can_be_renewed(void **state) {
    char keys[96], path[160], link[160], named[160];
    (void)state;
    snprintf(keys, sizeof keys, "%s/keys", folder);
    assert_int_equal(mkdir(keys, 0700), 0);
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/..%d", keys, i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/..%d/file", keys, i);
        write_text(path, i == 1 ? "first" : "second");
    }
    snprintf(link, sizeof link, "%s/..data", keys);
    assert_int_equal(symlink("..1", link), 0);
    snprintf(named, sizeof named, "%s/file", keys);
    assert_int_equal(symlink("..data/file", named), 0);
    readable[0] = named;
    assert_int_equal(in_sandbox(read_renewed_file), 0);
    if (has_landlock() && !is_sanitized) {
        assert_int_equal(in_sandbox(write_readable_file), EACCES);
        assert_int_equal(in_sandbox(read_file_elsewhere), EACCES);
    } else
        print_message("not looked at: what can be written, and read elsewhere\n");
    readable[0] = NULL;
}

static void sockets_cannot_be_bound(void **state) {
    (void)state;
    assert_int_equal(in_sandbox(bind_socket), EPERM);
}

static void threads_and_connections_can_be_made(void **state) {
    (void)state;
    assert_int_equal(in_sandbox(make_thread_and_connect), 0);
}

static void programs_and_processes_cannot_be_started(void **state) {
    (void)state;
    if (is_sanitized) {
        print_message("skipped: sanitizers start processes of their own\n");
        skip();
    }
    assert_true(in_sandbox(run_program) == EPERM || in_sandbox(run_program) == EACCES);
    assert_int_equal(in_sandbox(make_process), EPERM);
    assert_int_equal(in_sandbox(make_process_by_fork_call), EPERM);
    assert_int_equal(in_sandbox(make_process_by_vfork), EPERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(state_folder_can_be_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_can_be_written_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_were_named_can_be_renewed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_cannot_be_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_and_connections_can_be_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(programs_and_processes_cannot_be_started, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
