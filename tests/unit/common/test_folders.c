/* The folders of root and of users, and making them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/folders.h"

static void clear_environment(void) {
    unsetenv("HEADGATE_STATE_DIR");
    unsetenv("HEADGATE_RUNTIME_DIR");
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_RUNTIME_DIR");
}

static void folders_of_the_environment_come_first(void **state) {
    char text[64];
    (void)state;
    clear_environment();
    setenv("XDG_STATE_HOME", "/srv/x/state", 1);
    setenv("HEADGATE_STATE_DIR", "/srv/state", 1);
    setenv("HEADGATE_RUNTIME_DIR", "/srv/run", 1);
    assert_int_equal(default_state_dir(text, sizeof text), 0);
    assert_string_equal(text, "/srv/state");
    assert_int_equal(default_runtime_dir(text, sizeof text), 0);
    assert_string_equal(text, "/srv/run");
}

static void folders_of_users(void **state) {
    char text[64];
    (void)state;
    clear_environment();
    setenv("HOME", "/srv/x", 1);
    assert_int_equal(default_state_dir(text, sizeof text), 0);
    assert_string_equal(text, geteuid() == 0 ? "/var/lib/headgate" : "/srv/x/.local/state/headgate");
    setenv("XDG_STATE_HOME", "/srv/x/state", 1);
    assert_int_equal(default_state_dir(text, sizeof text), 0);
    assert_string_equal(text, geteuid() == 0 ? "/var/lib/headgate" : "/srv/x/state/headgate");
    setenv("HEADGATE_RUNTIME_DIR", "", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(default_runtime_dir(text, sizeof text), 0);
    assert_string_equal(text, geteuid() == 0 ? "/run/headgate" : "/run/user/7/headgate");
}

static void what_does_not_fit_is_an_error(void **state) {
    char text[4];
    (void)state;
    assert_int_equal(default_state_dir(text, sizeof text), -1);
    assert_int_equal(default_runtime_dir(text, sizeof text), -1);
}

static void makes_all_that_is_missing(void **state) {
    char root[] = "/tmp/headgate-folders-XXXXXX", path[96], file[128];
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/a/b", root);
    assert_int_equal(folder_make(path, 0700), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(folder_make(path, 0755), 0); /* is there, and stays as it is */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(file, sizeof file, "%s/file", path);
    fclose(fopen(file, "we"));
    assert_int_equal(folder_make(file, 0755), -1);
    assert_int_equal(errno, ENOTDIR);
    unlink(file);
    rmdir(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    assert_int_equal(rmdir(root), 0);
}

static void only_one_has_a_folder(void **state) {
    char root[] = "/tmp/headgate-folders-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(root));
    int first = folder_claim(root);
    assert_int_not_equal(first, -1);
    assert_int_equal(folder_claim(root), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    close(first);
    first = folder_claim(root);
    assert_int_not_equal(first, -1);
    close(first);
    assert_int_equal(rmdir(root), 0);
    assert_int_equal(folder_claim(root), -1);
    assert_int_equal(errno, ENOENT);
}

static void a_path_that_is_too_long_is_an_error(void **state) {
    static char path[8192];
    (void)state;
    memset(path, 'x', sizeof path - 1);
    assert_int_equal(folder_make(path, 0755), -1);
    assert_int_equal(errno, ENAMETOOLONG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_of_the_environment_come_first),
        cmocka_unit_test(folders_of_users),
        cmocka_unit_test(what_does_not_fit_is_an_error),
        cmocka_unit_test(makes_all_that_is_missing),
        cmocka_unit_test(only_one_has_a_folder),
        cmocka_unit_test(a_path_that_is_too_long_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
