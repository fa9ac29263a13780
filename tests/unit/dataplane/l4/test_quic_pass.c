/* QUIC that is passed through, on real sockets: clients and origins say packets that are made by hand. */
#include "tests/unit/dataplane/net/loop.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
#include <poll.h>

#include "dataplane/back/cluster.h"
#include "dataplane/core/stats.h"
#include "dataplane/core/view.h"
#include "dataplane/http/definitions.h"
#include "dataplane/l4/definition.h"
#include "dataplane/l4/id_directory.h"
#include "dataplane/l4/packet.h"
#include "dataplane/l4/quic_pass.h"
#include "dataplane/net/datagrams.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/listener.h"
#include "dataplane/tls/session.h"
#include "tests/unit/dataplane/back/make_members.h"
#include "tests/unit/dataplane/l4/vectors.h"

enum { SECOND = 1000000, ORIGINS = 3, CLUSTERS = 2, FLOWS = 4, DATAGRAM = 1200, SOME_VERSION = 0x1a2a3a4a };

static struct ip_caps *caps;
static struct id_directory *directory;
static struct listener_runtime *list, *listener;
static struct snapshot_view view;
static struct socket_use use;
static struct held_socket held;
static int origins[ORIGINS], clients[64];
static unsigned client_count;
static struct address listening;
static struct cluster_table table;
static struct cluster_definition clusters[CLUSTERS];
static const struct cluster_definition *cluster_list[CLUSTERS] = {&clusters[0], &clusters[1]};
static struct pass_definition pass;
static const struct listener_definition definition = {.pass = &pass};
static const struct listener_opening opening = {.pass = true};
static const struct server_codecs codecs = {.pass = &quic_pass_ops};
static uint64_t last_serial;

/* ---- sockets */

static int udp(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static struct address address_of(int fd) {
    struct address a = {.length = sizeof a.u};
    assert_int_equal(getsockname(fd, &a.u.any, &a.length), 0);
    return a;
}

static int client(void) {
    int fd = udp();
    assert_int_equal(connect(fd, &listening.u.any, listening.length), 0);
    assert_true(client_count < sizeof clients / sizeof *clients);
    return clients[client_count++] = fd;
}

static bool is_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* Which origin has something; what it is, and who sent it. */
static int wait_origin(uint8_t *bytes, size_t *n, struct address *from) {
    for (;;) {
        turn();
        worker_end_turn(&worker);
        for (int i = 0; i < ORIGINS; i++) {
            if (origins[i] < 0 || !is_readable(origins[i]))
                continue;
            from->length = sizeof from->u;
            ssize_t got = recvfrom(origins[i], bytes, 65536, 0, &from->u.any, &from->length);
            if (got < 0)
                continue;
            *n = (size_t)got;
            return i;
        }
    }
}

static void expect_client(int fd, const uint8_t *bytes, size_t n) {
    uint8_t got[65536];
    TURN_UNTIL(is_readable(fd));
    assert_int_equal(recv(fd, got, sizeof got, 0), n);
    assert_memory_equal(got, bytes, n);
}

/* ---- packets */

/* A long header of that version with these IDs, up to the size. */
static size_t long_packet(uint8_t *bytes, uint32_t version, const char *dcid, const char *scid, size_t size) {
    size_t d = strlen(dcid), s = strlen(scid);
    memset(bytes, 'x', size);
    bytes[0] = 0xc0;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(version >> (24 - 8 * i));
    bytes[5] = (uint8_t)d;
    memcpy(bytes + 6, dcid, d);
    bytes[6 + d] = (uint8_t)s;
    memcpy(bytes + 7 + d, scid, s);
    if (version == SOME_VERSION)
        return size;
    size_t length = size - (7 + d + s) - 3;
    bytes[7 + d + s] = 0; /* no token */
    bytes[8 + d + s] = (uint8_t)(0x40 | length >> 8);
    bytes[9 + d + s] = (uint8_t)length;
    return size;
}

static void say(int fd, const uint8_t *bytes, size_t n) {
    assert_int_equal(send(fd, bytes, n, 0), n);
}

static void say_long(int fd, uint32_t version, const char *dcid, const char *scid) {
    uint8_t bytes[DATAGRAM];
    say(fd, bytes, long_packet(bytes, version, dcid, scid, sizeof bytes));
}

static void say_short(int fd, const char *dcid) {
    uint8_t bytes[64] = {0x40};
    memcpy(bytes + 1, dcid, strlen(dcid));
    say(fd, bytes, sizeof bytes);
}

static void say_hex(int fd, const char *hex) {
    uint8_t bytes[DATAGRAM];
    assert_int_equal(hex_decode(str_of(hex), bytes, strlen(hex) / 2), 0);
    say(fd, bytes, strlen(hex) / 2);
}

/* A flow whose origin has answered with this ID. Returns which origin. */
static int answered(int fd, const char *origin_id, struct address *ret_from) {
    uint8_t bytes[65536];
    size_t n;
    say_long(fd, SOME_VERSION, "first-id", "own");
    int origin = wait_origin(bytes, &n, ret_from);
    assert_int_equal(n, DATAGRAM);
    n = long_packet(bytes, SOME_VERSION, "own", origin_id, 100);
    assert_int_equal(sendto(origins[origin], bytes, n, 0, &ret_from->u.any, ret_from->length), n);
    expect_client(fd, bytes, n);
    return origin;
}

static int proven(int fd, const char *origin_id, struct address *ret_from) {
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int origin = answered(fd, origin_id, ret_from);
    say_short(fd, origin_id);
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_true(address_equal(&from, ret_from));
    return origin;
}

#define COUNT(name) stats_read(&worker.stats->quic_pass_##name)

/* ---- the listener */

static void define_cluster(int which, int first, int count) {
    static const struct balance_rules rules = {.kind = BALANCE_MAGLEV, .table_size = 1009, .panic_threshold = 50,
                                               .overprovisioning = 140};
    struct endpoint_definition endpoints[ORIGINS] = {0};
    static char texts[ORIGINS][ADDRESS_TEXT_MAX];
    struct cluster_definition *d = &clusters[which];
    for (int i = 0; i < count; i++) {
        struct endpoint_definition *e = &endpoints[i];
        *e = (struct endpoint_definition){.address = address_of(origins[first + i]), .weight = 1, .is_usable = true};
        e->text = (struct str){texts[first + i], address_format(&e->address, texts[first + i])};
    }
    if (!d->shared)
        d->shared = cluster_shared_create(STR("cluster"));
    d->slot = (uint32_t)which;
    d->serial = ++last_serial;
    d->members = make_members(&rules, endpoints, (uint32_t)count, d->members);
}

static void ignore_view(struct worker *w, struct snapshot_view *v) {
    (void)w, (void)v;
}

static void ignore_release(struct socket_use *u) {
    (void)u;
}

static int set_up(void **state) {
    if (worker_set_up(state) < 0 || !(caps = ip_caps_create()) || !(directory = id_directory_create()))
        return -1;
    quic_pass_set_directory(directory);
    table = (struct cluster_table){0};
    worker.clusters = &table;
    view = (struct snapshot_view){.references = 1, .quiet = ignore_view};
    worker.view = &view;
    for (int i = 0; i < ORIGINS; i++)
        origins[i] = udp();
    define_cluster(0, 0, 2);
    define_cluster(1, 2, 1);
    pass = (struct pass_definition){.fallback = &clusters[0], .clusters = cluster_list, .cluster_count = CLUSTERS,
                                    .idle_timeout = 100 * SECOND, .handshake_timeout = 10 * SECOND, .max_flows = FLOWS,
                                    .max_hellos = 2};
    use = (struct socket_use){.on_release = ignore_release};
    held = (struct held_socket){udp(), &use};
    listening = address_of(held.fd);
    listener = listener_create(&worker, &list, &listening, NULL, 0, &codecs, caps);
    assert_non_null(listener);
    listener_set_definition(listener, &definition, &opening, 10, 100);
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    return 0;
}

static int tear_down(void **state) {
    hg_alloc_fail_at(-1, 0);
    if (list) {
        listener_cut_all(list);
        listener_destroy(list);
    }
    worker_end_turn(&worker);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(COUNT(hellos), 0);
    assert_int_equal(stats_read(&worker.stats->connections), 0);
    clusters_finish(&worker);
    worker_end_turn(&worker);
    map_finish(&pass.by_name);
    map_finish(&pass.by_server);
    members_finish();
    for (int i = 0; i < CLUSTERS; i++) {
        cluster_shared_unref(clusters[i].shared);
        clusters[i] = (struct cluster_definition){0};
    }
    for (int i = 0; i < ORIGINS; i++)
        if (origins[i] >= 0)
            close(origins[i]);
    while (client_count)
        close(clients[--client_count]);
    close(held.fd);
    id_directory_destroy(directory);
    ip_caps_destroy(caps);
    tls_io_free(&worker);
    tls_libraries_free();
    return worker_tear_down(state);
}

/* ---- */

static void there_and_back(void **state) {
    (void)state;
    struct address from;
    int fd = client();
    proven(fd, "origin-id", &from);
    assert_int_equal(COUNT(flows), 1);
    assert_int_equal(COUNT(flows_total), 1);
    assert_int_equal(COUNT(proven_total), 1);
    assert_int_equal(listener->open, 1);
    assert_int_equal(COUNT(received_bytes_total), DATAGRAM + 64);
    assert_int_equal(COUNT(sent_bytes_total), 100);
}

/* An answer alone proves nothing: it may have gone to somebody else. */
static void what_proves_a_client(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client();
    int origin = answered(fd, "abc", &from);
    say_short(fd, "abc"); /* three octets can be guessed */
    wait_origin(bytes, &n, &from);
    assert_int_equal(COUNT(proven_total), 0);
    memset(bytes, 0x40, 1400);
    for (int i = 0; i < 3; i++) { /* more than three times of what it has sent goes only to who is validated */
        assert_int_equal(sendto(origins[origin], bytes, 1400, 0, &from.u.any, from.length), 1400);
        expect_client(fd, bytes, 1400);
    }
    assert_int_equal(COUNT(proven_total), 1);
}

static void forged_clients_give_way(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from, first;
    int real = client();
    int origin = proven(real, "origin-id", &first);
    for (int i = 0; i < 5 * FLOWS; i++) {
        say_long(client(), SOME_VERSION, "first-id", "own");
        wait_origin(bytes, &n, &from);
        assert_true(COUNT(flows) <= FLOWS);
    }
    assert_int_equal(COUNT(evicted_total), 5 * FLOWS - (FLOWS - 1));
    say_short(real, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_true(address_equal(&from, &first));
}

static void all_are_proven(void **state) {
    (void)state;
    struct address from;
    for (int i = 0; i < FLOWS; i++) {
        char id[] = "origin-id-0";
        id[10] = (char)('0' + i);
        proven(client(), id, &from);
    }
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_full_total) == 1);
    assert_int_equal(COUNT(flows), FLOWS);
}

/* Too many connections of one address: the flow ends once it would count. */
static void bounds_of_connections(void **state) {
    (void)state;
    struct address from;
    listener_set_definition(listener, &definition, &opening, 1, 100);
    proven(client(), "origin-id-0", &from);
    int second = client();
    answered(second, "origin-id-1", &from);
    say_short(second, "origin-id-1");
    TURN_UNTIL(stats_read(&worker.stats->connections_refused_per_ip_total) == 1);
    assert_int_equal(COUNT(flows), 1);
}

static void a_known_id_from_elsewhere(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from, before;
    int origin = proven(client(), "origin-id", &before);
    for (int i = 0; i < 10; i++) { /* by their addresses half of them would go to the other one */
        say_short(client(), "origin-id");
        assert_int_equal(wait_origin(bytes, &n, &from), origin);
        assert_false(address_equal(&from, &before)); /* the origin sees that the client has moved, and makes sure of it */
    }
    assert_int_equal(COUNT(moved_total), 10);
    assert_int_equal(COUNT(proven_total), 1);
}

static void ids_of_forged_clients_are_not_known(void **state) {
    (void)state;
    struct address from;
    answered(client(), "origin-id", &from);
    say_short(client(), "origin-id");
    TURN_UNTIL(COUNT(flows) == 2);
    assert_int_equal(COUNT(moved_total), 0);
}

static void names(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    pass.max_flows = 2 * FLOWS;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_hex(client(), initial_v1);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    assert_int_equal(n, DATAGRAM);
    say_hex(client(), initial_v2);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    map_remove(&pass.by_name, STR("example.com"));
    assert_int_equal(map_set(&pass.by_name, STR("*.com"), &clusters[1]), 0);
    say_hex(client(), initial_v1);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    map_remove(&pass.by_name, STR("*.com"));
    assert_int_equal(map_set(&pass.by_name, STR("*.org"), &clusters[1]), 0);
    say_hex(client(), initial_v1);
    assert_int_not_equal(wait_origin(bytes, &n, &from), 2);
    pass.fallback = NULL;
    say_hex(client(), initial_v1);
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    assert_int_equal(COUNT(flows), 4);
}

/* The same Initial again, from the same client, belongs to its flow. */
static void retransmissions(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address first, second;
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    int fd = client();
    say_hex(fd, initial_v1);
    wait_origin(bytes, &n, &first);
    say_hex(fd, initial_v1);
    wait_origin(bytes, &n, &second);
    assert_true(address_equal(&first, &second));
    assert_int_equal(COUNT(flows_total), 1);
}

/* Two connections over one socket, with different names. */
static void connections_of_one_address(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address a, b, from;
    int fd = client();
    int first = answered(fd, "origin-id-a", &a);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_hex(fd, initial_v1);
    assert_int_equal(wait_origin(bytes, &n, &b), 2);
    n = long_packet(bytes, PASS_VERSION_1, "", "origin-id-b", 100);
    assert_int_equal(sendto(origins[2], bytes, n, 0, &b.u.any, b.length), n);
    expect_client(fd, bytes, n);
    say_short(fd, "origin-id-a");
    assert_int_equal(wait_origin(bytes, &n, &from), first);
    assert_true(address_equal(&from, &a));
    say_short(fd, "origin-id-b");
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    assert_int_equal(COUNT(flows_total), 2);
}

static void an_id_that_names_a_server(void **state) {
    (void)state;
    static const struct quic_lb_form form = {.config = 2, .id_n = 2, .nonce_n = 5};
    static const struct pass_server servers[] = {
        {.cluster = &clusters[0], .place = 0}, {.cluster = &clusters[0], .place = 1}, {.cluster = &clusters[1], .place = 0},
    };
    static const char *const ids[] = {"\x40" "AAnonce", "\x5f" "BBnonce", "\x41" "CCnonce", "\x60" "AAnonce",
                                      "\x40" "DDnonce"};
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    const char *keys[] = {"AA", "BB", "CC"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(map_set(&pass.by_server, str_of(keys[i]), (void *)(uintptr_t)&servers[i]), 0);
    pass.lb = &form;
    pass.fallback = NULL;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    for (int i = 0; i < 3; i++) {
        say_short(client(), ids[i]);
        assert_int_equal(wait_origin(bytes, &n, &from), i);
    }
    for (int i = 3; i < 5; i++) { /* of another configuration; of a server that is not there */
        say_short(client(), ids[i]);
        TURN_UNTIL(COUNT(dropped_unroutable_total) == (uint64_t)i - 2);
    }
    int fd = client(); /* another connection comes to where one was */
    say_short(fd, ids[0]);
    assert_int_equal(wait_origin(bytes, &n, &from), 0);
    say_short(fd, ids[1]);
    assert_int_equal(wait_origin(bytes, &n, &from), 1);
}

/* Nobody is there: the network says so, and what the client sends again goes to the other one. */
static void an_endpoint_that_refuses(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client();
    say_long(fd, SOME_VERSION, "first-id", "own");
    int origin = wait_origin(bytes, &n, &from);
    close(origins[origin]);
    origins[origin] = -1;
    say_long(fd, SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(refused_total) == 1);
    assert_int_equal(COUNT(flows), 1);
    say_long(fd, SOME_VERSION, "first-id", "own");
    assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    assert_int_equal(stats_read(&worker.stats->retries_connect_total), 1);
}

static void time_passes(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    uint64_t now = worker.now;
    proven(client(), "origin-id", &from);
    say_long(client(), SOME_VERSION, "first-id", "own");
    wait_origin(bytes, &n, &from);
    assert_int_equal(COUNT(flows), 2);
    worker.now = now + pass.handshake_timeout + SECOND;
    wheel_advance(&worker.wheel, worker.now);
    assert_int_equal(COUNT(flows), 1);
    assert_int_equal(COUNT(unanswered_total), 1);
    worker.now = now + pass.idle_timeout + 2 * SECOND;
    wheel_advance(&worker.wheel, worker.now);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(listener->open, 0);
}

static void draining(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client(), other = client();
    int origin = proven(fd, "origin-id-a", &from);
    answered(other, "origin-id-b", &from);
    say_long(client(), SOME_VERSION, "first-id", "own");
    wait_origin(bytes, &n, &from);
    assert_int_equal(COUNT(flows), 3);
    listener_drain(listener, 30 * SECOND);
    assert_int_equal(COUNT(flows), 2); /* who has an answer is let finish */
    say_short(fd, "origin-id-a");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_null(list); /* it ends with its last flow */
    assert_int_equal(use.users, 0);
}

/* A train of the kernel's goes on in order, with its shorter end. */
static void trains(void **state) {
    (void)state;
    enum { SEGMENT = 1200, N = 10 * SEGMENT + 100 };
    uint8_t bytes[65536], train[N];
    size_t n, at = 0;
    struct address from;
    int fd = client(), segment = SEGMENT;
    int origin = proven(fd, "origin-id", &from);
    for (size_t i = 0; i < N; i++)
        train[i] = (uint8_t)(i / 97);
    for (size_t i = 0; i < N; i += SEGMENT)
        memcpy(train + i, "\x40origin-id", 10);
    assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    say(fd, train, N);
    while (at < N) {
        assert_int_equal(wait_origin(bytes, &n, &from), origin);
        assert_int_equal(n, at + SEGMENT <= N ? SEGMENT : N - at);
        assert_memory_equal(bytes, train + at, n);
        at += n;
    }
}

/* The next datagram's ECN bits. */
static int ecn_of_next(int fd) {
    uint8_t bytes[65536], control[256];
    struct iovec v = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    TURN_UNTIL(is_readable(fd));
    assert_true(recvmsg(fd, &m, 0) > 0);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
            return *CMSG_DATA(c) & 3;
    return -1;
}

static void mark(int fd, int ecn) {
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TOS, &ecn, sizeof ecn), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &(int){1}, sizeof(int)), 0);
}

/* Both ends validate ECN by what arrives. */
static void ecn_bits(void **state) {
    (void)state;
    struct address from;
    int fd = client(), origin = origins[proven(fd, "origin-id", &from)];
    assert_int_equal(setsockopt(held.fd, IPPROTO_IP, IP_RECVTOS, &(int){1}, sizeof(int)), 0); /* as the holder does */
    for (int ecn = 0; ecn < 4; ecn++) {
        mark(fd, ecn);
        mark(origin, 3 - ecn);
        say_short(fd, "origin-id");
        assert_int_equal(ecn_of_next(origin), ecn);
        assert_int_equal(sendto(origin, "\x40 answer", 8, 0, &from.u.any, from.length), 8);
        assert_int_equal(ecn_of_next(fd), 3 - ecn);
    }
}

static void what_is_dropped(void **state) {
    (void)state;
    uint8_t bytes[DATAGRAM];
    int fd = client();
    say(fd, (const uint8_t *)"\x40", 1);
    TURN_UNTIL(COUNT(dropped_malformed_total) == 1);
    say_long(fd, 0, "first-id", "own"); /* version negotiation */
    TURN_UNTIL(COUNT(dropped_malformed_total) == 2);
    say_long(fd, PASS_VERSION_1, "short", "own");
    TURN_UNTIL(COUNT(dropped_malformed_total) == 3);
    say(fd, bytes, long_packet(bytes, PASS_VERSION_1, "first-id", "own", DATAGRAM - 1));
    TURN_UNTIL(COUNT(dropped_small_total) == 1);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_long(fd, PASS_VERSION_1, "first-id", "own"); /* cannot be opened */
    TURN_UNTIL(COUNT(dropped_hello_total) == 1);
    say_short(fd, "unknown-id");
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    assert_int_equal(COUNT(flows), 0);
}

static uint64_t drops(void) {
    return COUNT(dropped_system_total) + COUNT(dropped_no_endpoint_total) + COUNT(dropped_unroutable_total);
}

static void without_memory(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    for (long i = 0; i < 40; i++) {
        uint64_t before = drops();
        int fd = client();
        hg_alloc_fail_at(i, 1);
        say_hex(fd, initial_v1);
        TURN_UNTIL(drops() > before || is_readable(origins[2]));
        hg_alloc_fail_at(-1, 0);
        if (is_readable(origins[2]))
            break;
        assert_true(i < 39);
    }
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(there_and_back), TEST(what_proves_a_client), TEST(forged_clients_give_way), TEST(all_are_proven),
        TEST(bounds_of_connections), TEST(a_known_id_from_elsewhere), TEST(ids_of_forged_clients_are_not_known), TEST(names),
        TEST(retransmissions), TEST(connections_of_one_address), TEST(an_id_that_names_a_server),
        TEST(an_endpoint_that_refuses), TEST(time_passes), TEST(draining), TEST(trains), TEST(ecn_bits),
        TEST(what_is_dropped),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
