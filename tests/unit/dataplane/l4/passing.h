/* passing.h — a listener that passes QUIC through, on real sockets: clients and origins say packets that are made by
 * hand. */
#pragma once

#include "tests/unit/dataplane/net/loop.h"

#include <arpa/inet.h>
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
static int draining_origin = -1;
static int reserve_origin = -1; /* of the second priority */

/* ---- sockets */

static inline int udp(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline struct address address_of(int fd) {
    struct address a = {.length = sizeof a.u};
    assert_int_equal(getsockname(fd, &a.u.any, &a.length), 0);
    return a;
}

static inline int client(void) {
    int fd = udp();
    assert_int_equal(connect(fd, &listening.u.any, listening.length), 0);
    assert_true(client_count < sizeof clients / sizeof *clients);
    return clients[client_count++] = fd;
}

static inline bool is_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* Which origin has something; what it is, and who sent it. */
static inline int wait_origin(uint8_t *bytes, size_t *n, struct address *from) {
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

static inline void expect_client(int fd, const uint8_t *bytes, size_t n) {
    uint8_t got[65536];
    TURN_UNTIL(is_readable(fd));
    assert_int_equal(recv(fd, got, sizeof got, 0), n);
    assert_memory_equal(got, bytes, n);
}

/* ---- packets */

/* A long header of that version with these IDs, up to the size. */
static inline size_t long_packet(uint8_t *bytes, uint32_t version, const char *dcid, const char *scid, size_t size) {
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

static inline void say(int fd, const uint8_t *bytes, size_t n) {
    assert_int_equal(send(fd, bytes, n, 0), n);
}

static inline void say_long(int fd, uint32_t version, const char *dcid, const char *scid) {
    uint8_t bytes[DATAGRAM];
    say(fd, bytes, long_packet(bytes, version, dcid, scid, sizeof bytes));
}

static inline void say_short(int fd, const char *dcid) {
    uint8_t bytes[64] = {0x40};
    memcpy(bytes + 1, dcid, strlen(dcid));
    say(fd, bytes, sizeof bytes);
}

static inline void say_hex(int fd, const char *hex) {
    uint8_t bytes[DATAGRAM];
    assert_int_equal(hex_decode(str_of(hex), bytes, strlen(hex) / 2), 0);
    say(fd, bytes, strlen(hex) / 2);
}

/* A flow whose origin has answered with this ID. Returns which origin. */
static inline int answered(int fd, const char *origin_id, struct address *ret_from) {
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

static inline int proven(int fd, const char *origin_id, struct address *ret_from) {
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

static inline void define_cluster(int which, int first, int count) {
    static const struct balance_rules rules = {.kind = BALANCE_MAGLEV, .table_size = 1009, .panic_threshold = 50,
                                               .overprovisioning = 140};
    struct endpoint_definition endpoints[ORIGINS] = {0};
    static char texts[ORIGINS][ADDRESS_TEXT_MAX];
    struct cluster_definition *d = &clusters[which];
    for (int i = 0; i < count; i++) {
        struct endpoint_definition *e = &endpoints[i];
        bool drains = first + i == draining_origin;
        *e = (struct endpoint_definition){.address = address_of(origins[first + i]), .weight = 1, .is_usable = !drains,
                                          .is_draining = drains};
        e->priority = first + i == reserve_origin;
        e->text = (struct str){texts[first + i], address_format(&e->address, texts[first + i])};
    }
    if (!d->shared)
        d->shared = cluster_shared_create(STR("cluster"));
    d->slot = (uint32_t)which;
    d->serial = ++last_serial;
    d->members = make_members(&rules, endpoints, (uint32_t)count, d->members);
}

static inline void ignore_view(struct worker *w, struct snapshot_view *v) {
    (void)w, (void)v;
}

static inline void ignore_release(void *owner) {
    (void)owner;
}

static inline int set_up(void **state) {
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
                                    .max_hellos = 2, .drain_timeout = 200 * SECOND, .new_flows_per_second = SECOND};
    use = (struct socket_use){.on_release = ignore_release};
    held = (struct held_socket){udp(), &use};
    listening = address_of(held.fd);
    listener = listener_create(&worker, &list, &listening, NULL, 0, &codecs, caps);
    assert_non_null(listener);
    listener_set_definition(listener, &definition, &opening, 10, 100);
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    return 0;
}

static inline int tear_down(void **state) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
