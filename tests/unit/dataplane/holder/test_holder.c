/* The holder with a small child in the data plane's place: this program, started again by the holder. The
 * child connects to a socket of the test and does what it is told there. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/holder/child.h"
#include "dataplane/holder/holder.h"
#include "dataplane/holder/protocol.h"

/* ---- the child ---- */

struct report {
    char  what;                 /* 'h' hello, 's' signal, 'l' listening, 'a' accepted, 'o' log opened */
    int   value;                /* signal number, port, error */
    pid_t pid;
    pid_t group;                /* of processes */
    uid_t uid;
    int   no_new_privs;
    int   bounding_set;         /* capabilities left in it */
    int   descriptors;          /* open ones above 3 */
};

static int control;

static void tell(struct report r) {
    if (send(control, &r, sizeof r, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static void on_signal(int number) {
    tell((struct report){.what = 's', .value = number});
}

static struct report describe(void) {
    struct report r = {.what = 'h',
                       .pid = getpid(),
                       .group = getpgrp(),
                       .uid = getuid(),
                       .no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)};
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        r.bounding_set += prctl(PR_CAPBSET_READ, capability);
    for (int fd = HOLDER_DESCRIPTOR + 1; fd < 200; fd++)
        r.descriptors += fd != control && fcntl(fd, F_GETFD) >= 0;
    return r;
}

/* Asks the holder; returns the descriptor that came with the answer, or -1. */
static int ask(const struct holder_request *q, struct holder_reply *ret) {
    union {
        struct cmsghdr header;
        char           bytes[CMSG_SPACE(sizeof(int))];
    } c;
    struct iovec piece = {ret, sizeof *ret};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
    struct pollfd readable = {.fd = HOLDER_DESCRIPTOR, .events = POLLIN};
    int fd = -1;
    if (send(HOLDER_DESCRIPTOR, q, sizeof *q, 0) < 0 || poll(&readable, 1, -1) < 0 ||
        recvmsg(HOLDER_DESCRIPTOR, &m, 0) < 0)
        _exit(1);
    if (ret->count)
        memcpy(&fd, CMSG_DATA(&c.header), sizeof fd);
    return fd;
}

/* One socket on 127.0.0.1, any port. */
static int ask_for_socket(struct holder_reply *ret) {
    struct holder_request q = {
        .version = HOLDER_PROTOCOL_VERSION, .operation = HOLDER_LISTEN, .count = 1, .backlog = 64};
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    q.address_length = sizeof loopback;
    memcpy(&q.u.address, &loopback, sizeof loopback);
    return ask(&q, ret);
}

static void report_log(const char *control_path) {
    struct holder_request q = {.version = HOLDER_PROTOCOL_VERSION, .operation = HOLDER_OPEN_LOG};
    struct holder_reply reply;
    snprintf(q.u.path, sizeof q.u.path, "%s.log", control_path);
    close(ask(&q, &reply));
    tell((struct report){.what = 'o', .value = reply.error});
}

static void report_socket(int *listener) {
    struct holder_reply reply;
    struct sockaddr_in bound;
    *listener = ask_for_socket(&reply);
    memcpy(&bound, &reply.address, sizeof bound);
    tell((struct report){.what = 'l', .value = ntohs(bound.sin_port)});
}

static void accept_one(int listener) {
    struct pollfd readable = {.fd = listener, .events = POLLIN};
    while (poll(&readable, 1, -1) < 0 && errno == EINTR)
        continue;
    int fd = accept(listener, NULL, NULL);
    char byte = 'y';
    if (fd < 0 || send(fd, &byte, 1, MSG_NOSIGNAL) < 0)
        _exit(1);
    close(fd);
    tell((struct report){.what = 'a'});
}

static int child_main(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int listener = -1;
    char order;
    strcpy(to.sun_path, path);
    control = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (connect(control, (struct sockaddr *)&to, sizeof to) < 0)
        return 99;
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    signal(SIGUSR1, on_signal);
    tell(describe());
    for (;;) {
        ssize_t n = recv(control, &order, 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 98;
        if (order == 'l')
            report_socket(&listener);
        else if (order == 'a')
            accept_one(listener);
        else if (order == 'o')
            report_log(path);
        else
            return order - '0';
    }
}

/* ---- the test ---- */

static char folder[64], path[96];
static int server, child = -1;
static pid_t holder;
static const gid_t group_of_holder = 4321; /* a supplementary one, if we may */

static int run_holder(const struct holder_options *options) {
    return geteuid() == 0 && setgroups(1, &group_of_holder) < 0 ? EXIT_FAILURE : holder_run(options);
}

static int set_up(void **state) {
    (void)state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(folder, "/tmp/headgate-holder-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/control", folder);
    strcpy(at.sun_path, path);
    setenv("HEADGATE_TEST_CONTROL", path, 1);
    server = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    mode_t old = umask(0);
    int status = bind(server, (struct sockaddr *)&at, sizeof at) < 0 || listen(server, 4) < 0
                     ? -1
                     : chmod(folder, 0755);
    umask(old);
    struct holder_options options = {.dataplane = "/proc/self/exe", .state_dir = folder};
    if (status == 0 && resolver_name_parse(STR("unix:/nonexistent"), &options.control_plane) == 0 &&
        (holder = fork()) == 0)
        _exit(run_holder(&options));
    return status;
}

static int tear_down(void **state) {
    (void)state;
    char text[96];
    int status;
    if (holder > 0 && kill(holder, SIGKILL) == 0)
        waitpid(holder, &status, 0);
    if (child >= 0)
        close(child); /* it ends when its connection does */
    child = -1;
    close(server);
    unlink(path);
    snprintf(text, sizeof text, "%s/dataplane", folder);
    rmdir(text);
    return rmdir(folder);
}

static struct report next_report(char what) {
    struct report r;
    assert_int_equal(recv(child, &r, sizeof r, 0), sizeof r);
    assert_int_equal(r.what, what);
    return r;
}

static struct report next_child(void) {
    if (child >= 0)
        close(child);
    child = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(child >= 0);
    return next_report('h');
}

static struct report order(char what) {
    assert_int_equal(send(child, &what, 1, MSG_NOSIGNAL), 1);
    return next_report(what);
}

static void order_exit(char code) {
    assert_int_equal(send(child, &code, 1, MSG_NOSIGNAL), 1);
}

static int exit_code_of_holder(void) {
    int status;
    assert_int_equal(waitpid(holder, &status, 0), holder);
    holder = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int connect_to(int port) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void data_plane_has_no_privileges_and_no_descriptors(void **state) {
    (void)state;
    struct report r = next_child();
    assert_int_equal(r.no_new_privs, 1);
    assert_int_equal(r.descriptors, 0);
    if (geteuid() != 0) {
        print_message("not started as root: user and capabilities stay\n");
        return;
    }
    assert_int_not_equal(r.uid, 0);
    assert_int_equal(r.bounding_set, 0);
}

/* What a terminal sends comes through the holder, and once. */
static void data_plane_is_in_a_process_group_of_its_own(void **state) {
    (void)state;
    struct report r = next_child();
    assert_int_equal(r.group, r.pid);
}

static void data_plane_gets_no_file_of_the_holders_groups(void **state) {
    char log_path[104];
    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: needs root to have another group\n");
        skip();
    }
    snprintf(log_path, sizeof log_path, "%s.log", path);
    int fd = open(log_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchown(fd, 0, group_of_holder), 0);
    assert_int_equal(fchmod(fd, 0620), 0);
    close(fd);
    next_child();
    int error = order('o').value;
    unlink(log_path);
    assert_int_equal(error, EACCES);
}

/* A connection made while no data plane runs waits in the backlog and is served by the next one. */
static void killed_data_plane_is_restarted_and_no_connection_is_refused(void **state) {
    (void)state;
    pid_t pid = next_child().pid;
    int port = order('l').value;
    for (int i = 0; i < 6; i++) {
        char byte;
        assert_int_equal(kill(pid, SIGKILL), 0);
        int connection = connect_to(port);
        pid = next_child().pid;
        assert_int_equal(order('l').value, port);
        order('a');
        assert_int_equal(recv(connection, &byte, 1, 0), 1);
        close(connection);
    }
}

static void term_is_passed_on_and_ends_both(void **state) {
    (void)state;
    next_child();
    kill(holder, SIGTERM);
    assert_int_equal(next_report('s').value, SIGTERM);
    order_exit('0');
    assert_int_equal(exit_code_of_holder(), 0);
}

static void crash_while_stopping_is_not_restarted(void **state) {
    (void)state;
    pid_t pid = next_child().pid;
    kill(holder, SIGTERM);
    assert_int_equal(next_report('s').value, SIGTERM);
    kill(pid, SIGKILL);
    assert_int_equal(exit_code_of_holder(), EXIT_FAILURE);
}

static void hup_and_usr1_are_passed_on(void **state) {
    (void)state;
    next_child();
    kill(holder, SIGHUP);
    assert_int_equal(next_report('s').value, SIGHUP);
    kill(holder, SIGUSR1);
    assert_int_equal(next_report('s').value, SIGUSR1);
}

static void ending_on_purpose_ends_the_holder(void **state) {
    (void)state;
    next_child();
    order_exit('0');
    assert_int_equal(exit_code_of_holder(), 0);
}

static void wrong_usage_is_not_tried_again(void **state) {
    (void)state;
    next_child();
    order_exit('2');
    assert_int_equal(exit_code_of_holder(), 2);
}

static void failure_is_tried_again(void **state) {
    (void)state;
    next_child();
    for (int i = 0; i < 3; i++) {
        order_exit('1');
        next_child();
    }
}

static void death_of_the_holder_is_a_term_for_the_data_plane(void **state) {
    (void)state;
    int status;
    next_child();
    kill(holder, SIGKILL);
    waitpid(holder, &status, 0);
    holder = 0;
    assert_int_equal(next_report('s').value, SIGTERM);
}

static void backoff_grows_to_a_cap_and_starts_anew_after_a_stable_run(void **state) {
    (void)state;
    struct restart_backoff backoff = {0};
    assert_int_equal(restart_backoff_next(&backoff, 0), 0);
    assert_int_equal(restart_backoff_next(&backoff, 0), RESTART_DELAY_FIRST_MS);
    assert_int_equal(restart_backoff_next(&backoff, 0), 2 * RESTART_DELAY_FIRST_MS);
    for (int i = 0; i < 1000; i++)
        restart_backoff_next(&backoff, RESTART_STABLE_MS - 1);
    assert_int_equal(restart_backoff_next(&backoff, 0), RESTART_DELAY_MAX_MS);
    assert_int_equal(restart_backoff_next(&backoff, RESTART_STABLE_MS), 0);
}

int main(int argc, char **argv) {
    const char *control_path = getenv("HEADGATE_TEST_CONTROL");
    if (argc > 0 && strcmp(argv[0], "headgate-dataplane") == 0)
        return child_main(control_path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(data_plane_has_no_privileges_and_no_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(data_plane_is_in_a_process_group_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(data_plane_gets_no_file_of_the_holders_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_data_plane_is_restarted_and_no_connection_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(term_is_passed_on_and_ends_both, set_up, tear_down),
        cmocka_unit_test_setup_teardown(crash_while_stopping_is_not_restarted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hup_and_usr1_are_passed_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ending_on_purpose_ends_the_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_usage_is_not_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failure_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(death_of_the_holder_is_a_term_for_the_data_plane, set_up, tear_down),
        cmocka_unit_test(backoff_grows_to_a_cap_and_starts_anew_after_a_stable_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
