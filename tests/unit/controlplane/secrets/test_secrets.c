/* Secrets from files: salts, pairs of certificates, ticket keys by the clock, what is kept, and allocations that fail. */
#include "maker.h"

#include "common/alloc.h"

static const uint64_t HOUR = 3600000000;

static void the_same_content_keeps_its_id(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    folder_pair(f, "a", "DNS:a.example", false);
    wish_pair(&w, "a", "a.pem", "a.key");
    struct made first = make(f, &w, NULL, 0, false), again = make(f, &w, &first.set, 0, false);
    struct made other = make(f, &w, NULL, 0, false);
    assert_int_equal(first.status, 0);
    assert_true(resource_id_equal(&first.set.items[0].id, &again.set.items[0].id));
    /* Another salt, another id: the id tells nothing of the content. */
    assert_false(resource_id_equal(&first.set.items[0].id, &other.set.items[0].id));
    folder_pair(f, "a", "DNS:a.example", false);
    struct made renewed = make(f, &w, &first.set, 0, false);
    Headgate__Secret *x = made_message(&first, "a"), *y = made_message(&renewed, "a");
    assert_int_equal(x->salt.len, 32);
    assert_memory_not_equal(x->salt.data, y->salt.data, 32);
    assert_memory_not_equal(x->key_pair->private_key.data, y->key_pair->private_key.data, x->key_pair->private_key.len);
    headgate__secret__free_unpacked(x, NULL);
    headgate__secret__free_unpacked(y, NULL);
    made_finish(&renewed);
    made_finish(&other);
    made_finish(&again);
    made_finish(&first);
}

static void kinds_of_keys_are_offered_together(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    folder_pair(f, "ec", "DNS:a.example,DNS:B.example", false);
    folder_pair(f, "ec2", "DNS:a.example,DNS:b.example", false);
    folder_pair(f, "rsa", "DNS:b.example,DNS:a.example", true);
    folder_pair(f, "less", "DNS:a.example", true);
    wish_pair(&w, "ec", "ec.pem", "ec.key");
    wish_pair(&w, "ec2", "ec2.pem", "ec2.key");
    wish_pair(&w, "less", "less.pem", "less.key");
    wish_pair(&w, "rsa", "rsa.pem", "rsa.key");
    struct made m = make(f, &w, NULL, 0, false);
    assert_int_equal(m.status, 0);
    Headgate__Secret *ec = made_message(&m, "ec"), *ec2 = made_message(&m, "ec2"), *rsa = made_message(&m, "rsa"),
                     *less = made_message(&m, "less");
    assert_non_null(ec->key_pair->other);
    assert_null(ec->key_pair->other->other);
    assert_int_equal(ec->key_pair->other->private_key.len, rsa->key_pair->private_key.len);
    assert_memory_equal(rsa->key_pair->other->chain[0].data, ec->key_pair->chain[0].data, ec->key_pair->chain[0].len);
    assert_null(ec2->key_pair->other);
    assert_null(less->key_pair->other);
    Headgate__Secret *all[] = {ec, ec2, rsa, less};
    for (int i = 0; i < 4; i++)
        headgate__secret__free_unpacked(all[i], NULL);
    /* One of them cannot be read: the other goes on being offered beside the rest of it. */
    folder_write(f, "rsa.key", "");
    struct made later = make(f, &w, &m.set, 0, true);
    assert_int_equal(later.status, 0);
    assert_int_equal(later.warnings.count, 1);
    for (size_t i = 0; i < m.set.count; i++)
        assert_true(resource_id_equal(&m.set.items[i].id, &later.set.items[i].id));
    made_finish(&later);
    made_finish(&m);
}

static void what_cannot_be_made_stays_only_where_that_is_wanted(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    folder_pair(f, "a", "DNS:a.example", false);
    wish_pair(&w, "a", "a.pem", "a.key");
    struct made first = make(f, &w, NULL, 0, false);
    folder_write(f, "a.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
    struct made strict = make(f, &w, &first.set, 0, false), kind = make(f, &w, &first.set, 0, true);
    struct made nothing = make(f, &w, NULL, 0, true);
    assert_int_equal(strict.status, -1);
    assert_string_equal(strict.errors.items[0].message, "a.key:1: the block has no END");
    assert_string_equal(strict.errors.items[0].path, "tls.certificates[0].key");
    assert_int_equal(kind.status, 0);
    assert_true(resource_id_equal(&first.set.items[0].id, &kind.set.items[0].id));
    assert_int_equal(kind.warnings.count, 1);
    assert_int_equal(nothing.status, -1);
    /* Later the certificate has expired: it stays, and a new push of it is refused. */
    folder_pair(f, "a", "DNS:a.example", false);
    struct made late = make(f, &w, &first.set, clock_realtime_us() + 100 * 24 * HOUR, false);
    assert_int_equal(late.status, -1);
    assert_non_null(strstr(late.errors.items[0].message, "expired on"));
    made_finish(&late);
    made_finish(&nothing);
    made_finish(&kind);
    made_finish(&strict);
    made_finish(&first);
}

/* ---- files that have not changed ---- */

static void unchanged_files_are_not_read(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    uint64_t now = clock_realtime_us();
    folder_pair(f, "a", "DNS:a.example", false);
    folder_pair(f, "b", "DNS:b.example", false);
    wish_pair(&w, "a", "a.pem", "a.key");
    wish_pair(&w, "b", "b.pem", "b.key");
    wish_tickets(&w, HOUR, 2);
    struct made m = make(f, &w, NULL, now, false);
    const struct config_resources previous = {.items = m.set.items, .count = m.set.count};
    struct secret_source source = {.root = &f->root, .previous = &previous, .stamps = &m.set.stamps, .now = now};
    assert_int_equal(m.set.stamps.by_name.count, 3);
    assert_true(secrets_are_current(&source, &w.secrets, m.set.next));
    source.now = m.set.next;
    assert_false(secrets_are_current(&source, &w.secrets, m.set.next));
    source.now = now;
    folder_pair(f, "b", "DNS:b.example", false);
    assert_false(secrets_are_current(&source, &w.secrets, m.set.next));
    struct secret_set set = {0};
    assert_int_equal(secrets_make(&source, &w.secrets, &set, &m.errors, &m.warnings), 0);
    assert_true(resource_id_equal(&set.items[0].id, &m.set.items[0].id));
    assert_false(resource_id_equal(&set.items[1].id, &m.set.items[1].id));
    assert_true(resource_id_equal(&set.items[2].id, &m.set.items[2].id));
    secret_set_finish(&set);
    /* What has not changed can have expired. */
    source.now = now + 100 * 24 * HOUR;
    assert_int_equal(secrets_make(&source, &w.secrets, &set, &m.errors, &m.warnings), -1);
    made_finish(&m);
}

static struct str folder_read(const struct folder *f, const char *name) {
    static char rooms[4][8192];
    static int number;
    char path[256], *room = rooms[number++ % 4];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(room, 1, sizeof rooms[0] - 1, file);
    fclose(file);
    room[n] = '\0';
    return (struct str){room, n};
}

static void exchange_bytes(struct config_resource *a, struct config_resource *b) {
    struct config_resource first = *a;
    a->bytes = b->bytes, a->size = b->size, a->id = b->id;
    b->bytes = first.bytes, b->size = first.size, b->id = first.id;
}

/* Files that were written again, or came with a push again. What they were before is made up, so that it can be told from
 * what they would be made into. */
static void known_content_is_not_checked_again(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    folder_pair(f, "a", "DNS:a.example", false);
    folder_pair(f, "b", "DNS:b.example", true);
    wish_pair(&w, "a", "a.pem", "a.key");
    wish_pair(&w, "b", "embedded:b.pem", "embedded:b.key");
    const struct secret_embedded embedded[] = {{"b.pem", folder_read(f, "b.pem")}, {"b.key", folder_read(f, "b.key")}};
    const struct config_resources nothing = {0};
    struct secret_source source = {.root = &f->root, .embedded = embedded, .embedded_count = 2, .previous = &nothing,
                                   .now = clock_realtime_us()};
    struct made m = {0};
    struct secret_set again = {0};
    assert_int_equal(secrets_make(&source, &w.secrets, &m.set, &m.errors, &m.warnings), 0);
    exchange_bytes(&m.set.items[0], &m.set.items[1]);
    const struct config_resources previous = {.items = m.set.items, .count = m.set.count};
    source.previous = &previous;
    source.stamps = &m.set.stamps;
    folder_write(f, "a.pem", folder_read(f, "a.pem").p);
    assert_int_equal(secrets_make(&source, &w.secrets, &again, &m.errors, &m.warnings), 0);
    for (int i = 0; i < 2; i++)
        assert_true(resource_id_equal(&again.items[i].id, &m.set.items[i].id));
    /* Another content is looked at. */
    folder_pair(f, "a", "DNS:a.example", false);
    struct secret_set changed = {0};
    source.stamps = &again.stamps;
    assert_int_equal(secrets_make(&source, &w.secrets, &changed, &m.errors, &m.warnings), 0);
    assert_false(resource_id_equal(&changed.items[0].id, &m.set.items[0].id));
    assert_true(resource_id_equal(&changed.items[1].id, &m.set.items[1].id));
    secret_set_finish(&changed);
    source.now += 100 * 24 * HOUR; /* what is known can have expired */
    assert_int_equal(secrets_make(&source, &w.secrets, &changed, &m.errors, &m.warnings), -1);
    secret_set_finish(&again);
    made_finish(&m);
}

/* ---- ticket keys ---- */

static size_t key_count(const struct made *m, uint64_t *ret_newest) {
    Headgate__Secret *s = made_message(m, CONFIG_TICKET_KEYS);
    size_t n = s->ticket_keys->n_keys;
    *ret_newest = s->ticket_keys->keys[0]->created_at;
    for (size_t i = 0; i < n; i++) {
        const Headgate__TicketKey *k = s->ticket_keys->keys[i];
        assert_true(k->name.len == 16 && k->encryption_key.len == 32 && k->mac_key.len == 32);
        assert_true(i == 0 || k->created_at < s->ticket_keys->keys[i - 1]->created_at);
    }
    headgate__secret__free_unpacked(s, NULL);
    return n;
}

static void ticket_keys_change_by_the_clock(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    uint64_t start = clock_realtime_us(), newest;
    wish_tickets(&w, 12 * HOUR, 3);
    struct made m = make(f, &w, NULL, start, false);
    assert_int_equal(key_count(&m, &newest), 1);
    assert_int_equal(newest, start);
    assert_int_equal(m.set.next, start + 12 * HOUR);
    for (unsigned i = 1; i <= 4; i++) {
        struct made early = make(f, &w, &m.set, start + i * 12 * HOUR - 1, false);
        assert_true(resource_id_equal(&early.set.items[0].id, &m.set.items[0].id));
        made_finish(&early);
        struct made next = make(f, &w, &m.set, start + i * 12 * HOUR, false);
        assert_int_equal(key_count(&next, &newest), i < 2 ? 2 : 3);
        assert_int_equal(newest, start + i * 12 * HOUR);
        made_finish(&m);
        m = next;
    }
    /* A clock that was set back makes no key. */
    struct made back = make(f, &w, &m.set, start, false);
    assert_true(resource_id_equal(&back.set.items[0].id, &m.set.items[0].id));
    made_finish(&back);
    /* Fewer are kept from now on. */
    w.secrets.ticket_keep = 1;
    struct made fewer = make(f, &w, &m.set, start + 48 * HOUR, false);
    assert_int_equal(key_count(&fewer, &newest), 1);
    assert_int_equal(newest, start + 48 * HOUR);
    made_finish(&fewer);
    made_finish(&m);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state) {
    const struct folder *f = *state;
    struct wish w = {0};
    uint64_t now = clock_realtime_us();
    folder_pair(f, "ec", "DNS:a.example", false);
    folder_pair(f, "rsa", "DNS:a.example", true);
    wish_pair(&w, "ec", "ec.pem", "ec.key");
    wish_pair(&w, "rsa", "rsa.pem", "rsa.key");
    wish_tickets(&w, HOUR, 3);
    struct made before = make(f, &w, NULL, now - 2 * HOUR, false);
    assert_int_equal(before.status, 0);
    for (long n = 0;; n++) {
        hg_alloc_fail_at(n, 0);
        uint64_t count = hg_alloc_count();
        struct made m = make(f, &w, &before.set, now, n % 2);
        bool has_failed = hg_alloc_count() - count > (uint64_t)n;
        hg_alloc_fail_at(-1, 0);
        if (m.status < 0)
            assert_false(error_list_is_empty(&m.errors));
        else
            assert_int_equal(m.set.count, 3);
        made_finish(&m);
        if (!has_failed)
            break;
    }
    made_finish(&before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_content_keeps_its_id, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(kinds_of_keys_are_offered_together, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_made_stays_only_where_that_is_wanted, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(unchanged_files_are_not_read, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(known_content_is_not_checked_again, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(ticket_keys_change_by_the_clock, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
