/* PEM files: what is read, and what is not waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/rpc/pem.h"

/* Nobody writes into the pipe. */
static void files_are_read_and_pipes_are_not(void **state) {
    struct error_list errors = {0};
    char path[] = "/tmp/headgate-pem-XXXXXX", expected[96];
    int fd = mkstemp(path);
    (void)state;
    assert_int_equal(write(fd, "text", 4), 4);
    close(fd);
    char *text = pem_read_file(path, &errors);
    assert_string_equal(text, "text");
    pem_forget(text);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(pem_read_file(path, &errors));
    snprintf(expected, sizeof expected, "cannot read %s: it is a pipe, a socket or a device", path);
    assert_string_equal(errors.items[0].message, expected);
    unlink(path);
    error_list_finish(&errors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_and_pipes_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
