/* The holder's answers, without a socket pair: what a data plane can get, and what it cannot. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/holder/requests.h"

static struct requests requests;
static char folder[64];

static int set_up(void **state) {
    (void)state;
    requests = (struct requests){.state_dir = -1, .sockets.sockets_max = 1000};
    strcpy(folder, "/tmp/headgate-requests-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    requests_finish(&requests);
    return rmdir(folder);
}

static struct address address_of(const char *text) {
    struct address a;
    assert_int_equal(address_parse(str_of(text), &a), 0);
    return a;
}

static struct holder_request request_for(enum holder_operation operation, const struct address *a) {
    struct holder_request q = {.version = HOLDER_PROTOCOL_VERSION, .operation = (uint8_t)operation, .id = 7};
    if (a) {
        q.address_length = a->length;
        memcpy(&q.u.address, &a->u, a->length);
    }
    return q;
}

static int ask(const struct holder_request *q) {
    requests_answer(&requests, q, sizeof *q);
    requests.has_reply = false;
    assert_int_equal(requests.reply.id, 7);
    return requests.reply.error;
}

static int listen_on(const struct address *a, unsigned count) {
    struct holder_request q = request_for(HOLDER_LISTEN, a);
    q.count = (uint16_t)count;
    q.backlog = 16;
    return ask(&q);
}

static int unlisten(const struct address *a) {
    struct holder_request q = request_for(HOLDER_UNLISTEN, a);
    return ask(&q);
}

static struct address bound_address(void) {
    struct address a = {.length = requests.reply.address_length};
    memcpy(&a.u, &requests.reply.address, a.length);
    return a;
}

static int connect_to(const struct address *a) {
    int fd = socket(a->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int error = connect(fd, &a->u.any, a->length) < 0 ? errno : 0;
    close(fd);
    return error;
}

static void port_picked_by_the_system_is_shared_by_all_sockets(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    assert_int_equal(listen_on(&any, 4), 0);
    assert_int_equal(requests.reply.count, 4);
    struct address bound = bound_address();
    assert_true(address_port(&bound) > 0);
    for (int i = 0; i < 4; i++) {
        struct address of_socket = {.length = sizeof of_socket.u};
        assert_int_equal(getsockname(requests.fds[i], &of_socket.u.any, &of_socket.length), 0);
        assert_true(address_equal(&of_socket, &bound));
    }
}

/* Every socket of the group gets some of the connections: they are one SO_REUSEPORT group. */
static void connections_spread_over_the_group(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    assert_int_equal(listen_on(&any, 2), 0);
    struct address bound = bound_address();
    bool has_accepted[2] = {false, false};
    for (int tries = 0; tries < 1000 && !(has_accepted[0] && has_accepted[1]); tries++) {
        assert_int_equal(connect_to(&bound), 0);
        for (int i = 0; i < 2; i++) {
            int fd = accept4(requests.fds[i], NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                has_accepted[i] = close(fd) == 0;
        }
    }
    assert_true(has_accepted[0] && has_accepted[1]);
}

static void same_address_again_gets_the_same_sockets(void **state) {
    (void)state;
    int first[2];
    struct address any = address_of("127.0.0.1:0");
    assert_int_equal(listen_on(&any, 2), 0);
    memcpy(first, requests.fds, sizeof first);
    struct address bound = bound_address();
    requests_reset(&requests); /* a new data plane */
    assert_int_equal(listen_on(&any, 2), 0);
    assert_memory_equal(first, requests.fds, sizeof first);
    struct address again = bound_address();
    assert_true(address_equal(&bound, &again));
}

static void more_workers_add_sockets_and_fewer_close_none(void **state) {
    (void)state;
    struct address any = address_of("[::1]:0");
    assert_int_equal(listen_on(&any, 2), 0);
    assert_int_equal(listen_on(&any, 5), 0);
    assert_int_equal(requests.reply.count, 5);
    assert_int_equal(listen_on(&any, 1), 0);
    assert_int_equal(requests.reply.count, 5);
    assert_int_equal(requests.sockets.sockets, 5);
}

static void need_root(void) {
    if (geteuid() == 0)
        return;
    print_message("skipped: needs root to act for another user\n");
    skip();
}

/* The kernel lets only sockets of one user share a port. */
static void more_workers_add_sockets_when_the_data_plane_is_another_user(void **state) {
    (void)state;
    need_root();
    assert_int_equal(identity_find("nobody", &requests.sockets.files), 0);
    struct address any = address_of("127.0.0.1:0");
    assert_int_equal(listen_on(&any, 2), 0);
    assert_int_equal(listen_on(&any, 5), 0);
    assert_int_equal(requests.reply.count, 5);
}

static void address_in_use_is_an_error_even_with_reuseport(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)), 0);
    assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(other, &any.u.any, any.length), 0);
    assert_int_equal(listen(other, 1), 0);
    struct address taken = {.length = sizeof taken.u};
    assert_int_equal(getsockname(other, &taken.u.any, &taken.length), 0);
    assert_int_equal(listen_on(&taken, 2), EADDRINUSE);
    assert_int_equal(requests.reply.count, 0);
    assert_int_equal(requests.sockets.sockets, 0);
    close(other);
    assert_int_equal(listen_on(&taken, 2), 0);
}

static void unlisten_closes(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    assert_int_equal(unlisten(&any), ENOENT);
    assert_int_equal(listen_on(&any, 3), 0);
    struct address bound = bound_address();
    assert_int_equal(connect_to(&bound), 0);
    assert_int_equal(unlisten(&any), 0);
    assert_int_equal(connect_to(&bound), ECONNREFUSED);
    assert_int_equal(requests.sockets.addresses, 0);
}

static void what_the_next_data_plane_does_not_ask_for_is_dropped(void **state) {
    (void)state;
    struct address kept = address_of("127.0.0.1:0"), left = address_of("127.0.0.2:0");
    assert_int_equal(listen_on(&kept, 1), 0);
    assert_int_equal(listen_on(&left, 1), 0);
    requests_reset(&requests);
    assert_int_equal(listen_on(&kept, 1), 0);
    struct holder_request q = request_for(HOLDER_UNLISTEN_OTHERS, NULL);
    assert_int_equal(ask(&q), 0);
    assert_int_equal(requests.sockets.addresses, 1);
    assert_int_equal(unlisten(&left), ENOENT);
}

static void stale_socket_file_is_replaced_and_a_live_one_is_not(void **state) {
    (void)state;
    char text[96];
    snprintf(text, sizeof text, "unix:%s/s", folder);
    struct address path = address_of(text);
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, &path.u.any, path.length), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(listen_on(&path, 4), EADDRINUSE);
    close(other); /* leaves its file */
    assert_int_equal(listen_on(&path, 4), 0);
    assert_int_equal(requests.reply.count, 1);
    assert_int_equal(connect_to(&path), 0);
    assert_int_equal(unlisten(&path), 0);
    assert_int_equal(access(path.u.un.sun_path, F_OK), -1);
}

static void other_file_at_the_path_is_left_alone(void **state) {
    (void)state;
    char text[96];
    snprintf(text, sizeof text, "unix:%s/s", folder);
    struct address path = address_of(text);
    int fd = open(path.u.un.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(listen_on(&path, 1), EADDRINUSE);
    assert_int_equal(unlink(path.u.un.sun_path), 0);
}

static void abstract_names_work(void **state) {
    (void)state;
    char text[96];
    snprintf(text, sizeof text, "unix:@%s", folder);
    struct address name = address_of(text);
    assert_int_equal(listen_on(&name, 1), 0);
    assert_int_equal(connect_to(&name), 0);
}

static void every_field_is_checked(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0"), un = address_of("unix:relative");
    struct holder_request good = request_for(HOLDER_LISTEN, &any), q;
    good.count = 1;
    good.backlog = 1;
    q = good, q.version++;
    requests_answer(&requests, &q, sizeof q);
    assert_int_equal(requests.reply.error, EPROTO);
    requests_answer(&requests, &good, sizeof good - 1);
    assert_int_equal(requests.reply.error, EPROTO);
    q = good, q.operation = 99, q.count = 0, q.backlog = 0, q.address_length = 0;
    assert_int_equal(ask(&q), EPROTO);
    q = good, q.count = 0;
    assert_int_equal(ask(&q), EINVAL);
    q = good, q.count = HOLDER_SOCKETS_MAX + 1;
    assert_int_equal(ask(&q), EINVAL);
    q = good, q.backlog = HOLDER_BACKLOG_MAX + 1;
    assert_int_equal(ask(&q), EINVAL);
    q = good, q.address_length = UINT32_MAX;
    assert_int_equal(ask(&q), EINVAL);
    q = good, q.u.address.ss_family = AF_NETLINK;
    assert_int_equal(ask(&q), EAFNOSUPPORT);
    assert_int_equal(listen_on(&un, 1), EINVAL); /* not absolute */
    q = request_for(HOLDER_STATE_DIR, &any);
    assert_int_equal(ask(&q), EINVAL);
    assert_int_equal(requests.sockets.sockets, 0);
}

static void unix_address_without_its_nul_is_refused(void **state) {
    (void)state;
    struct address un = address_of("unix:/tmp/x");
    un.length--;
    assert_int_equal(listen_on(&un, 1), EINVAL);
    un.length = sizeof un.u.un;
    memset(un.u.un.sun_path, 'x', sizeof un.u.un.sun_path);
    un.u.un.sun_path[0] = '/';
    assert_int_equal(listen_on(&un, 1), EINVAL);
}

static void sockets_are_limited(void **state) {
    (void)state;
    struct address a = address_of("127.0.0.1:0"), b = address_of("127.0.0.2:0");
    requests.sockets.sockets_max = 5;
    assert_int_equal(listen_on(&a, 4), 0);
    assert_int_equal(listen_on(&b, 2), EMFILE);
    assert_int_equal(listen_on(&a, 6), EMFILE);
    assert_int_equal(listen_on(&b, 1), 0);
}

static void log_files_are_appended_to(void **state) {
    (void)state;
    struct holder_request q = request_for(HOLDER_OPEN_LOG, NULL);
    snprintf(q.u.path, sizeof q.u.path, "%s/access.log", folder);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&q), 0);
        assert_int_equal(requests.reply.count, 1);
        assert_int_equal(write(requests.fds[0], "line\n", 5), 5);
        close(requests.fds[0]);
    }
    struct stat st;
    assert_int_equal(stat(q.u.path, &st), 0);
    assert_int_equal(st.st_size, 10);
    assert_int_equal(unlink(q.u.path), 0);
}

static void only_plain_files_are_logs(void **state) {
    (void)state;
    struct holder_request q = request_for(HOLDER_OPEN_LOG, NULL);
    strcpy(q.u.path, "relative.log");
    assert_int_equal(ask(&q), EINVAL);
    strcpy(q.u.path, "/dev/zero");
    assert_int_equal(ask(&q), EINVAL);
    memset(q.u.path, '/', sizeof q.u.path);
    assert_int_equal(ask(&q), EINVAL);
    snprintf(q.u.path, sizeof q.u.path, "%s/pipe", folder);
    assert_int_equal(mkfifo(q.u.path, 0600), 0);
    assert_int_equal(ask(&q), ENXIO); /* and does not wait for a reader */
    assert_int_equal(unlink(q.u.path), 0);
    strcpy(q.u.path, "/dev/null");
    assert_int_equal(ask(&q), 0);
    close(requests.fds[0]);
}

static void files_are_opened_with_the_rights_of_the_data_planes_user(void **state) {
    (void)state;
    need_root();
    char text[96];
    assert_int_equal(identity_find("nobody", &requests.sockets.files), 0);
    struct holder_request q = request_for(HOLDER_OPEN_LOG, NULL);
    snprintf(q.u.path, sizeof q.u.path, "%s/access.log", folder); /* the folder is root's, mode 0700 */
    assert_int_equal(ask(&q), EACCES);
    snprintf(text, sizeof text, "unix:%s/s", folder);
    struct address path = address_of(text), low = address_of("127.0.0.1:1");
    assert_int_equal(listen_on(&path, 1), EACCES);
    assert_int_equal(listen_on(&low, 1), 0); /* ports are what the holder has its rights for */
}

static void connects_to_the_control_plane(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    struct holder_request q = request_for(HOLDER_CONNECT_CONTROL_PLANE, NULL);
    requests.control_plane.name.address = address_of("unix:/nonexistent/dataplane.sock");
    assert_int_equal(ask(&q), ENOENT);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, &any.u.any, any.length), 0);
    assert_int_equal(listen(server, 1), 0);
    struct address *to = &requests.control_plane.name.address;
    to->length = sizeof to->u;
    assert_int_equal(getsockname(server, &to->u.any, &to->length), 0);
    assert_int_equal(ask(&q), 0);
    int accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    close(accepted);
    close(server);
    close(requests.fds[0]);
}

static void lack_of_memory_changes_nothing(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    hg_alloc_fail_at(0, 0);
    assert_int_equal(listen_on(&any, 2), ENOMEM);
    assert_int_equal(requests.sockets.sockets, 0);
    assert_int_equal(listen_on(&any, 2), 0);
    hg_alloc_fail_at(0, 0);
    assert_int_equal(listen_on(&any, 3), ENOMEM);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(requests.sockets.sockets, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(port_picked_by_the_system_is_shared_by_all_sockets, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(connections_spread_over_the_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(same_address_again_gets_the_same_sockets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_workers_add_sockets_and_fewer_close_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_workers_add_sockets_when_the_data_plane_is_another_user, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(address_in_use_is_an_error_even_with_reuseport, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unlisten_closes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_next_data_plane_does_not_ask_for_is_dropped, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(stale_socket_file_is_replaced_and_a_live_one_is_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(other_file_at_the_path_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(abstract_names_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_field_is_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unix_address_without_its_nul_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(log_files_are_appended_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_plain_files_are_logs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_are_opened_with_the_rights_of_the_data_planes_user, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(connects_to_the_control_plane, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_memory_changes_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
