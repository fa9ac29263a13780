/* Client status: each resource with its state, version, contents and what was wrong. */
#include "controlplane/xds/csds.h"
#include "tests/unit/controlplane/xds/world_play.h"

#define REALTIME (UINT64_C(1700000000) * SECOND)

#define Response Envoy__Service__Status__V3__ClientStatusResponse

static const Envoy__Service__Status__V3__ClientConfig__GenericXdsConfig *find(const Response *r, enum xds_role role,
                                                                               const char *name) {
    for (size_t i = 0; i < r->config[0]->n_generic_xds_configs; i++) {
        const Envoy__Service__Status__V3__ClientConfig__GenericXdsConfig *c = r->config[0]->generic_xds_configs[i];
        if (strcmp(c->type_url, role_urls[role]) == 0 && strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

/* Through bytes, as a client gets it. */
static Response *client_status(struct play *y, bool excludes_contents) {
    Envoy__Config__Core__V3__Node node = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    Envoy__Service__Status__V3__ClientStatusRequest request = ENVOY__SERVICE__STATUS__V3__CLIENT_STATUS_REQUEST__INIT;
    const struct xds_csds csds = {.world = y->w, .node = &node};
    struct arena arena = {0};
    Response r;
    node.id = (char *)(uintptr_t)"gateway-1";
    request.exclude_resource_contents = excludes_contents;
    assert_int_equal(xds_csds_answer(&csds, &request, y->now, REALTIME, &arena, &r), 0);
    size_t size = protobuf_c_message_get_packed_size(&r.base);
    uint8_t *bytes = malloc(size + 1);
    protobuf_c_message_pack(&r.base, bytes);
    Response *copy = envoy__service__status__v3__client_status_response__unpack(NULL, size, bytes);
    free(bytes);
    arena_finish(&arena);
    assert_non_null(copy);
    return copy;
}

static void forget(Response *r) {
    envoy__service__status__v3__client_status_response__free_unpacked(r, NULL);
}

static void test_states(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    play_time(&y, 3 * SECOND);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r bad | name:m v:3 rds:q");
    Response *r = client_status(&y, false);
    assert_int_equal(r->n_config, 1);
    assert_string_equal(r->config[0]->node->id, "gateway-1");

    const Envoy__Service__Status__V3__ClientConfig__GenericXdsConfig *c = find(r, XDS_CLUSTERS, "c");
    assert_int_equal(c->client_status, ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__ACKED);
    assert_string_equal(c->version_info, "1");
    assert_int_equal(c->last_updated->seconds, REALTIME / SECOND - 3);
    assert_string_equal(c->xds_config->type_url, role_urls[XDS_CLUSTERS]);
    assert_memory_equal(c->xds_config->value.data, "name:c v:1 eds:e", 16);
    assert_null(c->error_state);

    c = find(r, XDS_LISTENERS, "l");
    assert_int_equal(c->client_status, ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__NACKED);
    assert_string_equal(c->version_info, "2");
    assert_memory_equal(c->xds_config->value.data, "name:l v:1 rds:r", 16);
    assert_string_equal(c->error_state->details, "a.field: it is bad");
    assert_string_equal(c->error_state->version_info, "5");
    assert_int_equal(c->error_state->last_update_attempt->seconds, REALTIME / SECOND);

    c = find(r, XDS_ROUTES, "q");
    assert_int_equal(c->client_status, ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__REQUESTED);
    assert_null(c->xds_config);
    assert_null(c->last_updated);
    forget(r);

    play_time(&y, 15 * SECOND);
    r = client_status(&y, true);
    assert_int_equal(find(r, XDS_ROUTES, "q")->client_status, ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__DOES_NOT_EXIST);
    assert_string_equal(find(r, XDS_CLUSTERS, "c")->version_info, "1");
    assert_null(find(r, XDS_CLUSTERS, "c")->xds_config);
    forget(r);
    play_end(&y);
}

/* Of a secret only its state is told. */
static void test_secrets_are_kept(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r sds:s");
    says(&y, XDS_SECRETS, "name:s v:1");
    Response *r = client_status(&y, false);
    assert_int_equal(find(r, XDS_SECRETS, "s")->client_status, ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__ACKED);
    assert_null(find(r, XDS_SECRETS, "s")->xds_config);
    assert_non_null(find(r, XDS_LISTENERS, "l")->xds_config);
    forget(r);
    play_end(&y);
}

/* Nor of what has a key in it, which it may get later. */
static void test_keys_in_other_resources(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r | name:k v:2 rds:r key");
    Response *r = client_status(&y, false);
    assert_non_null(find(r, XDS_LISTENERS, "l")->xds_config);
    assert_null(find(r, XDS_LISTENERS, "k")->xds_config);
    assert_string_equal(find(r, XDS_LISTENERS, "k")->version_info, "1");
    forget(r);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r key | name:k v:2 rds:r");
    r = client_status(&y, false);
    assert_null(find(r, XDS_LISTENERS, "l")->xds_config);
    assert_non_null(find(r, XDS_LISTENERS, "k")->xds_config);
    forget(r);
    play_end(&y);
}

static void test_without_a_server(void **state) {
    struct play y;
    Envoy__Service__Status__V3__ClientStatusRequest request = ENVOY__SERVICE__STATUS__V3__CLIENT_STATUS_REQUEST__INIT;
    struct arena arena = {0};
    Response r;
    (void)state;
    assert_int_equal(xds_csds_answer(NULL, &request, 0, 0, &arena, &r), 0);
    assert_int_equal(r.n_config, 0);
    begin(&y);
    xds_world_use(y.w, NULL, NULL, y.now);
    Response *answer = client_status(&y, false);
    assert_int_equal(answer->n_config, 1);
    assert_int_equal(answer->config[0]->n_generic_xds_configs, 0);
    forget(answer);
    play_end(&y);
}

static void test_memory(void **state) {
    struct play y;
    Envoy__Service__Status__V3__ClientStatusRequest request = ENVOY__SERVICE__STATUS__V3__CLIENT_STATUS_REQUEST__INIT;
    unsigned failed = 0;
    int status = -1;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:2 bad");
    const struct xds_csds csds = {.world = y.w};
    for (long nth = 0; status < 0; nth++) {
        struct arena arena = {0};
        Response r;
        hg_alloc_fail_at(nth, 0);
        status = xds_csds_answer(&csds, &request, y.now, REALTIME, &arena, &r);
        hg_alloc_fail_at(-1, 0);
        failed += status < 0;
        arena_finish(&arena);
    }
    assert_in_range(failed, 1, 200);
    play_end(&y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_secrets_are_kept),
        cmocka_unit_test(test_keys_in_other_resources),
        cmocka_unit_test(test_without_a_server),
        cmocka_unit_test(test_memory),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
