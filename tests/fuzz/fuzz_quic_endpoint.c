/* An endpoint of QUIC and its connections, over a network of memory: any datagrams, those of honest clients bent on their
 * way, and frames of any kind in packets that are sealed as they should be. An input is a list of steps; every one begins
 * with a byte. Nothing may leak, no budget may be left used, and every user hears of its end. */
#include "tests/unit/dataplane/quic/network.h"

#define CHECK(condition) ((condition) ? (void)0 : abort())

enum { CLIENTS_MAX = 4, STEPS_MAX = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct input {
    const uint8_t *at;
    size_t         left;
};

static uint8_t take_byte(struct input *in) {
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static size_t take_bytes(struct input *in, const uint8_t **ret, size_t most) {
    size_t n = (size_t)take_byte(in) * 8;
    n = n < most ? n : most;
    n = n < in->left ? n : in->left;
    *ret = in->at;
    in->at += n;
    in->left -= n;
    return n;
}

/* ---- steps */

/* A datagram as it stands there, made long enough for a first one if the byte before says so. */
static void raw_datagram(struct input *in) {
    static uint8_t room[2048];
    const uint8_t *bytes;
    uint8_t how = take_byte(in);
    struct address client = loopback_address((uint16_t)(30000 + how % 4));
    memset(room, 0, sizeof room);
    size_t n = take_bytes(in, &bytes, sizeof room);
    memcpy(room, bytes, n);
    struct udp_datagram d = {.bytes = room, .n = how & 0x80 && n < 1200 ? 1200 : n, .remote = &client, .local = &net.server,
                             .ecn = how >> 4 & ECN_MASK, .is_forwarded = how & 0x40};
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
}

static void new_client(struct input *in) {
    static char bytes[3000];
    uint8_t how = take_byte(in);
    if (net.peer_count >= CLIENTS_MAX)
        return;
    struct peer *p = peer_connect(&(struct peer_wish){.version = how & 1 ? NGTCP2_PROTO_VER_V2 : NGTCP2_PROTO_VER_V1,
                                                      .protocol = how & 2 && how & 4 ? "h2" : "h3",
                                                      .groups = how & 8 ? "X25519MLKEM768" : "X25519"});
    net_run(NULL, how & 16 ? DELAY_US : 100000);
    if (p->is_done && !p->is_over)
        peer_send(p, bytes, sizeof bytes);
}

/* What the next packet says instead, in a 1-RTT or a Handshake packet. */
static void frames(struct input *in) {
    static char bytes[1000];
    const uint8_t *says;
    uint8_t how = take_byte(in);
    struct peer *p = net.peer_count > 0 ? net.peers[how % net.peer_count] : NULL;
    instead.n = take_bytes(in, &says, sizeof instead.bytes);
    memcpy(instead.bytes, says, instead.n);
    instead.form = how & 0x80 ? IN_HANDSHAKE : IN_1RTT;
    if (p && p->is_done && !p->is_over && ngtcp2_conn_get_streams_bidi_left(p->conn) > 0)
        peer_send(p, bytes, sizeof bytes);
    net_end_turn();
}

/* One that is on its way is bent, sent from elsewhere, or made shorter. */
static void bend(struct input *in) {
    uint8_t which = take_byte(in), where = take_byte(in), how = take_byte(in);
    struct parcel *p = net.count > 0 ? &net.parcels[which % net.count] : NULL;
    if (!p)
        return;
    if (how == 0)
        p->from = loopback_address((uint16_t)(45000 + where));
    else if (how == 1)
        p->n = p->n * where / 256;
    else if (p->n > 0)
        p->bytes[(size_t)where % p->n] ^= how;
}

static void server_acts(struct input *in) {
    uint8_t how = take_byte(in);
    struct echo *e = echo_count > 0 ? &echoes[how % echo_count] : NULL;
    int64_t id;
    if (!e || e->is_closed)
        return;
    switch (how >> 5) {
    case 0:
        quic_close(e->user.conn, QUIC_APPLICATION, how, "enough");
        break;
    case 1:
        quic_reset_stream(e->user.conn, (how & 7) * 4, how);
        break;
    case 2:
        quic_stop_sending(e->user.conn, (how & 7) * 4, how);
        break;
    case 3:
        quic_shutdown_stream(e->user.conn, (how & 7) * 4, how);
        break;
    default:
        (void)quic_open_stream(e->user.conn, how & 1, &id);
    }
}

static void environment(struct input *in) {
    uint8_t how = take_byte(in);
    net.options.retry = (enum quic_retry)(how % 3);
    net.options.early_data = how & 4;
    net.options.max_handshakes = how & 8 ? 1 : 100;
    net.loss_percent = how & 16 ? 20 : 0;
    refuses = how & 32;
    net.is_blocked = how & 64;
    if (!net.is_blocked)
        net_unblock(0);
}

static void pass_time(struct input *in) {
    uint8_t ms = take_byte(in);
    net_run(NULL, ms == 255 ? 60000000 : (uint64_t)ms * 1000);
}

static void step(struct input *in) {
    static void (*const steps[])(struct input *) = {
        raw_datagram, new_client, frames, bend, server_acts, environment, pass_time,
    };
    steps[take_byte(in) % (sizeof steps / sizeof *steps)](in);
}

/* ---- an input */

static void set_up(void) {
    static bool is_set_up;
    if (!is_set_up)
        net_setup(NULL);
    is_set_up = true;
    net.options.max_concurrent_streams = 20;
    net.options.retry = QUIC_RETRY_UNDER_LOAD;
    net.random = 1;
}

static void clean_up(void) {
    for (size_t i = 0; i < net.peer_count; i++)
        peer_free(net.peers[i]);
    net.peer_count = 0;
    net_drop_all();
    quic_endpoint_destroy(net.endpoint);
    worker_end_turn(&net.worker);
    CHECK(net.worker.session_memory.used == 0 && net.worker.quic->names.count == 0 && !net.worker.quic->first_closing);
    CHECK(net.worker.stats->quic_connections == 0 && net.worker.stats->quic_handshakes == 0);
    for (unsigned i = 0; i < echo_count; i++)
        CHECK(echoes[i].is_destroyed);
    echo_count = 0;
    instead.n = 0;
    net.loss_percent = 0;
    refuses = net.is_blocked = false;
    net.worker.now += 1000000;
    net_open();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct input in = {bytes, size};
    set_up();
    for (int i = 0; i < STEPS_MAX && in.left > 0; i++)
        step(&in);
    clean_up();
    return 0;
}
