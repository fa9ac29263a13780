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

enum { TABLES_MAX = 256 };

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

static void the_manual_is_what_the_tables_say(void **state) {
    struct strbuf out = {0};
    (void)state;
    strbuf_puts(&out, introduction);
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
        cmocka_unit_test(the_manual_is_what_the_tables_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
