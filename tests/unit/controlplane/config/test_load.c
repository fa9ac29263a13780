/* Reading from disk: includes, what cannot be read, and the directories that a watcher needs. */
#include <errno.h>
#include <ftw.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support.h"

static char root[64];

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/headgate-load-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_root(const char *path)
{
    static char full[8][256];
    static unsigned next;
    char *slot = full[next++ % 8];
    snprintf(slot, sizeof full[0], "%s%s%s", root, *path ? "/" : "", path);
    return slot;
}

static void write_in_root(const char *path, const char *text)
{
    write_text(in_root(path), str_of(text));
}

static void make_directory(const char *path)
{
    assert_int_equal(mkdir(in_root(path), 0755), 0);
}

static bool has_source(const struct config_sources *sources, const char *path)
{
    for (size_t i = 0; i < sources->count; i++) {
        if (strcmp(sources->items[i].path, in_root(path)) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_watched(const struct config_sources *sources, const char *directory)
{
    for (size_t i = 0; i < sources->directory_count; i++) {
        char *real = realpath(sources->directories[i], NULL), *wanted = realpath(in_root(directory), NULL);
        bool is_same = real && wanted && strcmp(real, wanted) == 0;
        free(real);
        free(wanted);
        if (is_same) {
            return true;
        }
    }
    return false;
}

static void includes_are_found_on_disk_as_in_the_list(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    (void)state;
    make_directory("conf.d");
    make_directory("conf.d/folder.yaml.d");
    write_in_root("gw.yaml", "include: [conf.d/*.yaml, \"./one.yaml\"]\n");
    write_in_root("one.yaml", "trusted-hops: 1\n");
    write_in_root("conf.d/a.yaml", "include: [../one.yaml, b.yaml]\nclusters: [{name: a, endpoints: [127.0.0.1:1]}]\n");
    write_in_root("conf.d/b.yaml", "clusters: [{name: b, endpoints: [127.0.0.1:1]}]\n");
    write_in_root("conf.d/.hidden.yaml", "nonsense: 1\n");
    write_in_root("conf.d/other.txt", "nonsense: 1\n");
    assert_int_equal(config_load(in_root("gw.yaml"), &sources, &errors), 0);
    assert_int_equal(sources.count, 4);
    assert_string_equal(sources.items[0].path, in_root("gw.yaml"));
    assert_true(has_source(&sources, "conf.d/a.yaml"));
    assert_true(has_source(&sources, "conf.d/b.yaml"));
    assert_true(has_source(&sources, "one.yaml"));
    struct outcome o = compile_sources(&sources);
    assert_compiles(&o);
    assert_int_equal(o.set.count, 5);
    assert_true(is_watched(&sources, "") && is_watched(&sources, "conf.d"));
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void a_missing_root_says_so(void **state)
{
    struct config_sources sources = {0};
    struct outcome o = {0};
    char expected[256];
    (void)state;
    assert_int_equal(config_load(in_root("none.yaml"), &sources, &o.errors), -1);
    assert_int_equal(config_compile(&sources, NULL, &o.set, &o.errors, &o.warnings), -1);
    snprintf(expected, sizeof expected, "%s: cannot read \"%s\": No such file or directory\n", in_root("none.yaml"),
             in_root("none.yaml"));
    assert_problems(&o, expected);
    assert_true(is_watched(&sources, ""));
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void a_file_over_the_limit_is_refused_and_no_more_is_said(void **state)
{
    struct config_sources sources = {0};
    struct outcome o = {0};
    char expected[256];
    (void)state;
    write_in_root("gw.yaml", "include: [large.yaml]\n");
    write_in_root("large.yaml", "");
    assert_int_equal(truncate(in_root("large.yaml"), CONFIG_FILE_MAX + 1), 0);
    snprintf(expected, sizeof expected, "%s: the file is larger than 16 MiB\n", in_root("large.yaml"));
    static const char *const first[] = {"large.yaml", "gw.yaml"}; /* by itself, and included */
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(config_load(in_root(first[i]), &sources, &o.errors), -1);
        assert_int_equal(config_compile(&sources, NULL, &o.set, &o.errors, &o.warnings), -1);
        assert_problems(&o, expected);
        outcome_finish(&o);
        config_sources_finish(&sources);
        sources = (struct config_sources){0};
    }
}

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, in_root(path));
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* Nobody writes into the pipe: it is not waited for. */
static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    static const char *const names[] = {"pipe.yaml", "socket.yaml", "device.yaml"};
    (void)state;
    assert_int_equal(mkfifo(in_root("pipe.yaml"), 0600), 0);
    make_socket("socket.yaml");
    assert_int_equal(symlink("/dev/null", in_root("device.yaml")), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct config_sources sources = {0};
        struct error_list errors = {0};
        assert_int_equal(config_load(in_root(names[i]), &sources, &errors), -1);
        assert_int_equal(errors.count, 1);
        assert_int_equal(errors.items[0].code, ERROR_IO);
        assert_string_equal(errors.items[0].file, in_root(names[i]));
        assert_string_equal(errors.items[0].expected, "a regular file");
        error_list_finish(&errors);
        config_sources_finish(&sources);
    }
}

static void an_include_that_is_no_regular_file_is_named(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    (void)state;
    make_directory("d");
    assert_int_equal(mkfifo(in_root("d/pipe.yaml"), 0600), 0);
    make_socket("d/socket.yaml");
    write_in_root("d/part.yaml", "trusted-hops: 1\n");
    write_in_root("gw.yaml", "include:\n  - d/*.yaml\n");
    assert_int_equal(config_load(in_root("gw.yaml"), &sources, &errors), -1);
    assert_int_equal(errors.count, 2);
    for (size_t i = 0; i < errors.count; i++) {
        assert_string_equal(errors.items[i].file, in_root("gw.yaml"));
        assert_int_equal(errors.items[i].line, 2);
        assert_string_equal(errors.items[i].expected, "a regular file");
    }
    assert_true(has_source(&sources, "d/part.yaml"));
    error_list_finish(&errors);
    config_sources_finish(&sources);
}

static void every_unreadable_include_is_named(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    (void)state;
    make_directory("d");
    make_directory("d/x.yaml");
    write_in_root("gw.yaml", "include:\n  - gone.yaml\n  - d/*.yaml\n  - absent/*.yaml\n  - far/away/gone.yaml\n");
    assert_int_equal(config_load(in_root("gw.yaml"), &sources, &errors), -1);
    assert_int_equal(errors.count, 3);
    assert_int_equal(errors.items[0].line, 2);
    assert_non_null(strstr(errors.items[1].message, "Is a directory"));
    assert_int_equal(errors.items[1].line, 3);
    assert_int_equal(errors.items[2].line, 5);
    for (size_t i = 0; i < errors.count; i++) {
        assert_int_equal(errors.items[i].code, ERROR_IO);
    }
    assert_true(is_watched(&sources, "") && is_watched(&sources, "d"));
    error_list_finish(&errors);
    config_sources_finish(&sources);
}

/* Kubernetes: gw.yaml -> ..data/gw.yaml, ..data -> ..1; a new version renames a link over ..data. */
static void links_on_the_way_are_watched(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    (void)state;
    make_directory("mount");
    make_directory("mount/..1");
    write_in_root("mount/..1/gw.yaml", "include: part.yaml\ntrusted-hops: 1\n");
    write_in_root("mount/..1/part.yaml", "");
    assert_int_equal(symlink("..1", in_root("mount/..data")), 0);
    assert_int_equal(symlink("..data/gw.yaml", in_root("mount/gw.yaml")), 0);
    assert_int_equal(symlink("..data/part.yaml", in_root("mount/part.yaml")), 0);
    make_directory("etc");
    assert_int_equal(symlink(in_root("mount"), in_root("etc/headgate")), 0);
    assert_int_equal(config_load(in_root("etc/headgate/gw.yaml"), &sources, &errors), 0);
    assert_int_equal(sources.count, 2);
    assert_true(is_watched(&sources, "etc"));
    assert_true(is_watched(&sources, "mount"));
    assert_true(is_watched(&sources, "mount/..1"));
    for (size_t i = 1; i < sources.directory_count; i++) {
        assert_true(strcmp(sources.directories[i - 1], sources.directories[i]) < 0);
    }
    error_list_finish(&errors);
    config_sources_finish(&sources);
}

static void a_loop_of_links_ends(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    (void)state;
    assert_int_equal(symlink("b.yaml", in_root("a.yaml")), 0);
    assert_int_equal(symlink("a.yaml", in_root("b.yaml")), 0);
    assert_int_equal(config_load(in_root("a.yaml"), &sources, &errors), -1);
    assert_int_equal(errors.count, 1);
    assert_true(is_watched(&sources, ""));
    error_list_finish(&errors);
    config_sources_finish(&sources);
}

static void patterns_in_folders_watch_every_folder(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    (void)state;
    make_directory("sites");
    make_directory("sites/a");
    make_directory("sites/b");
    write_in_root("sites/a/gw.yaml", "clusters: [{name: a, endpoints: [127.0.0.1:1]}]\n");
    write_in_root("gw.yaml", "include: sites/*/gw.yaml\n");
    assert_int_equal(config_load(in_root("gw.yaml"), &sources, &errors), 0);
    assert_int_equal(sources.count, 2);
    assert_true(is_watched(&sources, "sites") && is_watched(&sources, "sites/a") && is_watched(&sources, "sites/b"));
    error_list_finish(&errors);
    config_sources_finish(&sources);
}

static void what_a_shell_hands_over_may_be_a_pipe(void **state)
{
    static const char text[] = "clusters: [{name: a, endpoints: [127.0.0.1:1]}]\n";
    struct config_sources sources = {0};
    struct error_list errors = {0};
    char path[32];
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(config_load(path, &sources, &errors), 0);
    assert_int_equal(sources.count, 1);
    assert_int_equal(sources.items[0].size, strlen(text));
    close(ends[0]);
    error_list_finish(&errors);
    config_sources_finish(&sources);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOT(includes_are_found_on_disk_as_in_the_list),
        IN_ROOT(a_missing_root_says_so),
        IN_ROOT(what_is_no_regular_file_is_refused_at_once),
        IN_ROOT(an_include_that_is_no_regular_file_is_named),
        IN_ROOT(what_a_shell_hands_over_may_be_a_pipe),
        IN_ROOT(every_unreadable_include_is_named),
        IN_ROOT(a_file_over_the_limit_is_refused_and_no_more_is_said),
        IN_ROOT(links_on_the_way_are_watched),
        IN_ROOT(a_loop_of_links_ends),
        IN_ROOT(patterns_in_folders_watch_every_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
