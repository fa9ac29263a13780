/* A configuration as keys and values, written in transactions, and what is read of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/etcd/intent_internal.h"
#include "controlplane/etcd/write.h"

enum { BIG = 30000 };

#define HOSTS(cluster) "\"hosts\": [{\"domains\": [\"*\"], \"rules\": [{\"cluster\": \"" cluster "\"}]}]"
#define TABLE "\"route-tables\": [{\"name\": \"site\", " HOSTS("web") "}]"

static const char *const small = "{\"listeners\": [{\"name\": \"web\", \"address\": \"127.0.0.1:80\", "
                                 "\"route-table\": \"site\"}], " TABLE
                                 ", \"clusters\": [{\"name\": \"web\", \"endpoints\": [\"127.0.0.1:1\"]}]}";

static void compile(const char *text, struct config_resources *ret) {
    struct config_sources sources = {0};
    struct error_list errors = {0};
    assert_int_equal(config_sources_add(&sources, STR("file"), str_of(text), &errors), 0);
    assert_int_equal(config_compile(&sources, NULL, ret, &errors, &errors), 0);
    config_sources_finish(&sources);
    error_list_finish(&errors);
}

/* ---- an etcd of keys ---- */

static struct str key_below(const ProtobufCBinaryData *key) {
    struct str text = {(const char *)key->data, key->len}, prefix = STR("/p/config/");
    assert_true(str_starts(text, prefix));
    return (struct str){text.p + prefix.n, text.n - prefix.n};
}

static void apply_put(struct etcd_intent *i, const Etcdserverpb__PutRequest *put, int64_t revision) {
    struct str value = {(const char *)put->value.data, put->value.len};
    assert_true(etcd_intent_set(i, key_below(&put->key), value, revision));
}

static void apply_drop(struct etcd_intent *i, const Etcdserverpb__DeleteRangeRequest *range) {
    struct str from = key_below(&range->key), to = key_below(&range->range_end);
    for (struct etcd_entry *e = i->first, *next; e; e = next) {
        next = e->next;
        if (str_cmp(e->key, from) >= 0 && str_cmp(e->key, to) < 0)
            etcd_intent_removed(i, e->key);
    }
}

/* Returns false when the comparison does not hold, as etcd would say. Limits are those of etcd. */
static bool apply(struct etcd_intent *i, const Etcdserverpb__TxnRequest *t, int64_t revision) {
    int64_t modified;
    etcd_intent_has_current(i, &modified);
    assert_true(t->n_compare == 1 && t->n_success <= 128);
    assert_true(protobuf_c_message_get_packed_size(&t->base) < 1572864);
    if (t->compare[0]->mod_revision != modified)
        return false;
    for (size_t op = 0; op < t->n_success; op++)
        if (t->success[op]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            apply_put(i, t->success[op]->request_put, revision);
        else
            apply_drop(i, t->success[op]->request_delete_range);
    return true;
}

/* Pushes; the number of transactions, 0: somebody else was faster. */
static size_t push(struct etcd_intent *i, const struct config_resources *set, uint64_t version, int64_t modified) {
    struct etcd_values values;
    struct error_list errors = {0};
    struct arena arena = {0};
    struct etcd_pointer before = {.version = version - 1};
    struct etcd_pointer after = {.version = version, .author = "me", .message = "\"why\"",
                                 .previous = {.version = version - 1, .values = 3}};
    assert_int_equal(etcd_values_make(set, &values, &errors), 0);
    after.values = values.count;
    etcd_generation_name(version - 1, (uint32_t)version - 1, before.generation);
    etcd_generation_name(version - 1, (uint32_t)version - 1, after.previous.name);
    etcd_generation_name(version, (uint32_t)version, after.generation);
    struct etcd_write w = {.prefix = "/p", .values = &values, .before = &before, .modified = modified, .after = &after};
    const Etcdserverpb__TxnRequest *t;
    size_t count = 0;
    while ((t = etcd_write_next(&w, &arena)) && apply(i, t, modified + 1 + (int64_t)count))
        count++;
    count = w.is_over && !t ? count : 0;
    etcd_values_finish(&values);
    error_list_finish(&errors);
    arena_finish(&arena);
    return count;
}

/* NULL: all is well; otherwise the first error as text. */
static const char *made(const struct etcd_intent *i, const struct config_resources *wanted) {
    static char text[512];
    struct etcd_made m;
    struct error_list errors = {0};
    struct strbuf line = {0};
    int status = etcd_intent_make(i, &m, &errors);
    for (size_t n = 0, at = 0; status == 0 && wanted && n < wanted->count; n++)
        if (wanted->items[n].kind != HEADGATE__KIND__KIND_SETTINGS)
            assert_true(resource_id_equal(&wanted->items[n].id, &m.set.items[at++].id));
    assert_true((status < 0) == (errors.count > 0));
    if (status < 0)
        error_format(&errors.items[0], &line);
    snprintf(text, sizeof text, "%s", line.p ? line.p : "");
    strbuf_finish(&line);
    etcd_made_finish(&m);
    error_list_finish(&errors);
    return status < 0 ? text : NULL;
}

static void put(struct etcd_intent *i, const char *key, const char *value) {
    static int64_t revision = 1000;
    assert_true(etcd_intent_set(i, str_of(key), str_of(value), revision++));
}

/* ---- tests ---- */

static void what_is_pushed_is_read(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    struct config_resources set = {0};
    compile(small, &set);
    assert_non_null(strstr(made(&i, NULL), "nothing was pushed"));
    uint64_t mark = etcd_intent_mark(&i);
    assert_int_equal(push(&i, &set, 1, 0), 1);
    assert_null(made(&i, &set));
    assert_true(mark != etcd_intent_mark(&i));
    mark = etcd_intent_mark(&i);
    put(&i, "generations/0000000000000009-00000000/cluster/x/0000", "rubbish"); /* does not count */
    assert_true(mark == etcd_intent_mark(&i));
    assert_null(made(&i, &set));
    struct etcd_made m;
    struct error_list errors = {0};
    assert_int_equal(etcd_intent_make(&i, &m, &errors), 0);
    assert_true(m.pointer.version == 1 && m.pointer.values == 3 && m.set.count == 4);
    assert_string_equal(m.pointer.author, "me");
    assert_string_equal(m.pointer.message, "\"why\"");
    etcd_made_finish(&m);
    assert_int_equal(push(&i, &set, 2, 0), 0); /* `current` has another revision now */
    assert_int_equal(push(&i, &set, 2, 1), 1);
    config_resources_finish(&set);
    etcd_intent_finish(&i);
}

static bool has(const struct etcd_intent *i, const char *key) {
    return map_get(&i->by_key, str_of(key)) != NULL;
}

/* The generation before stays, and is a configuration, too. */
static void what_was_pushed_before_is_read(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    struct config_resources set = {0};
    struct etcd_made m;
    struct error_list errors = {0};
    compile(small, &set);
    assert_int_equal(push(&i, &set, 1, 0), 1);
    assert_int_equal(etcd_intent_make_previous(&i, &m, &errors), -1);
    assert_string_equal(errors.items[0].message, "etcd has no version from before that could be gone back to");
    error_list_finish(&errors);
    etcd_made_finish(&m);
    assert_int_equal(push(&i, &set, 2, 1), 1);
    assert_int_equal(push(&i, &set, 3, 2), 1);
    assert_false(has(&i, "generations/0000000000000001-00000001/cluster/web/0000"));
    errors = (struct error_list){0};
    assert_int_equal(etcd_intent_make_previous(&i, &m, &errors), 0);
    assert_true(m.pointer.version == 2 && m.pointer.values == 3 && m.set.count == 4);
    assert_string_equal(m.pointer.generation, "0000000000000002-00000002");
    etcd_made_finish(&m);
    etcd_intent_removed(&i, STR("generations/0000000000000002-00000002/cluster/web/0000"));
    assert_int_equal(etcd_intent_make_previous(&i, &m, &errors), -1); /* it is not whole */
    error_list_finish(&errors);
    etcd_made_finish(&m);
    config_resources_finish(&set);
    etcd_intent_finish(&i);
}

/* Somebody has deleted `current`: nothing counts, and nothing of it is left behind by the next push. */
static void what_nobody_counts_goes(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    struct config_resources set = {0};
    compile(small, &set);
    assert_int_equal(push(&i, &set, 8, 0), 1);
    assert_int_equal(push(&i, &set, 9, 1), 1);
    put(&i, "generations/0000000000000001-00000000/cluster/x/0000", "rubbish");
    put(&i, "generations/zz/cluster/x/0000", "rubbish");
    etcd_intent_removed(&i, STR("current"));
    assert_int_equal(push(&i, &set, 1, 0), 1);
    assert_null(made(&i, &set));
    assert_int_equal(i.by_key.count, 4); /* `current` and its three values */
    put(&i, "generations/zz/cluster/x/0000", "of somebody who writes now");
    assert_int_equal(push(&i, &set, 2, 1), 1);
    assert_true(has(&i, "generations/zz/cluster/x/0000"));
    config_resources_finish(&set);
    etcd_intent_finish(&i);
}

static void what_is_large_is_cut(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    struct config_resources set = {0};
    struct strbuf text = {0};
    strbuf_puts(&text, "{" TABLE ", \"clusters\": [{\"name\": \"web\", \"endpoints\": [\"10.0.0.0:1\"");
    for (int n = 1; n < BIG; n++)
        strbuf_printf(&text, ", {\"address\": \"10.%d.%d.%d:80\", \"hostname\": \"a-name-of-some-length-%d\"}", n >> 16,
                      n >> 8 & 255, n & 255, n);
    strbuf_puts(&text, "]}");
    for (int n = 0; n < 300; n++)
        strbuf_printf(&text, ", {\"name\": \"c%d\", \"endpoints\": [\"127.0.0.1:1\"]}", n);
    strbuf_puts(&text, "]}");
    compile(text.p, &set);
    assert_true(push(&i, &set, 1, 0) > 5);
    assert_null(made(&i, &set));
    strbuf_finish(&text);
    config_resources_finish(&set);
    etcd_intent_finish(&i);
}

#define GENERATION "generations/g/"

static const char *with(const char *key, const char *value) {
    struct etcd_intent i = {0};
    static char wrong[512];
    put(&i, "current", "{\"format\": 1, \"version\": 3, \"generation\": \"g\", \"values\": 1}");
    put(&i, key, value);
    const char *text = made(&i, NULL);
    snprintf(wrong, sizeof wrong, "%s", text ? text : "");
    etcd_intent_finish(&i);
    return wrong;
}

#define assert_says(text, part) assert_non_null(strstr(text, part))

static void faults_name_key_and_field(void **state) {
    (void)state;
    assert_string_equal(with(GENERATION "cluster/web/0000", "{\"name\": \"web\"}"), "");
    const char *text = with(GENERATION "cluster/web/0000", "{\"name\": \"web\",\n \"endpoint\": []}");
    assert_says(text, "config/generations/g/cluster/web:2:");
    assert_says(text, "did you mean \"endpoints\"");
    assert_says(with(GENERATION "cluster/web/0000", "{\"name\": \"api\"}"), "its \"name\" is not that of its key");
    assert_says(with(GENERATION "cluster/web/0000", "{\"name\": \"web\"}, {\"name\": \"more\"}"), "a JSON object");
    assert_says(with(GENERATION "cluster/web/0000", ""), "a JSON object is expected");
    assert_says(with(GENERATION "cluster/web/0001", "{}"), "its parts are not");
    assert_says(with(GENERATION "cluster/web", "{}"), "a key has the form");
    assert_says(with(GENERATION "cluster/a b/0000", "{}"), "not a valid name");
    assert_says(with(GENERATION "settings/default/0000", "{}"), "a key has the form");
    assert_says(with(GENERATION "0000", "{}"), "a key has the form");
    assert_says(with("generations/other/cluster/web/0000", "{}"), "has 0 values");
    text = with(GENERATION "route-table/site/0000", "{\"name\": \"site\", " HOSTS("no") "}");
    assert_says(text, "config/generations/g/route-table/site:1:");
    assert_says(text, "hosts[0].rules[0].cluster");
}

static void faults_of_current(void **state) {
    (void)state;
    static const struct {
        const char *text, *path;
    } bad[] = {
        {"", "JSON object"}, {"[]", "JSON object"}, {"{}", "format"}, {"{\"format\": 2}", "format"},
        {"{\"format\": 1, \"version\": -1, \"generation\": \"g\", \"values\": 0}", "version"},
        {"{\"format\": 1, \"version\": 1, \"generation\": \"../g\", \"values\": 0}", "generation"},
        {"{\"format\": 1, \"version\": 1, \"generation\": \"g\"}", "values"},
        {"{\"format\": 1, \"version\": 1, \"generation\": \"g\", \"values\": 0, \"author\": 7}", "author"},
    };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        struct etcd_intent i = {0};
        put(&i, "current", bad[n].text);
        const char *text = made(&i, NULL);
        assert_non_null(text);
        assert_says(text, "config/current");
        assert_says(text, bad[n].path);
        etcd_intent_finish(&i);
    }
}

static void a_list_takes_away_what_it_lacks_at_its_end(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    etcd_intent_list(&i);
    put(&i, "a", "1");
    put(&i, "b", "1");
    etcd_intent_settled(&i);
    etcd_intent_list(&i);
    put(&i, "b", "1");
    assert_int_equal(i.by_key.count, 2);
    etcd_intent_list(&i); /* the first was given up */
    put(&i, "a", "2");
    assert_int_equal(i.by_key.count, 2);
    etcd_intent_settled(&i);
    assert_int_equal(i.by_key.count, 1);
    etcd_intent_removed(&i, STR("a"));
    etcd_intent_removed(&i, STR("b"));
    assert_true(i.by_key.count == 0 && i.bytes == 0);
    etcd_intent_finish(&i);
}

/* Is full but for so many bytes. */
static void leave_room(struct etcd_intent *i, size_t room) {
    i->bytes = ETCD_INTENT_MAX - room;
}

/* Not before one of them fits, and when one of them goes: what is left may be all that there is. */
static void what_is_left_out_is_wanted_when_there_is_room(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    size_t size = sizeof(struct etcd_entry) + strlen("small") + strlen("1");
    etcd_intent_list(&i);
    put(&i, "known", "1");
    size_t known = i.bytes;
    leave_room(&i, size - 1);
    put(&i, "larger", "1");
    put(&i, "small", "1");
    put(&i, "large", "12");
    etcd_intent_settled(&i);
    assert_true(i.left_out == 3 && !etcd_intent_is_list_due(&i));
    leave_room(&i, size);
    assert_true(etcd_intent_is_list_due(&i));
    leave_room(&i, size - 1);
    etcd_intent_removed(&i, STR("large"));
    put(&i, "small", "2");
    assert_true(etcd_intent_is_list_due(&i));
    etcd_intent_list(&i);
    i.bytes = known;
    put(&i, "known", "1");
    put(&i, "small", "2");
    etcd_intent_settled(&i);
    assert_true(i.left_out == 0 && !etcd_intent_is_list_due(&i));
    etcd_intent_finish(&i);
}

static void without_memory(void **state) {
    (void)state;
    struct etcd_intent i = {0};
    struct config_resources set = {0};
    compile(small, &set);
    assert_int_equal(push(&i, &set, 1, 0), 1);
    for (long nth = 0;; nth++) {
        struct etcd_made m;
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 1);
        int status = etcd_intent_make(&i, &m, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_true(status == 0 || !error_list_is_empty(&errors));
        etcd_made_finish(&m);
        error_list_finish(&errors);
        if (status == 0)
            break;
    }
    config_resources_finish(&set);
    etcd_intent_finish(&i);
}

/* One that was sent twice finds what it has done itself, also below a push that came upon it. */
static void what_has_counted_is_known(void **state) {
    (void)state;
    const struct etcd_pointer ours = {.generation = "02-a"};
    const struct etcd_write w = {.after = &ours};
    struct etcd_pointer now = {.generation = "02-a", .previous = {.name = "01-b"}};
    assert_true(etcd_write_has_counted(&w, &now));
    now = (struct etcd_pointer){.generation = "03-c", .previous = {.name = "02-a"}};
    assert_true(etcd_write_has_counted(&w, &now));
    now = (struct etcd_pointer){.generation = "02-c", .previous = {.name = "01-b"}};
    assert_false(etcd_write_has_counted(&w, &now));
    now = (struct etcd_pointer){.version = 0};
    assert_false(etcd_write_has_counted(&w, &now));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pushed_is_read), cmocka_unit_test(what_was_pushed_before_is_read),
        cmocka_unit_test(what_nobody_counts_goes), cmocka_unit_test(what_is_large_is_cut),
        cmocka_unit_test(faults_name_key_and_field), cmocka_unit_test(faults_of_current),
        cmocka_unit_test(a_list_takes_away_what_it_lacks_at_its_end),
        cmocka_unit_test(what_is_left_out_is_wanted_when_there_is_room), cmocka_unit_test(without_memory),
        cmocka_unit_test(what_has_counted_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
