/* OpenSSL's memory from free lists: before anything else uses OpenSSL, so in a program of its own. */
#include "tests/unit/dataplane/tls/fixture.h"

#include "dataplane/tls/allocator.h"

static uint64_t allocations_of_a_handshake(struct fixture *f) {
    uint64_t before = hg_alloc_count();
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_true(l->is_done[CLIENT] && l->is_done[SERVER]);
    link_finish(l);
    return hg_alloc_count() - before;
}

static void test_warm_workers(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    uint64_t first = allocations_of_a_handshake(f), later = first;
    for (int i = 0; i < 10; i++)
        later = allocations_of_a_handshake(f);
    assert_true(first > 1000); /* library contexts and all */
    assert_true(later < 60);   /* our own, and the test's; OpenSSL takes a thousand pieces from the lists */
}

int main(void) {
    if (!tls_allocator_use())
        return 1;
    const struct CMUnitTest tests[] = {TLS_TEST(test_warm_workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
