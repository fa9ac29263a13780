/* PEM text, files below a root, and files that are replaced while they are read. */
#include "maker.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/secret_memory.h"
#include "controlplane/secrets/pem.h"

/* ---- PEM ---- */

#define BLOCK(label, body) "-----BEGIN " label "-----\n" body "-----END " label "-----\n"

static void blocks_have_labels_and_lines(void **state) {
    static const char text[] = "subject=CN = x\n" BLOCK("CERTIFICATE", "AQID\nBA==\n") "\r\n"
                               "-----BEGIN X509 CRL-----\r\nBQ==\r\n-----END X509 CRL-----  \r\n"
                               BLOCK("EC PARAMETERS", "not base64 !\n") BLOCK("EC PRIVATE KEY", "Bgc=\n")
                               BLOCK("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAAA\n")
                               BLOCK("ENCRYPTED PRIVATE KEY", "AAAA\n");
    static const struct {
        enum pem_label label;
        unsigned line;
        size_t size;
    } expected[] = {{PEM_CERTIFICATE, 2, 4}, {PEM_REVOCATION_LIST, 7, 1}, {PEM_OTHER, 10, 0},
                    {PEM_PRIVATE_KEY, 13, 2}, {PEM_ENCRYPTED_KEY, 16, 0}, {PEM_ENCRYPTED_KEY, 22, 0}};
    struct arena arena = {0};
    struct pem_blocks blocks;
    unsigned line;
    (void)state;
    assert_null(pem_read(str_of(text), &arena, &blocks, &line));
    assert_int_equal(blocks.count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < blocks.count; i++) {
        assert_int_equal(blocks.items[i].label, expected[i].label);
        assert_int_equal(blocks.items[i].line, expected[i].line);
        assert_int_equal(blocks.items[i].size, expected[i].size);
    }
    assert_memory_equal(blocks.items[0].der, "\1\2\3\4", 4);
    assert_null(pem_read(STR(""), &arena, &blocks, &line));
    assert_int_equal(blocks.count, 0);
    arena_finish(&arena);
}

static void torn_blocks_are_told_with_their_line(void **state) {
    static const struct {
        const char *text, *why;
        unsigned line;
    } cases[] = {
        {"\n-----BEGIN CERTIFICATE-----\nAQID\n", "the block has no END", 2},
        {"-----BEGIN CERTIFICATE-----\nAQID\n-----END X509 CRL-----\n",
         "the END of the block has another label than its BEGIN", 3},
        {"-----BEGIN CERTIFICATE-----\nAQID\n" BLOCK("CERTIFICATE", "AQID\n"),
         "a block begins before the one above it has ended", 3},
        {BLOCK("CERTIFICATE", "AQ*D\n"), "the block is not base64", 1},
        {"\n\n" BLOCK("PRIVATE KEY", ""), "the block is not base64", 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct pem_blocks blocks;
        unsigned line;
        const char *why = pem_read(str_of(cases[i].text), &arena, &blocks, &line);
        assert_non_null(why);
        assert_string_equal(why, cases[i].why);
        assert_int_equal(line, cases[i].line);
        arena_finish(&arena);
    }
}

/* ---- the root ---- */

static void names_start_at_the_base(void **state) {
    struct secret_root r;
    struct error_list errors = {0};
    char path[64];
    (void)state;
    assert_int_equal(secret_root_open("/a/", "/a/b//", &r, &errors), 0);
    assert_int_equal(secret_file_path(&r, "c/d", path, sizeof path), 0);
    assert_string_equal(path, "/a/b/c/d");
    assert_int_equal(secret_file_path(&r, "/x", path, sizeof path), 0);
    assert_string_equal(path, "/x");
    assert_int_equal(secret_file_path(&r, "c/d", path, 5), -1);
    secret_root_close(&r);
    assert_int_equal(secret_root_open(NULL, NULL, &r, &errors), 0);
    assert_int_equal(secret_file_path(&r, "x", path, sizeof path), 0);
    assert_string_equal(path, "/x");
    secret_root_close(&r);
    secret_root_close(&r);
}

static void assert_why(const struct folder *f, const char *name, const char *words) {
    const char *names[3] = {NULL, name, NULL};
    struct str bytes[3];
    char why[SECRET_WHY_MAX];
    size_t failed = 9;
    assert_int_equal(secret_files_read(&f->root, names, bytes, &failed, why), -1);
    assert_int_equal(failed, 1);
    if (!strstr(why, words))
        fail_msg("%s: %s", name, why);
}

static void nothing_outside_of_the_root_is_read(void **state) {
    const struct folder *f = *state;
    char link[128];
    snprintf(link, sizeof link, "%s/link", f->path);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    snprintf(link, sizeof link, "%s/fifo", f->path);
    assert_int_equal(mkfifo(link, 0600), 0);
    assert_why(f, "/etc/passwd", "outside of");
    assert_why(f, "../passwd", "leads out of");
    assert_why(f, "link", "leads out of");
    assert_why(f, "fifo", "not a file");
    assert_why(f, ".", "not a file");
    assert_why(f, "none", "No such file");
}

/* ---- while it is replaced ---- */

struct swapper {
    const struct folder *folder;
    atomic_bool is_over;
};

static void *swap(void *argument) {
    struct swapper *s = argument;
    char fresh[128], link[128];
    snprintf(fresh, sizeof fresh, "%s/..tmp", s->folder->path);
    snprintf(link, sizeof link, "%s/..data", s->folder->path);
    for (int i = 0; !atomic_load(&s->is_over); i++) {
        if (symlink(i % 2 ? "..one" : "..two", fresh) < 0 || rename(fresh, link) < 0)
            return argument;
    }
    return NULL;
}

static void make_volume(const struct folder *f) {
    static const char *const folders[] = {"..one", "..two"}, *const names[] = {"a", "b", "c"};
    char path[128], target[64];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", f->path, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        for (int j = 0; j < 3; j++) {
            snprintf(path, sizeof path, "%s/%s", folders[i], names[j]);
            folder_write(f, path, folders[i]);
        }
    }
    snprintf(path, sizeof path, "%s/..data", f->path);
    assert_int_equal(symlink("..one", path), 0);
    for (int j = 0; j < 3; j++) {
        snprintf(path, sizeof path, "%s/%s", f->path, names[j]);
        snprintf(target, sizeof target, "..data/%s", names[j]);
        assert_int_equal(symlink(target, path), 0);
    }
}

static void files_are_of_one_moment(void **state) {
    const struct folder *f = *state;
    const char *names[3] = {"a", "b", "c"};
    struct swapper s = {.folder = f};
    pthread_t thread;
    unsigned read = 0;
    void *failed;
    make_volume(f);
    assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
    for (int i = 0; i < 3000; i++) {
        struct str bytes[3];
        char why[SECRET_WHY_MAX];
        size_t at;
        if (secret_files_read(&f->root, names, bytes, &at, why) < 0)
            continue; /* it was replaced all the time */
        read++;
        assert_true(str_eq(bytes[0], bytes[1]) && str_eq(bytes[1], bytes[2]));
        for (int j = 0; j < 3; j++)
            secret_free((void *)(uintptr_t)bytes[j].p);
    }
    atomic_store(&s.is_over, true);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_true(read > 0);
    print_message("%u of 3000 were read while they were swapped\n", read);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_have_labels_and_lines),
        cmocka_unit_test(torn_blocks_are_told_with_their_line),
        cmocka_unit_test(names_start_at_the_base),
        cmocka_unit_test_setup_teardown(nothing_outside_of_the_root_is_read, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(files_are_of_one_moment, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
