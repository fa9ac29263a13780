/* Datagrams whose connection ID we issued reach the socket of their worker from any port, with eBPF and with classic BPF;
 * what is not ours goes where the kernel's hash says; restarts and swaps of sockets are followed. Real sockets, the real
 * programs. */
#include "tests/unit/dataplane/holder/asking_udp.h"

#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>

#include "dataplane/holder/privileges.h"
#include "dataplane/quic/ids.h"

enum { SOCKETS = 4, PORTS = 32, TAIL = 30 };

enum header { SHORT, LONG };

static const struct quic_server_id kinds[] = {
    {.id_n = 0},
    {.id_n = 2, .nonce_n = 6, .config = 1, .id = {0xab, 0xcd}},
    {.id_n = 4, .nonce_n = 9, .config = 2, .id = {1, 2, 3, 4}, .has_key = true, .key = {7, 7, 7}},
    {.id_n = 8, .nonce_n = 8, .config = 6, .id = {8, 7, 6, 5, 4, 3, 2, 1}, .has_key = true, .key = {5}},
};

static struct steering *programs;   /* NULL: eBPF cannot be loaded here */
static struct quic_ids ids;

static void begin(enum steering_form most) {
    requests = (struct requests){.state_dir = -1, .sockets.sockets_max = 1000};
    requests.sockets.udp = (struct held_udp){.programs = programs, .most = most};
    for (unsigned i = 0; i < HOLDER_UDP_KEY_SIZE; i++)
        requests.sockets.udp.key[i] = (uint8_t)(17 * i + 3);
    requests_begin(&requests);
}

static int begin_classic(void **state) {
    (void)state;
    begin(STEERING_CLASSIC);
    return 0;
}

static int begin_ebpf(void **state) {
    (void)state;
    begin(STEERING_EBPF);
    return 0;
}

static int end(void **state) {
    (void)state;
    quic_ids_finish(&ids);
    requests_finish(&requests);
    return 0;
}

/* Whether the form that is tested can be had here; says why not. */
static bool is_possible(void) {
    if (requests.sockets.udp.most == STEERING_CLASSIC || programs)
        return true;
    print_message("skipped: the eBPF program cannot be loaded here\n");
    return false;
}

/* Listens, and makes IDs as a data plane would. */
static struct address listen_for(const struct address *asked, unsigned count, const struct quic_server_id *kind) {
    assert_int_equal(listen_udp(asked, count, (unsigned)quic_ids_length(kind)), 0);
    assert_int_equal(requests.reply.udp.steering, count > 1 ? requests.sockets.udp.most : STEERING_HASH);
    quic_ids_finish(&ids);
    assert_int_equal(quic_ids_init(&ids, requests.reply.udp.key, requests.reply.udp.generation, kind), 0);
    return bound_address();
}

/* ---- sending, and where it came to ---- */

static void send_from_a_new_port(const struct address *to, const uint8_t *bytes, size_t n) {
    int fd = socket(to->u.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(sendto(fd, bytes, n, 0, &to->u.any, to->length), n);
    close(fd);
}

static void send_packet(const struct address *to, enum header header, const uint8_t *id, size_t id_n) {
    uint8_t bytes[6 + QUIC_ID_MAX + TAIL] = {header == LONG ? 0xc3 : 0x41, 0, 0, 0, 1, (uint8_t)id_n};
    size_t at = header == LONG ? 6 : 1;
    memcpy(bytes + at, id, id_n);
    send_from_a_new_port(to, bytes, at + id_n + TAIL);
}

/* What waits at the sockets, taken off and counted for each. Returns how many there were. */
static unsigned take(unsigned *counts) {
    uint8_t bytes[128];
    unsigned all = 0;
    for (unsigned i = 0; i < requests.reply.count; i++)
        while (recv(requests.fds[i], bytes, sizeof bytes, MSG_DONTWAIT) >= 0) {
            counts[i]++;
            all++;
        }
    return all;
}

static void wait_for_any(void) {
    struct pollfd any[HOLDER_SOCKETS_MAX];
    for (unsigned i = 0; i < requests.reply.count; i++)
        any[i] = (struct pollfd){.fd = requests.fds[i], .events = POLLIN};
    assert_true(poll(any, requests.reply.count, -1) > 0);
}

/* None is lost: waits until all have come. */
static void take_all(unsigned expected, unsigned counts[HOLDER_SOCKETS_MAX]) {
    unsigned all = 0;
    memset(counts, 0, HOLDER_SOCKETS_MAX * sizeof *counts);
    while ((all += take(counts)) < expected)
        wait_for_any();
    assert_int_equal(all, expected);
}

static unsigned sockets_reached(unsigned expected) {
    unsigned counts[HOLDER_SOCKETS_MAX], reached = 0;
    take_all(expected, counts);
    for (unsigned i = 0; i < requests.reply.count; i++)
        reached += counts[i] > 0;
    return reached;
}

static void check_steered(const struct address *to, unsigned workers) {
    for (unsigned worker = 0; worker < workers; worker++)
        for (enum header header = SHORT; header <= LONG; header++) {
            uint8_t id[QUIC_ID_MAX];
            unsigned counts[HOLDER_SOCKETS_MAX];
            for (unsigned i = 0; i < PORTS; i++) {
                assert_true(quic_ids_make(&ids, (uint8_t)worker, id));
                send_packet(to, header, id, ids.n);
            }
            take_all(PORTS, counts);
            assert_int_equal(counts[worker], PORTS);
        }
}

/* Of 128 ports all go to one of 4 sockets by the hash with a probability of 4^-127. */
static void check_hashed(const struct address *to, const struct quic_ids *by, enum header header, uint8_t worker) {
    uint8_t id[QUIC_ID_MAX];
    for (unsigned i = 0; i < 4 * PORTS; i++) {
        assert_true(quic_ids_make(by, worker, id));
        send_packet(to, header, id, by->n);
    }
    assert_true(sockets_reached(4 * PORTS) > 1);
}

/* ---- the tests, each with both forms ---- */

static void our_ids_reach_their_worker(void **state) {
    (void)state;
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"};
    for (size_t a = 0; is_possible() && a < sizeof addresses / sizeof *addresses; a++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            struct address asked = address_of(addresses[a]), to = listen_for(&asked, SOCKETS, &kinds[k]);
            if (a == 2)
                to.u.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            else if (a == 3)
                to.u.v6.sin6_addr = in6addr_loopback;
            check_steered(&to, SOCKETS);
        }
}

static void other_ids_go_by_the_hash(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address asked = address_of("127.0.0.1:0"), to = listen_for(&asked, SOCKETS, &kinds[0]);
    for (enum header header = SHORT; header <= LONG; header++) {
        struct quic_ids other = ids;
        check_hashed(&to, &ids, header, SOCKETS); /* a worker that there is not */
        check_hashed(&to, &ids, header, 255);
        other.generation++;
        check_hashed(&to, &other, header, 1);
        other = ids;
        other.key[1] ^= 0x80;
        check_hashed(&to, &other, header, 1);
    }
    struct quic_ids longer = {0}; /* a long header says the length, and this is another */
    assert_int_equal(quic_ids_init(&longer, requests.reply.udp.key, ids.generation, &kinds[3]), 0);
    check_hashed(&to, &longer, LONG, 1);
    quic_ids_finish(&longer);
}

/* Neither is what says another length, though our ID stands there, nor what is cut off within it. */
static void malformed_packets_go_by_the_hash(void **state) {
    (void)state;
    if (!is_possible())
        return;
    static const size_t sizes[] = {0, 1, 5, 6, 6 + 11, 100};
    struct address asked = address_of("127.0.0.1:0"), to = listen_for(&asked, SOCKETS, &kinds[0]);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned first = 0x41; first <= 0xc1; first += 0x80) {
            uint8_t bytes[100] = {(uint8_t)first, 0, 0, 0, 1, QUIC_ID_PLAIN};
            bytes[5] += sizes[s] == 100; /* whole, but for the length that it says; behind a short header it is no ID */
            for (unsigned i = 0; i < 4 * PORTS; i++) {
                assert_true(quic_ids_make(&ids, 1, bytes + 6));
                send_from_a_new_port(&to, bytes, sizes[s]);
            }
            assert_true(sockets_reached(4 * PORTS) > 1);
        }
}

/* However short a datagram is, and wherever it ends, it arrives somewhere. */
static void nothing_is_lost(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address asked = address_of("127.0.0.1:0"), to = listen_for(&asked, SOCKETS, &kinds[0]);
    uint8_t bytes[40];
    for (unsigned first = 0; first < 256; first += 0x40)
        for (size_t n = 0; n < sizeof bytes; n++) {
            memset(bytes, (int)n, sizeof bytes);
            bytes[0] = (uint8_t)first;
            bytes[5] = (uint8_t)(n % 2 ? 12 : 20);
            send_from_a_new_port(&to, bytes, n);
        }
    assert_true(sockets_reached(4 * sizeof bytes) > 1);
}

/* The sockets are the same, the generation is another: old IDs are nobody's. */
static void restarts_are_followed(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address asked = address_of("127.0.0.1:0"), to = listen_for(&asked, SOCKETS, &kinds[0]);
    struct quic_ids before = ids;
    check_steered(&to, SOCKETS);
    requests_begin(&requests);
    to = listen_for(&asked, SOCKETS, &kinds[0]);
    assert_int_equal(ids.generation, before.generation + 1);
    check_steered(&to, SOCKETS);
    check_hashed(&to, &before, SHORT, 1);
}

/* Other sockets in the same places, while descriptors of the old ones are still open in a data plane. */
static void swapped_sockets_are_followed(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address asked = address_of("127.0.0.1:0"), to = listen_for(&asked, SOCKETS, &kinds[0]);
    check_steered(&to, SOCKETS);
    assert_int_equal(unlisten_udp(&asked), 0);
    to = listen_for(&to, SOCKETS, &kinds[0]); /* the same port */
    check_steered(&to, SOCKETS);
    int copy = dup(requests.fds[1]);
    assert_int_equal(unlisten_udp(&to), 0);
    to = listen_for(&asked, SOCKETS, &kinds[0]); /* another port, the same part of the maps */
    check_steered(&to, SOCKETS);
    close(copy);
    check_steered(&to, SOCKETS);
}

static void added_sockets_are_reached(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address asked = address_of("[::1]:0"), to = listen_for(&asked, 1, &kinds[0]);
    check_steered(&to, 1);
    for (unsigned count = 2; count <= SOCKETS; count++) {
        to = listen_for(&asked, count, &kinds[0]);
        check_steered(&to, count);
    }
    struct quic_ids before = ids;
    to = listen_for(&asked, SOCKETS, &kinds[2]); /* longer IDs from now on */
    check_steered(&to, SOCKETS);
    check_hashed(&to, &before, LONG, 1);
}

/* Groups do not see each other's sockets. */
static void addresses_are_apart(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address one = address_of("127.0.0.1:0"), two = address_of("127.0.0.2:0"), three = address_of("[::1]:0");
    struct address to_one = listen_for(&one, SOCKETS, &kinds[0]), to_two = listen_for(&two, 2, &kinds[0]);
    struct address to_three = listen_for(&three, 3, &kinds[0]);
    check_steered(&to_three, 3);
    assert_int_equal(unlisten_udp(&three), 0);
    to_two = listen_for(&two, 2, &kinds[0]);
    check_steered(&to_two, 2);
    to_one = listen_for(&one, SOCKETS, &kinds[0]);
    check_steered(&to_one, SOCKETS);
}

static void steering_can_be_given_up(void **state) {
    (void)state;
    if (!is_possible())
        return;
    struct address asked = address_of("127.0.0.1:0"), to = listen_for(&asked, SOCKETS, &kinds[0]);
    check_steered(&to, SOCKETS);
    assert_int_equal(listen_udp(&asked, SOCKETS, 0), 0);
    assert_int_equal(requests.reply.udp.steering, HOLDER_STEERED_NOT);
    check_hashed(&to, &ids, SHORT, 1);
    to = listen_for(&asked, SOCKETS, &kinds[0]);
    check_steered(&to, SOCKETS);
}

/* ---- of one form ---- */

static void without_a_program_the_hash_chooses(void **state) {
    (void)state;
    begin(STEERING_HASH);
    struct address asked = address_of("127.0.0.1:0");
    struct address to = listen_for(&asked, SOCKETS, &kinds[0]);
    assert_int_equal(requests.reply.udp.steering, HOLDER_STEERED_NOT);
    check_hashed(&to, &ids, SHORT, 1);
    check_hashed(&to, &ids, LONG, 1);
}

/* More groups than the maps have parts: the others have classic programs. */
static void groups_beyond_the_maps_are_classic(void **state) {
    (void)state;
    begin(STEERING_EBPF);
    requests.sockets.sockets_max = 10000;
    for (unsigned i = 0; is_possible() && i <= STEERING_GROUPS_MAX; i++) {
        char text[32];
        snprintf(text, sizeof text, "127.0.%u.%u:0", 1 + i / 200, 1 + i % 200);
        struct address asked = address_of(text);
        assert_int_equal(listen_udp(&asked, 2, 12), 0);
        assert_int_equal(requests.reply.udp.steering,
                         i < STEERING_GROUPS_MAX ? HOLDER_STEERED_EBPF : HOLDER_STEERED_CLASSIC);
    }
}

static unsigned long long capabilities(const char *name) {
    char line[128];
    unsigned long long value = ~0ull;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, 16);
    if (file)
        fclose(file);
    return value;
}

static void steer_without_privileges(void) {
    const unsigned long long given_up =
        1ull << CAP_NET_ADMIN | 1ull << CAP_SYS_ADMIN | 1ull << CAP_PERFMON | 1ull << CAP_BPF;
    struct address asked = address_of("127.0.0.1:0");
    begin(STEERING_EBPF);
    assert_int_equal(privileges_reduce(), 0);
    assert_true((capabilities("CapEff:\t") & given_up) == 0);
    assert_true((capabilities("CapPrm:\t") & given_up) == 0);
    if (geteuid() == 0)
        assert_true((capabilities("CapBnd:\t") & given_up) == 0);
    struct address to = listen_for(&asked, SOCKETS, &kinds[0]);
    check_steered(&to, SOCKETS);
    requests_begin(&requests);
    to = listen_for(&asked, SOCKETS, &kinds[0]);
    check_steered(&to, SOCKETS);
}

/* What was loaded with a privilege is used without. In a process of its own, which does not get them back. */
static void privileges_are_for_loading_alone(void **state) {
    (void)state;
    int status;
    begin(STEERING_EBPF);
    if (!is_possible())
        return;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        steer_without_privileges();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int load(void **state) {
    (void)state;
    int error = 0;
    programs = steering_load(&error);
    if (!programs)
        print_message("the eBPF program cannot be loaded here: %s\n", strerror(error));
    return 0;
}

static int unload(void **state) {
    (void)state;
    steering_unload(programs);
    return 0;
}

#define WITH_BOTH(test)                                                         \
    cmocka_unit_test_setup_teardown(test, begin_classic, end), \
    {#test " (eBPF)", test, begin_ebpf, end, NULL}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_BOTH(our_ids_reach_their_worker),
        WITH_BOTH(other_ids_go_by_the_hash),
        WITH_BOTH(malformed_packets_go_by_the_hash),
        WITH_BOTH(nothing_is_lost),
        WITH_BOTH(restarts_are_followed),
        WITH_BOTH(swapped_sockets_are_followed),
        WITH_BOTH(added_sockets_are_reached),
        WITH_BOTH(addresses_are_apart),
        WITH_BOTH(steering_can_be_given_up),
        cmocka_unit_test_teardown(without_a_program_the_hash_chooses, end),
        cmocka_unit_test_teardown(groups_beyond_the_maps_are_classic, end),
        cmocka_unit_test_teardown(privileges_are_for_loading_alone, end),
    };
    return cmocka_run_group_tests_name("holder/steering", tests, load, unload);
}
