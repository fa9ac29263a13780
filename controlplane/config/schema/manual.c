#include "controlplane/config/schema/catalog.h"
#include "controlplane/config/config.h"

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "This reference is generated from the schema that reads a configuration. `docs/headgate.schema.json` says the "
    "same to editors.\n"
    "\n"
    "A configuration is YAML 1.2 or JSON:\n"
    "\n"
    "```yaml\n"
    "listeners:\n"
    "  - name: web\n"
    "    address: 127.0.0.1:8080\n"
    "    route-table: site\n"
    "\n"
    "route-tables:\n"
    "  - name: site\n"
    "    hosts:\n"
    "      - domains: [\"*\"]\n"
    "        rules:\n"
    "          - match: {path: {prefix: /api/}}\n"
    "            cluster: api\n"
    "            timeouts: {request: 15s}\n"
    "          - respond: {status: 404, body: \"no such page\\n\"}\n"
    "\n"
    "clusters:\n"
    "  - name: api\n"
    "    endpoints: [127.0.0.1:9001, {address: 127.0.0.1:9002, weight: 3}]\n"
    "```\n"
    "\n"
    "`headgate validate FILE` checks it. An error names file, line, column and path, says what was expected, and "
    "suggests the nearest known "
    "name; all errors of all files are reported. A key that is not listed here is an error.\n"
    "\n"
    "## Values\n"
    "\n"
    "- A **duration** is a whole number with a unit: `us`, `ms`, `s`, `m`, `h` or `d`. Where it says so, `off` "
    "switches it off.\n"
    "- A **size** is a whole number with a unit: `B`, `KiB`, `MiB`, `GiB` or `TiB`; without a unit it is bytes.\n"
    "- Scalars follow the core schema of YAML 1.2: `yes`, `on` and `012` are texts, and what is quoted is always a text.\n"
    "- Where an object has a *short form*, one value may stand for the whole mapping.\n"
    "- `${NAME}` in a value is replaced by the environment variable, `${NAME:-default}` has a default for a variable "
    "that is not set "
    "or empty, and `$${` is a plain `${`. A value never becomes more than a value: it cannot add keys. Variables are "
    "those of the "
    "process that reads the files. Inside of `{}` and `[]`, and in JSON, such a value is quoted; it may be a number all "
    "the same.\n"
    "- Anchors and aliases of YAML can be used; tags, merge keys and several documents in a file cannot.\n"
    "\n"
    "A file has at most 16 MiB, a configuration 64 MiB, 1,000 files and 2,000,000 values; nesting ends at 64 levels, "
    "includes at 16.\n";

/* ---- cells of a table ---- */

static void add_cell(struct strbuf *out, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '|')
            strbuf_putc(out, '\\');
        strbuf_putc(out, text.p[i]);
    }
}

static void add_link(const struct schema_object *o, struct strbuf *out) {
    strbuf_printf(out, "[%s](#%s)", o->title, o->title);
}

/* What stands in front of the value of a key that takes several. */
static const char *list_prefix(const struct schema_key *k) {
    if (k->flags & SCHEMA_ONE_OK)
        return "one, or a list: ";
    if (k->flags & SCHEMA_NAMED)
        return "a mapping by name, or a list: ";
    return k->flags & SCHEMA_LIST || k->type == SCHEMA_RESOURCES ? "a list: " : "";
}

static void add_value(const struct schema_key *k, struct strbuf *out) {
    struct strbuf expected = {0};
    strbuf_puts(out, list_prefix(k));
    if (k->object) {
        add_link(k->object, out);
    } else {
        schema_expected(k, &expected);
        add_cell(out, strbuf_str(&expected));
        out->failed |= expected.failed;
    }
    strbuf_finish(&expected);
}

static void add_default(const struct schema_object *o, const struct schema_key *k, struct strbuf *out) {
    struct strbuf text = {0};
    if (k->flags & SCHEMA_REQUIRED)
        strbuf_puts(out, "**required**");
    else if (catalog_default(o, k, false, &text))
        strbuf_printf(out, "`%s`", strbuf_str(&text).p);
    else if (k->absent)
        strbuf_printf(out, k->absent[0] == '[' ? "`%s`" : "%s", k->absent);
    out->failed |= text.failed;
    strbuf_finish(&text);
}

static void add_scopes(const struct schema_key *k, struct strbuf *out) {
    if (k->scopes == (SCOPE_SETTINGS | SCOPE_LISTENER))
        strbuf_puts(out, " Also in a listener.");
    else if (k->scopes == (SCOPE_SETTINGS | SCOPE_RULE))
        strbuf_puts(out, " Also in a rule.");
    else if (k->scopes == SCOPE_LISTENER)
        strbuf_puts(out, " Only in a listener.");
}

static void add_words(const struct schema_key *k, struct strbuf *out) {
    for (const struct schema_word *w = k->words; w && w->word && w->value != SCHEMA_LATER; w++)
        if (w->description)
            strbuf_printf(out, "<br>`%s`: %s", w->word, w->description);
}

static void add_row(const struct schema_object *o, const struct schema_key *k, struct strbuf *out) {
    strbuf_printf(out, "| `%s`", k->key);
    if (k->one_as)
        strbuf_printf(out, ", `%s`", k->one_as);
    strbuf_puts(out, " | ");
    add_value(k, out);
    strbuf_puts(out, " | ");
    add_default(o, k, out);
    strbuf_puts(out, " | ");
    strbuf_puts(out, k->description);
    add_scopes(k, out);
    add_words(k, out);
    strbuf_puts(out, " |\n");
}

/* ---- sections ---- */

static void add_section(const struct schema_object *o, struct strbuf *out) {
    strbuf_printf(out, "\n## %s\n\n%s\n", o->title, o->description);
    if (o->shorthand)
        strbuf_printf(out, "\nShort form: the `%s` alone.\n", o->shorthand);
    strbuf_puts(out, "\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for (const struct schema_key *k = o->keys; k->key; k++)
        add_row(o, k, out);
}

/* An object that stands in several places has one section. */
static bool is_first_of_object(const struct catalog *c, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (c->entries[i].object == c->entries[index].object)
            return false;
    return true;
}

int config_reference_markdown(struct strbuf *out) {
    struct catalog catalog;
    catalog_collect(&catalog, &schema_root);
    strbuf_puts(out, introduction);
    for (size_t i = 0; i < catalog.count; i++)
        if (is_first_of_object(&catalog, i))
            add_section(catalog.entries[i].object, out);
    add_section(&schema_endpoint_set, out);
    strbuf_puts(out, "\n`headgate set endpoint-set/NAME FILE` takes this form and leaves the rest of the cluster as "
                     "it is.\n");
    return out->failed ? -1 : 0;
}
