/* Datagrams that go from worker to worker, each on a thread of its own: none is lost below the bound, and each side counts.
 * labels: threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/udp_options.h"
#include "dataplane/net/udp.h"
#include "dataplane/net/udp_forward.h"

enum { WORKERS = 2, CLIENTS = 4, EACH = 500 };

static struct worker workers[WORKERS];
static struct udp_socket sockets[WORKERS];
static _Atomic unsigned arrived[WORKERS];

/* Everything that comes to one worker belongs to the other, and is answered from there. */
static void on_datagram(struct udp_socket *s, const struct udp_datagram *d) {
    unsigned index = s->worker->index;
    if (d->is_forwarded) {
        atomic_fetch_add(&arrived[index], 1);
        udp_send(s, d->remote, d->local, d->bytes, d->n, d->n, d->ecn);
        return;
    }
    udp_forward(s, &workers[!index], d);
}

static const struct udp_ops ops = {.on_datagram = on_datagram};

static void open_socket(unsigned index, const struct address *at) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(udp_set_options(fd, AF_INET, true), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(fd, &at->u.any, at->length), 0);
    assert_int_equal(worker_init(&workers[index], index, EVFLAG_AUTO), 0);
    assert_int_equal(udp_open(&sockets[index], &workers[index], fd, &ops), 0);
}

/* One at a time is on its way of each client, so no buffer overflows, and every answer has to come. */
static void talk(const struct address *to) {
    int fds[CLIENTS];
    uint8_t bytes[64];
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], &to->u.any, to->length), 0);
    }
    for (unsigned round = 0; round < EACH; round++) {
        for (unsigned i = 0; i < CLIENTS; i++)
            assert_int_equal(send(fds[i], &round, sizeof round, 0), sizeof round);
        for (unsigned i = 0; i < CLIENTS; i++) {
            assert_int_equal(recv(fds[i], bytes, sizeof bytes, 0), sizeof round);
            assert_memory_equal(bytes, &round, sizeof round);
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        close(fds[i]);
}

static void all_arrive_at_the_other_worker(void **state) {
    (void)state;
    struct address at;
    uint64_t received = 0, forwarded = 0;
    assert_int_equal(address_parse(str_of("127.0.0.1:0"), &at), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        open_socket(i, &at);
        at = sockets[0].local;
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(worker_start(&workers[i]), 0);
    talk(&at);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_stop_and_join(&workers[i]);
    for (unsigned i = 0; i < WORKERS; i++) {
        received += stats_read(&workers[i].stats->udp_received_total);
        forwarded += stats_read(&workers[i].stats->udp_forwarded_total);
        assert_int_equal(stats_read(&workers[i].stats->udp_forwards_dropped_total), 0);
        assert_int_equal(stats_read(&workers[i].stats->udp_received_total), atomic_load(&arrived[!i]));
    }
    assert_int_equal(received, CLIENTS * EACH);
    assert_int_equal(forwarded, CLIENTS * EACH);
    for (unsigned i = 0; i < WORKERS; i++) {
        udp_close(&sockets[i]);
        close(sockets[i].fd);
        worker_finish(&workers[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_arrive_at_the_other_worker),
    };
    return cmocka_run_group_tests_name("net/udp_threads", tests, NULL, NULL);
}
