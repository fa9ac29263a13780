/* One check against a server that the test plays byte by byte, on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/health/probe.h"

enum { PING = 17, PINGS = 250, MOST = 64 << 20 };

struct fixture {
    struct probes         all;
    struct probe         *probe;
    struct check_plan    *plan;
    Headgate__HealthCheck check;
    Headgate__GrpcCheck   grpc;
    char                  address[32];
    int                   listener, server;
    bool                  has_ended;
    char                  reason[REASON_MAX];
};

static void on_ended(struct probes *all, void *owner, enum probe_end end, bool is_reusable, const char *reason) {
    struct fixture *f = owner;
    (void)all;
    assert_int_equal(end, PROBE_UNWELL);
    assert_false(is_reusable);
    f->has_ended = true;
    snprintf(f->reason, sizeof f->reason, "%s", reason);
}

static int listen_somewhere(char address[32]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at) | listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(at.sin_port));
    return fd;
}

/* A check of gRPC has begun, and its connection is accepted. */
static int setup(void **state) {
    static struct fixture f;
    struct error_list errors = {0};
    const struct health_config config = {0};
    const struct health_way way = {.check = &f.check};
    f = (struct fixture){.all = {.loop = ev_loop_new(EVFLAG_AUTO), .room = malloc(PROBE_ROOM), .ended = on_ended}};
    headgate__health_check__init(&f.check);
    headgate__grpc_check__init(&f.grpc);
    f.check.kind_case = HEADGATE__HEALTH_CHECK__KIND_GRPC;
    f.check.grpc = &f.grpc;
    f.listener = listen_somewhere(f.address);
    f.plan = check_plan_make("c", &way, &config, NULL, &errors);
    f.probe = probe_create(&f.all, &f);
    probe_check(f.probe, &(struct probe_target){f.plan, f.address, NULL, f.plan->transports[0]});
    f.server = accept(f.listener, NULL, NULL);
    *state = &f;
    return f.server < 0 ? -1 : 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    probe_destroy(f->probe);
    check_plan_unref(f->plan);
    ev_loop_destroy(f->all.loop);
    free(f->all.room);
    close(f->server);
    close(f->listener);
    return 0;
}

static void make_pings(uint8_t pings[PINGS * PING]) {
    static const uint8_t ping[PING] = {0, 0, 8, 6};
    for (size_t i = 0; i < PINGS; i++)
        memcpy(&pings[i * PING], ping, PING);
}

/* Never so many PINGs at once that these alone are too many: it is their answers that nobody reads. */
static void answers_that_are_not_read_are_bounded(void **state) {
    struct fixture *f = *state;
    static const uint8_t settings[9] = {0, 0, 0, 4};
    uint8_t pings[PINGS * PING];
    make_pings(pings);
    assert_int_equal(send(f->server, settings, sizeof settings, MSG_NOSIGNAL), sizeof settings);
    for (size_t sent = 0; !f->has_ended; sent += sizeof pings) {
        assert_true(sent < MOST);
        assert_int_equal(send(f->server, pings, sizeof pings, MSG_NOSIGNAL), sizeof pings);
        ev_run(f->all.loop, EVRUN_ONCE);
    }
    assert_string_equal(f->reason, "not an answer of HTTP/2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_that_are_not_read_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
