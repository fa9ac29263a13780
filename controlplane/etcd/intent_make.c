/* A generation as one configuration: its values joined as a file would have them, so that the same rules hold. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/config/schema/schema.h"
#include "controlplane/etcd/intent_internal.h"

#define SOURCE "etcd"                   /* the name of the file that there is not */

/* One resource of the generation. */
struct piece {
    Headgate__Kind kind;
    struct str     name;
    struct str     key;                 /* "KIND/NAME" */
    struct strbuf  text;
    unsigned       line;                /* of the joined text, at which it begins */
};

struct making {
    const struct etcd_intent *intent;
    struct etcd_made         *made;
    struct error_list        *errors;
    const struct etcd_entry **entries;  /* of the generation, sorted */
    size_t                    entry_count, entry_capacity;
    struct piece             *pieces;
    size_t                    piece_count, piece_capacity;
    struct strbuf             text;
    unsigned                  line;
};

static int refuse(struct making *m, enum error_code code, struct str key, const char *message) {
    struct strbuf file = {0};
    strbuf_printf(&file, ETCD_CONFIG ETCD_GENERATIONS "%s/%.*s", m->made->pointer.generation, STR_FMT(key));
    struct error *e = error_addf(m->errors, code, "%s", message);
    error_set_place(m->errors, e, file.failed ? NULL : file.p, 0, 0);
    strbuf_finish(&file);
    return -1;
}

static int out_of_memory(struct making *m) {
    error_addf(m->errors, ERROR_MEMORY, "no memory for the configuration of etcd");
    return -1;
}

/* ---- what belongs to it ---- */

static int compare_entries(const void *a, const void *b) {
    return str_cmp((*(const struct etcd_entry *const *)a)->key, (*(const struct etcd_entry *const *)b)->key);
}

/* Their keys are cut: "KIND/NAME/PART" is left. */
static int collect(struct making *m, size_t prefix_n, const char *prefix) {
    for (const struct etcd_entry *e = m->intent->first; e; e = e->next) {
        if (!str_starts(e->key, (struct str){prefix, prefix_n}))
            continue;
        if (hg_grow(&m->entries, &m->entry_capacity, m->entry_count + 1, sizeof(const struct etcd_entry *)) < 0)
            return out_of_memory(m);
        m->entries[m->entry_count++] = e;
    }
    if (m->entry_count)
        qsort(m->entries, m->entry_count, sizeof *m->entries, compare_entries);
    if (m->entry_count == m->made->pointer.values)
        return 0;
    struct error *e = error_addf(m->errors, ERROR_INTEGRITY, "generation %s has %zu values, and " ETCD_CONFIG ETCD_CURRENT
                                 " says %llu", m->made->pointer.generation, m->entry_count,
                                 (unsigned long long)m->made->pointer.values);
    error_set_place(m->errors, e, ETCD_CONFIG ETCD_CURRENT, 0, 0);
    return -1;
}

/* ---- pieces ---- */

/* Cuts at the last slash. */
static struct str cut_part(struct str *key) {
    size_t n = key->n;
    while (n > 0 && key->p[n - 1] != '/')
        n--;
    struct str part = {key->p + n, key->n - n};
    key->n = n ? n - 1 : 0;
    return part;
}

static int begin_piece(struct making *m, struct str key) {
    struct str name = key, kind = str_cut(&name, '/');
    if (hg_grow(&m->pieces, &m->piece_capacity, m->piece_count + 1, sizeof *m->pieces) < 0)
        return out_of_memory(m);
    struct piece *p = &m->pieces[m->piece_count];
    *p = (struct piece){.kind = kind_from_name(kind), .name = name, .key = key};
    if (!name.p || !schema_of_kind(p->kind) || p->kind == HEADGATE__KIND__KIND_SETTINGS ||
        p->kind == HEADGATE__KIND__KIND_ENDPOINT_SET)
        return refuse(m, ERROR_SYNTAX, key, "a key has the form KIND/NAME/0000, with a KIND such as cluster");
    if (!resource_name_is_valid(name))
        return refuse(m, ERROR_SYNTAX, key, "not a valid name of a resource");
    m->piece_count++;
    return 0;
}

static int add_entry(struct making *m, struct str key, struct str value, size_t *part) {
    char expected[16];
    struct str number = cut_part(&key);
    bool is_next = m->piece_count && str_eq(m->pieces[m->piece_count - 1].key, key);
    *part = is_next ? *part + 1 : 0;
    snprintf(expected, sizeof expected, "%04zu", *part);
    if (!is_next && begin_piece(m, key) < 0)
        return -1;
    if (*part >= ETCD_PARTS_MAX || !str_eq(number, str_of(expected)))
        return refuse(m, ERROR_INTEGRITY, key, "its parts are not 0000, 0001 and so on");
    strbuf_add_str(&m->pieces[m->piece_count - 1].text, value);
    return m->pieces[m->piece_count - 1].text.failed ? out_of_memory(m) : 0;
}

/* An object, and nothing behind it: it cannot change what stands around it. */
static int check_piece(struct making *m, const struct piece *p) {
    struct str text = strbuf_str(&p->text);
    cJSON *o = cJSON_ParseWithLengthOpts(text.p, text.n + 1, NULL, true);
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "name");
    bool is_object = cJSON_IsObject(o), is_named = cJSON_IsString(name) && str_eq(str_of(name->valuestring), p->name);
    cJSON_Delete(o);
    if (!is_object || memchr(text.p, '\0', text.n))
        return refuse(m, ERROR_SYNTAX, p->key, "a JSON object is expected");
    return is_named ? 0 : refuse(m, ERROR_CONFLICT, p->key, "its \"name\" is not that of its key");
}

static int make_pieces(struct making *m, size_t prefix_n) {
    int status = 0;
    size_t part = 0;
    for (size_t i = 0; i < m->entry_count && status == 0; i++) {
        struct str key = {m->entries[i]->key.p + prefix_n, m->entries[i]->key.n - prefix_n};
        status = add_entry(m, key, m->entries[i]->value, &part);
    }
    for (size_t i = 0; i < m->piece_count && status == 0; i++)
        status = check_piece(m, &m->pieces[i]);
    return status;
}

/* ---- the joined text ---- */

static void add_text(struct making *m, struct str text) {
    strbuf_add_str(&m->text, text);
    for (size_t i = 0; i < text.n; i++)
        m->line += text.p[i] == '\n';
}

static void join_kind(struct making *m, const struct schema_key *k, bool *is_first_kind) {
    bool is_first = true;
    for (size_t i = 0; i < m->piece_count; i++) {
        struct piece *p = &m->pieces[i];
        if (p->kind != k->kind)
            continue;
        if (is_first) {
            add_text(m, *is_first_kind ? STR("\"") : STR(",\""));
            add_text(m, str_of(k->key));
            add_text(m, STR("\": [\n"));
        } else {
            add_text(m, STR(",\n"));
        }
        p->line = m->line;
        add_text(m, strbuf_str(&p->text));
        add_text(m, STR("\n"));
        is_first = false;
    }
    if (is_first)
        return;
    add_text(m, STR("]\n"));
    *is_first_kind = false;
}

static int join(struct making *m) {
    bool is_first = true;
    m->line = 1;
    add_text(m, STR("{\n"));
    for (const struct schema_key *k = schema_root.keys; k->key; k++)
        if (k->type == SCHEMA_RESOURCES)
            join_kind(m, k, &is_first);
    add_text(m, STR("}\n"));
    return m->text.failed ? out_of_memory(m) : 0;
}

/* ---- errors of the joined text become those of keys ---- */

static const struct piece *piece_at(const struct making *m, unsigned line) {
    const struct piece *found = NULL;
    for (size_t i = 0; i < m->piece_count; i++)
        if (m->pieces[i].line <= line && (!found || m->pieces[i].line > found->line))
            found = &m->pieces[i];
    return found;
}

/* "clusters[2].timeouts.connect" -> "timeouts.connect" */
static const char *path_below(const char *path) {
    const char *end = path ? strchr(path, ']') : NULL;
    return !end ? path : end[1] == '.' ? end + 2 : end + 1;
}

static void tell(struct making *m, const struct error *e) {
    const struct piece *p = e->file && e->line ? piece_at(m, e->line) : NULL;
    struct error copy = *e;
    struct strbuf file = {0};
    if (p) {
        strbuf_printf(&file, ETCD_CONFIG ETCD_GENERATIONS "%s/%.*s", m->made->pointer.generation, STR_FMT(p->key));
        copy.line = e->line - p->line + 1;
        copy.path = path_below(e->path);
    }
    copy.file = file.p && !file.failed ? file.p : NULL;
    error_list_add(m->errors, &copy);
    strbuf_finish(&file);
}

/* ---- the whole ---- */

/* Each node has settings of its own. */
static int take(struct making *m, const struct config_resources *all) {
    for (size_t i = 0; i < all->count; i++) {
        const struct config_resource *r = &all->items[i];
        if (r->kind != HEADGATE__KIND__KIND_SETTINGS &&
            config_resources_add(&m->made->set, r->kind, str_of(r->name), r->bytes, r->size) < 0)
            return out_of_memory(m);
    }
    config_resources_sort(&m->made->set);
    return 0;
}

static int compile(struct making *m) {
    struct config_sources sources = {0};
    struct config_resources all = {0};
    struct error_list errors = {0}, warnings = {0};
    int status = config_sources_add(&sources, STR(SOURCE), strbuf_str(&m->text), &errors);
    if (status == 0)
        status = config_compile(&sources, NULL, &all, &errors, &warnings);
    for (size_t i = 0; i < errors.count; i++)
        tell(m, &errors.items[i]);
    m->errors->dropped += errors.dropped;
    if (status == 0)
        status = take(m, &all);
    config_resources_finish(&all);
    config_sources_finish(&sources);
    error_list_finish(&errors);
    error_list_finish(&warnings);
    return status;
}

static int read_current(struct making *m) {
    const struct etcd_entry *current = map_get(&m->intent->by_key, STR(ETCD_CURRENT));
    if (m->intent->left_out) {
        error_addf(m->errors, ERROR_RANGE, "there are more than %d MiB below " ETCD_CONFIG, ETCD_INTENT_MAX >> 20);
        return -1;
    }
    if (!current) {
        error_addf(m->errors, ERROR_MISSING, "there is no key " ETCD_CONFIG ETCD_CURRENT ": nothing was pushed to etcd");
        return -1;
    }
    return etcd_pointer_parse(current->value, &m->made->arena, &m->made->pointer, m->errors);
}

static int turn_back(struct making *m) {
    const struct etcd_generation previous = m->made->pointer.previous;
    if (!previous.version) {
        error_addf(m->errors, ERROR_MISSING, "etcd has no version from before that could be gone back to");
        return -1;
    }
    m->made->pointer = (struct etcd_pointer){.version = previous.version, .values = previous.values, .author = "",
                                             .message = ""};
    memcpy(m->made->pointer.generation, previous.name, sizeof previous.name);
    return 0;
}

static int make(struct making *m, bool is_previous) {
    char prefix[sizeof ETCD_GENERATIONS + ETCD_GENERATION_MAX + 1];
    if (read_current(m) < 0 || (is_previous && turn_back(m) < 0))
        return -1;
    int n = snprintf(prefix, sizeof prefix, ETCD_GENERATIONS "%s/", m->made->pointer.generation);
    if (collect(m, (size_t)n, prefix) < 0 || make_pieces(m, (size_t)n) < 0 || join(m) < 0)
        return -1;
    return compile(m);
}

uint64_t etcd_intent_mark(const struct etcd_intent *i) {
    const struct etcd_entry *current = map_get(&i->by_key, STR(ETCD_CURRENT));
    struct etcd_pointer pointer = {0};
    struct error_list errors = {0};
    struct arena arena = {0};
    char prefix[sizeof ETCD_GENERATIONS + ETCD_GENERATION_MAX + 1];
    uint64_t mark = current ? map_hash(current->value) : 0;
    if (current && etcd_pointer_parse(current->value, &arena, &pointer, &errors) == 0) {
        int n = snprintf(prefix, sizeof prefix, ETCD_GENERATIONS "%s/", pointer.generation);
        for (const struct etcd_entry *e = i->first; e; e = e->next)
            if (str_starts(e->key, (struct str){prefix, (size_t)n}))
                mark += map_hash(e->key) ^ (map_hash(e->value) * 31);
    }
    error_list_finish(&errors);
    arena_finish(&arena);
    return mark + i->left_out;
}

static int make_generation(const struct etcd_intent *i, bool is_previous, struct etcd_made *ret, struct error_list *errors) {
    *ret = (struct etcd_made){0};
    struct making m = {.intent = i, .made = ret, .errors = errors};
    int status = make(&m, is_previous);
    for (size_t p = 0; p < m.piece_count; p++)
        strbuf_finish(&m.pieces[p].text);
    hg_free(m.pieces);
    hg_free(m.entries);
    strbuf_finish(&m.text);
    return status;
}

int etcd_intent_make(const struct etcd_intent *i, struct etcd_made *ret, struct error_list *errors) {
    return make_generation(i, false, ret, errors);
}

int etcd_intent_make_previous(const struct etcd_intent *i, struct etcd_made *ret, struct error_list *errors) {
    return make_generation(i, true, ret, errors);
}

void etcd_made_finish(struct etcd_made *m) {
    config_resources_finish(&m->set);
    m->set = (struct config_resources){0};
    arena_finish(&m->arena);
}
