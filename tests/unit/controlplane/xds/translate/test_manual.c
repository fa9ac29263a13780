/* docs/xds.md is what the tables of what is read say, field by field. HEADGATE_UPDATE=1 writes it. */
#include "tests/unit/common/cmocka_all.h"
#include "tests/unit/controlplane/config/support.h"

#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/value.h"

/* The messages that resources are made of; what they contain follows from their tables. */
static const struct {
    const char              *title;
    const struct xds_fields *table;
} roots[] = {
    {"Listeners", &xds_read_listener},
    {"Routes", &xds_read_routes},
    {"Clusters", &xds_read_cluster},
    {"Endpoints", &xds_read_endpoints},
    {"Secrets", &xds_read_secret},
    {"TLS towards clients", &xds_read_downstream_tls},
    {"HTTP filters that come by themselves", &xds_read_extension},
    {"Runtime layers", &xds_read_runtime},
};

static const char introduction[] =
    "# xDS: what is understood of a management server's messages\n"
    "\n"
    "Every field of every message that a management server can send for listeners, routes, clusters, endpoints,\n"
    "secrets, HTTP filters and runtime layers. This page is made of the tables that the translation itself goes by, so it\n"
    "cannot differ from what is done.\n"
    "\n"
    "| word | meaning |\n"
    "|---|---|\n"
    "| yes | it is read; what follows says how far, where that is not all |\n"
    "| ignored | it may be set, and changes nothing, for the reason that stands there |\n"
    "| **refused** | a resource in which it is set is not taken: it is NACKed with the path of the field, and the copy "
    "before it stays |\n"
    "\n"
    "A plain number, flag or text counts as set when it is not its default (0, false, empty). A value that is read but\n"
    "has no meaning here (a percentage that is no whole number, say) is refused in the same way, with what would be\n"
    "possible. Messages of types that stand nowhere on this page are refused by the name of their type.\n"
    "\n"
    "Names: those of a server become names of resources here. Letters, digits and `- _ . : /` stay; every other byte\n"
    "becomes `@` and two hexadecimal digits, so `outbound|80||web` is the cluster `outbound@7c80@7c@7cweb`. What would\n"
    "be longer than 253 bytes is cut, and ends in `@_` and a hash.\n";

/* What a client of the protocol must do, and the test of it. Where there are several, the others begin alike. */
static const struct {
    const char *rule, *test;
} rules[] = {
    {"the first request of a stream has the node, others need not",
     "rule_01_the_first_request_has_the_node"},
    {"each type has its version (accepted) and nonce (received)",
     "rule_02_each_type_has_its_version_and_nonce"},
    {"every response is answered once; a NACK has the reason and the version accepted before",
     "rule_03_every_response_has_one_answer"},
    {"a change of what is wanted has the latest nonce, and one that a response has crossed is said again; in delta none",
     "rule_04_a_change_has_the_latest_nonce_and_none_in_delta"},
    {"nonces end with the stream; the next begins with version and all names, in delta with the versions of what is held",
     "rule_05_nonces_do_not_survive_the_stream"},
    {"LDS, CDS and SRDS of the state of the world are complete: absent is deleted. Others are not",
     "rule_06_absence_deletes_clusters_and_no_endpoints"},
    {"wildcards: legacy by naming nothing, explicit by `*`; after a name, naming nothing means nothing",
     "rule_07_wildcards_legacy_and_explicit"},
    {"what was not asked for is ignored; a name twice refuses the whole response",
     "rule_08_unasked_is_ignored_and_twice_is_refused"},
    {"what does not come in time does not exist; the wait begins when the request has left, and anew with a stream, never "
     "for what is held",
     "rule_09_what_is_not_sent_does_not_exist"},
    {"the valid part of a refused response is used",
     "rule_10_the_valid_part_is_used"},
    {"data errors (what is refused, removed, or among `resource_errors`) keep the copy, unless the bootstrap file says "
     "`fail_on_data_errors`; an ignored deletion is logged once, and once when it clears",
     "rule_11_data_errors_keep_the_copy"},
    {"the end of a stream is an error only without a response; then back off",
     "rule_12_an_end_without_a_response_is_an_error"},
    {"any order of types is survived",
     "rule_13_any_order_is_survived"},
    {"times to live, and heartbeats that prolong them and say nothing else",
     "rule_14_a_heartbeat_prolongs_the_time_to_live"},
    {"requests are paced, and an ACK waits for no NACK",
     "rule_15_requests_are_paced"},
    {"a NACK keeps the stream; what a stream ended with is nobody's resource",
     "rule_16_a_nack_keeps_the_stream"},
    {"go-control-plane: all names in one request, a type in each, NACKs that are paced, since it sends again at once, and "
     "another stream for a name that does not come back",
     "rule_17_what_go_control_plane_does"},
};

enum { TABLES_MAX = 256, RULES = sizeof rules / sizeof *rules };

/* The tables below one root, each once, parents before children. */
struct chapter {
    const struct xds_fields *tables[TABLES_MAX];
    const char              *names[TABLES_MAX];     /* the field that led there; NULL: the root */
    size_t                   count;
};

static void add_table(struct chapter *c, const struct xds_fields *table, const char *name) {
    for (size_t i = 0; i < c->count; i++)
        if (c->tables[i] == table)
            return;
    assert_true(c->count < TABLES_MAX);
    c->tables[c->count] = table;
    c->names[c->count++] = name;
}

static void add_tables_of_row(struct chapter *c, const struct xds_field *row) {
    if (row->inside && row->inside != &xds_everything)
        add_table(c, row->inside, row->name);
    for (size_t i = 0; row->types && row->types[i]; i++)
        add_table(c, row->types[i], row->name);
}

static void collect(struct chapter *c, const struct xds_fields *root) {
    add_table(c, root, NULL);
    for (size_t i = 0; i < c->count; i++)
        for (const struct xds_field *row = c->tables[i]->items; row && row->name; row++)
            add_tables_of_row(c, row);
}

static const struct xds_field *row_of(const struct xds_fields *table, const char *name) {
    const struct xds_field *row = table->items;
    while (row->name && strcmp(row->name, name) != 0)
        row++;
    return row->name ? row : NULL;
}

static void print_types(const struct xds_field *row, struct strbuf *out) {
    for (size_t i = 0; row->types[i]; i++)
        strbuf_printf(out, "%s`%s`", i ? ", " : ": ", row->types[i]->type->short_name);
}

static void print_row(const struct xds_field *row, const char *name, struct strbuf *out) {
    strbuf_printf(out, "| `%s` | %s", name, !row ? "**refused**" : row->ignored ? "ignored" : "yes");
    if (row && row->types)
        print_types(row, out);
    if (row && (row->ignored || row->note))
        strbuf_printf(out, ": %s", row->ignored ? row->ignored : row->note);
    strbuf_puts(out, " |\n");
}

static void print_table(const struct xds_fields *table, const char *name, struct strbuf *out) {
    strbuf_printf(out, "\n### %s", table->type->short_name);
    if (name)
        strbuf_printf(out, " (`%s`)", name);
    strbuf_printf(out, "\n\n`%s`\n\n| field | |\n|---|---|\n", table->type->name);
    for (unsigned i = 0; i < table->type->n_fields; i++)
        print_row(row_of(table, table->type->fields[i].name), table->type->fields[i].name, out);
}

static void print_chapter(const char *title, const struct xds_fields *root, struct strbuf *out) {
    struct chapter c = {.count = 0};
    collect(&c, root);
    strbuf_printf(out, "\n## %s\n", title);
    for (size_t i = 0; i < c.count; i++)
        print_table(c.tables[i], c.names[i], out);
}

static void print_rules(struct strbuf *out) {
    strbuf_puts(out, "\n## The protocol\n\n"
                     "What a client must do, in the state of the world and in delta, with one stream or one for each type.\n"
                     "Each has its test in `tests/unit/controlplane/xds/test_rules.c`.\n\n"
                     "| | rule | test |\n|---|---|---|\n");
    for (size_t i = 0; i < RULES; i++)
        strbuf_printf(out, "| %zu | %s | `%s` |\n", i + 1, rules[i].rule, rules[i].test);
}

static void every_rule_has_a_test(void **state) {
    struct strbuf tests = {0}, words = {0};
    (void)state;
    assert_int_equal(RULES, 17);
    assert_true(read_text("tests/unit/controlplane/xds/test_rules.c", &tests));
    for (size_t i = 0; i < RULES; i++) {
        strbuf_reset(&words);
        strbuf_printf(&words, "rule_%02zu_", i + 1);
        assert_true(str_starts(str_of(rules[i].test), strbuf_str(&words)));
        strbuf_reset(&words);
        strbuf_printf(&words, "cmocka_unit_test(%s)", rules[i].test);
        if (!strstr(strbuf_str(&tests).p, strbuf_str(&words).p))
            fail_msg("nothing tests rule %zu: %s", i + 1, rules[i].test);
    }
    strbuf_finish(&words);
    strbuf_finish(&tests);
}

static void the_manual_is_what_the_tables_say(void **state) {
    struct strbuf out = {0};
    (void)state;
    strbuf_puts(&out, introduction);
    print_rules(&out);
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        print_chapter(roots[i].title, roots[i].table, &out);
    assert_equals_file(strbuf_str(&out), "docs/xds.md");
    strbuf_finish(&out);
}

static void every_table_is_sound(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        struct chapter c = {.count = 0};
        collect(&c, roots[i].table);
        for (size_t t = 0; t < c.count; t++) {
            const char *fault = xds_fields_fault(c.tables[t]);
            if (fault)
                fail_msg("%s: %s", c.tables[t]->type->name, fault);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_is_sound),
        cmocka_unit_test(every_rule_has_a_test),
        cmocka_unit_test(the_manual_is_what_the_tables_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
