/* UDP sockets that the holder keeps: what can be asked for, what they are set to, who shares an address with whom. */
#include "tests/unit/dataplane/holder/asking_udp.h"

#include <netinet/udp.h>
#include <stdio.h>

#include "common/udp_options.h"

static int set_up(void **state) {
    (void)state;
    requests = (struct requests){.state_dir = -1, .sockets.sockets_max = 1000};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    requests_finish(&requests);
    return 0;
}

static int option_of(int fd, int level, int option) {
    int value = -1;
    assert_int_equal(getsockopt(fd, level, option, &value, &(socklen_t){sizeof value}), 0);
    return value;
}

static void sockets_share_a_port_and_have_their_options(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    assert_int_equal(listen_udp(&any, 3, 0), 0);
    assert_int_equal(requests.reply.count, 3);
    struct address bound = bound_address();
    assert_true(address_port(&bound) > 0);
    for (unsigned i = 0; i < 3; i++) {
        struct address own = {.length = sizeof own.u};
        int fd = requests.fds[i];
        assert_int_equal(getsockname(fd, &own.u.any, &own.length), 0);
        assert_true(address_equal(&own, &bound));
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
        assert_int_equal(option_of(fd, IPPROTO_IP, IP_PKTINFO), 1);
        assert_int_equal(option_of(fd, IPPROTO_IP, IP_RECVTOS), 1);
        assert_int_equal(option_of(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE);
        assert_int_equal(option_of(fd, IPPROTO_UDP, UDP_GRO), 1);
    }
}

static void ipv6_sockets_leave_ipv4_to_others(void **state) {
    (void)state;
    struct address any = address_of("[::]:0");
    assert_int_equal(listen_udp(&any, 2, 0), 0);
    assert_int_equal(option_of(requests.fds[1], IPPROTO_IPV6, IPV6_V6ONLY), 1);
    assert_int_equal(option_of(requests.fds[1], IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
    assert_int_equal(option_of(requests.fds[1], IPPROTO_IPV6, IPV6_RECVTCLASS), 1);
    assert_int_equal(option_of(requests.fds[1], IPPROTO_IPV6, IPV6_MTU_DISCOVER), IP_PMTUDISC_PROBE);
    struct address bound = bound_address();
    struct address both = address_of("0.0.0.0:0");
    both.u.v4.sin_port = bound.u.v6.sin6_port;
    assert_int_equal(listen_udp(&both, 2, 0), 0);
}

/* With TCP's address and port, in both orders; not with a stranger's of UDP, whatever options that has. */
static void address_in_use_is_one_of_udp(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    struct holder_request tcp = request_for(HOLDER_LISTEN, &any);
    tcp.count = 2;
    tcp.backlog = 16;
    assert_int_equal(ask(&tcp), 0);
    struct address bound = bound_address();
    assert_int_equal(listen_udp(&bound, 2, 0), 0);
    int stranger = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(stranger, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(stranger, &any.u.any, any.length), 0);
    struct address taken = {.length = sizeof taken.u};
    assert_int_equal(getsockname(stranger, &taken.u.any, &taken.length), 0);
    assert_int_equal(listen_udp(&taken, 2, 0), EADDRINUSE);
    close(stranger);
    assert_int_equal(listen_udp(&taken, 2, 0), 0);
}

static void same_address_again_gets_the_same_sockets(void **state) {
    (void)state;
    int first[2];
    struct address any = address_of("127.0.0.1:0");
    requests_begin(&requests);
    assert_int_equal(listen_udp(&any, 2, 0), 0);
    memcpy(first, requests.fds, sizeof first);
    assert_int_equal(requests.reply.udp.generation, 1);
    requests_begin(&requests); /* a new data plane */
    assert_int_equal(listen_udp(&any, 3, 0), 0);
    assert_int_equal(requests.reply.count, 3);
    assert_memory_equal(requests.fds, first, sizeof first);
    assert_int_equal(requests.reply.udp.generation, 2);
    requests_begin(&requests);
    assert_int_equal(listen_udp(&any, 1, 0), 0);
    assert_int_equal(requests.reply.count, 3);
}

static void generations_go_round(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    for (unsigned i = 1; i <= 258; i++) {
        requests_begin(&requests);
        assert_int_equal(listen_udp(&any, 1, 12), 0);
        assert_int_equal(requests.reply.udp.generation, i % 256);
    }
}

static void sockets_go_when_they_are_not_wanted(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0"), other = address_of("127.0.0.2:0");
    assert_int_equal(listen_udp(&any, 2, 0), 0);
    struct address bound = bound_address();
    assert_int_equal(unlisten_udp(&bound), ENOENT); /* it was asked for with port 0 */
    assert_int_equal(unlisten_udp(&any), 0);
    assert_int_equal(unlisten_udp(&any), ENOENT);
    assert_int_equal(listen_udp(&bound, 1, 0), 0); /* nobody has it any more */
    assert_int_equal(listen_udp(&other, 1, 0), 0);
    requests_begin(&requests);
    assert_int_equal(listen_udp(&bound, 1, 0), 0);
    held_sockets_unlisten_unclaimed(&requests.sockets);
    assert_int_equal(requests.sockets.addresses, 1);
    assert_int_equal(requests.sockets.sockets, 1);
}

/* Whatever the kernel gives is told: what was asked for below its limit, its limit beyond. */
static void buffers_are_reported(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    struct holder_request q = request_for(HOLDER_LISTEN_UDP, &any);
    q.count = 2;
    q.udp.receive_buffer = 65536;
    q.udp.send_buffer = 32768;
    assert_int_equal(ask(&q), 0);
    assert_int_equal(requests.reply.udp.receive_buffer, 65536);
    assert_int_equal(requests.reply.udp.send_buffer, 32768);
    assert_int_equal(udp_set_buffer(requests.fds[1], SO_RCVBUF, 0), 65536);
    q.udp.receive_buffer = HOLDER_UDP_BUFFER_MAX;
    assert_int_equal(ask(&q), 0);
    FILE *file = fopen("/proc/sys/net/core/rmem_max", "re");
    unsigned long most = 0;
    assert_true(file && fscanf(file, "%lu", &most) == 1);
    fclose(file);
    assert_int_equal(requests.reply.udp.receive_buffer, most < HOLDER_UDP_BUFFER_MAX ? most : HOLDER_UDP_BUFFER_MAX);
}

static void keys_stay(void **state) {
    (void)state;
    struct address one = address_of("127.0.0.1:0"), two = address_of("[::1]:0");
    memset(requests.sockets.udp.key, 0x5c, HOLDER_UDP_KEY_SIZE);
    assert_int_equal(listen_udp(&one, 1, 0), 0);
    assert_memory_equal(requests.reply.udp.key, requests.sockets.udp.key, HOLDER_UDP_KEY_SIZE);
    requests_begin(&requests);
    assert_int_equal(listen_udp(&two, 1, 0), 0);
    assert_memory_equal(requests.reply.udp.key, requests.sockets.udp.key, HOLDER_UDP_KEY_SIZE);
}

static void wrong_requests_are_refused(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0"), path = address_of("unix:@headgate-udp");
    assert_int_equal(listen_udp(&any, 0, 0), EINVAL);
    assert_int_equal(listen_udp(&any, HOLDER_SOCKETS_MAX + 1, 0), EINVAL);
    assert_int_equal(listen_udp(&any, 1, HOLDER_ID_LENGTH_MIN - 1), EINVAL);
    assert_int_equal(listen_udp(&any, 1, HOLDER_ID_LENGTH_MAX + 1), EINVAL);
    assert_int_equal(listen_udp(&path, 1, 0), EAFNOSUPPORT);
    struct holder_request q = request_for(HOLDER_LISTEN_UDP, &any);
    q.count = 1;
    q.backlog = 1;
    assert_int_equal(ask(&q), EINVAL);
    q.backlog = 0;
    q.udp.receive_buffer = HOLDER_UDP_BUFFER_MAX + 1u;
    assert_int_equal(ask(&q), EINVAL);
    q.operation = HOLDER_LISTEN; /* nothing of UDP belongs there */
    q.udp.receive_buffer = 1;
    q.backlog = 1;
    assert_int_equal(ask(&q), EINVAL);
    q.udp.receive_buffer = 0;
    assert_int_equal(ask(&q), 0);
}

static void failures_of_memory_leave_nothing(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0");
    hg_alloc_fail_at(0, 0);
    assert_int_equal(listen_udp(&any, 2, 12), ENOMEM);
    assert_int_equal(requests.sockets.sockets, 0);
    assert_int_equal(listen_udp(&any, 2, 12), 0);
    hg_alloc_fail_at(0, 0);
    assert_int_equal(listen_udp(&any, 3, 12), ENOMEM);
    assert_int_equal(requests.sockets.sockets, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sockets_share_a_port_and_have_their_options, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ipv6_sockets_leave_ipv4_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_in_use_is_one_of_udp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(same_address_again_gets_the_same_sockets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(generations_go_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_go_when_they_are_not_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(buffers_are_reported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_requests_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_of_memory_leave_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("holder/held_udp", tests, NULL, NULL);
}
