/* Many requests at once on one connection: all are answered, but not in one turn of the worker. */
#include "tests/unit/dataplane/codec/h1/dialogue.h"

enum { BURST = 500, FAIR = 32 };

/* Every request is answered by the gateway itself. */
static const struct route_table *build_table(void) {
    static char *any[] = {"*"};
    static Headgate__Respond respond = HEADGATE__RESPOND__INIT;
    static Headgate__Rule answer = HEADGATE__RULE__INIT, *rules[] = {&answer};
    static Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    static Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    respond.status = 204;
    answer.action_case = HEADGATE__RULE__ACTION_RESPOND, answer.respond = &respond;
    host.domains = any, host.n_domains = 1, host.rules = rules, host.n_rules = 1;
    table.hosts = hosts, table.n_hosts = 1;
    const struct route_table *built = route_table_build(&table, "test", NULL, &errors);
    error_list_finish(&errors);
    return built;
}

static int set_up(void **state) {
    if (dialogue_set_up(state) < 0)
        return -1;
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    routes.table = build_table();
    return routes.table ? 0 : -1;
}

static void send_burst(int client) {
    struct strbuf text = {0};
    for (int i = 0; i < BURST; i++)
        strbuf_add_str(&text, STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(send_some(client, text.p, text.n), text.n);
    strbuf_finish(&text);
}

static unsigned answers_in(const struct strbuf *text) {
    unsigned count = 0;
    for (const char *at = text->p; at && (at = strstr(at, "HTTP/1.1 204 ")); at++)
        count++;
    return count;
}

/* Turns until all is answered; the socket is never readable meanwhile, as the whole burst is read at once. */
static bool take_answers(int client, struct strbuf *ret) {
    bool has_ended = false;
    for (unsigned before = 0, now; before < BURST; before = now) {
        ev_run(worker.loop, EVRUN_ONCE); /* waits for ever when nothing is put off */
        worker_end_turn(&worker);
        has_ended = receive(client, ret);
        now = answers_in(ret);
        assert_in_range(now - before, 1, FAIR);
    }
    return has_ended;
}

static void a_burst_is_answered_over_many_turns(void **state) {
    (void)state;
    struct strbuf text = {0};
    int client = connect_client();
    send_burst(client);
    assert_false(take_answers(client, &text));
    assert_int_equal(logged.count, BURST);
    send_text(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); /* it is read again */
    assert_begins(received(client), "HTTP/1.1 204 ");
    strbuf_finish(&text);
    close(client);
}

static void a_client_that_ends_behind_its_burst_gets_all_answers(void **state) {
    (void)state;
    struct strbuf text = {0};
    int client = connect_client();
    send_burst(client);
    shutdown(client, SHUT_WR);
    take_answers(client, &text);
    settle();
    assert_true(receive(client, &text));
    assert_int_equal(answers_in(&text), BURST);
    strbuf_finish(&text);
    close(client);
}

static void a_client_that_leaves_within_its_burst_is_forgotten(void **state) {
    (void)state;
    int client = connect_client();
    send_burst(client);
    ev_run(worker.loop, EVRUN_ONCE);
    worker_end_turn(&worker);
    assert_non_null(worker.put_off.first);
    close(client);
    settle();
    assert_null(worker.put_off.first);
    assert_true(logged.count < BURST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_burst_is_answered_over_many_turns, set_up, dialogue_tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_ends_behind_its_burst_gets_all_answers, set_up, dialogue_tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_leaves_within_its_burst_is_forgotten, set_up, dialogue_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
