#include <yaml.h>

#include "common/alloc.h"
#include "common/map.h"
#include "controlplane/config/tree/tree.h"
#include "controlplane/config/tree/tree_json.h"

enum { KEYS_LINEAR_MAX = 16 };

const struct tree_variables tree_verbatim = {NULL, NULL};

/* A list or map whose end has not been seen. */
struct frame {
    struct tree_node *node;
    struct str        key;          /* map: read, its value is still to come */
    struct tree_place key_place;
    bool              has_key;
    struct map        keys;         /* the items by key, from KEYS_LINEAR_MAX on */
};

struct reader {
    yaml_parser_t                parser;
    struct arena                *arena;
    const char                  *file;
    struct str                   text;
    const struct tree_variables *variables;
    struct tree_budget          *budget;
    struct error_list           *errors;
    struct map                   anchors;   /* name to node */
    struct frame                 frames[TREE_DEPTH_MAX];
    size_t                       depth;
    struct tree_node            *root;
    bool                         is_done;
};

static struct tree_place place_of(const struct reader *r, const yaml_mark_t *mark) {
    return (struct tree_place){r->file, (unsigned)mark->line + 1, (unsigned)mark->column + 1};
}

static int fail(struct reader *r, enum error_code code, const struct tree_place *place, const char *message) {
    struct error *e = error_addf(r->errors, code, "%s", message);
    error_set_place(r->errors, e, place->file, place->line, place->column);
    return -1;
}

static int out_of_memory(struct reader *r, const struct tree_place *place) {
    return fail(r, ERROR_MEMORY, place, "out of memory");
}

/* ---- keys ---- */

/* *ret becomes NULL when the key is not there. */
static int find_key(struct frame *f, struct str key, struct tree_item **ret) {
    if (f->node->count < KEYS_LINEAR_MAX) {
        *ret = tree_find(f->node, key.p);
        return 0;
    }
    if (!f->keys.count)
        for (struct tree_item *i = f->node->first; i; i = i->next)
            if (map_set(&f->keys, i->key, i) < 0)
                return -1;
    *ret = map_get(&f->keys, key);
    return 0;
}

static int remember_key(struct frame *f, struct tree_item *item) {
    return f->keys.count ? map_set(&f->keys, item->key, item) : 0;
}

static int take_key(struct reader *r, struct frame *f, const struct tree_node *node) {
    if (node->type != TREE_SCALAR)
        return fail(r, ERROR_SYNTAX, &node->place, "a key must be plain text, not a list or mapping");
    f->key = node->text;
    f->key_place = node->place;
    f->has_key = true;
    return 0;
}

/* The path of what is being read, whose key is that of the innermost map. */
static void add_path(const struct reader *r, struct strbuf *out) {
    for (size_t i = 0; i < r->depth; i++) {
        const struct frame *f = &r->frames[i];
        bool is_map = f->node->type == TREE_MAP;
        struct tree_item item = {.key = is_map ? f->key : (struct str){NULL, 0}, .index = f->node->count};
        tree_path_add(out, &item);
    }
}

static void report_repeated(struct reader *r, const struct frame *f, const struct tree_item *first) {
    struct strbuf path = {0};
    add_path(r, &path);
    struct error *e = error_addf(r->errors, ERROR_CONFLICT, "the key \"%s\" stands here twice; the first is on line %u",
                                 f->key.p, first->key_place.line);
    error_set_place(r->errors, e, r->file, f->key_place.line, f->key_place.column);
    error_set_resource(r->errors, e, NULL, path.failed ? NULL : path.p);
    strbuf_finish(&path);
}

/* The second value of a key is reported and left out. */
static int add_pair(struct reader *r, struct frame *f, struct tree_node *node) {
    f->has_key = false;
    struct tree_item *present;
    if (find_key(f, f->key, &present) < 0)
        return out_of_memory(r, &node->place);
    if (present) {
        report_repeated(r, f, present);
        return 0;
    }
    if (tree_set(r->arena, f->node, f->key.p, node) < 0)
        return out_of_memory(r, &node->place);
    f->node->last->key = f->key;
    f->node->last->key_place = f->key_place;
    return remember_key(f, f->node->last) < 0 ? out_of_memory(r, &node->place) : 0;
}

/* ---- values ---- */

static int attach(struct reader *r, struct tree_node *node) {
    if (r->depth == 0) {
        r->root = node;
        return 0;
    }
    struct frame *f = &r->frames[r->depth - 1];
    if (f->node->type == TREE_MAP)
        return f->has_key ? add_pair(r, f, node) : take_key(r, f, node);
    return tree_append(r->arena, f->node, node) < 0 ? out_of_memory(r, &node->place) : 0;
}

static int spend(struct reader *r, size_t nodes, const struct tree_place *place) {
    if (nodes > r->budget->nodes)
        return fail(r, ERROR_RANGE, place, "too many values in one configuration (what an alias repeats counts each time)");
    r->budget->nodes -= nodes;
    return 0;
}

static struct tree_node *new_node(struct reader *r, enum tree_type type, const yaml_event_t *event) {
    struct tree_place place = place_of(r, &event->start_mark);
    if (spend(r, 1, &place) < 0)
        return NULL;
    struct tree_node *node = tree_create(r->arena, type);
    if (node)
        node->place = place;
    else
        out_of_memory(r, &place);
    return node;
}

static int remember_anchor(struct reader *r, const yaml_char_t *anchor, struct tree_node *node) {
    if (!anchor)
        return 0;
    char *name = arena_strdup(r->arena, (const char *)anchor);
    if (!name || map_set(&r->anchors, str_of(name), node) < 0)
        return out_of_memory(r, &node->place);
    return 0;
}

static bool is_known_tag(const yaml_char_t *tag, const char *known) {
    return !tag || strcmp((const char *)tag, "!") == 0 || strcmp((const char *)tag, known) == 0;
}

static int check_tag(struct reader *r, const yaml_char_t *tag, const char *known, const struct tree_place *place) {
    return is_known_tag(tag, known) ? 0 : fail(r, ERROR_SYNTAX, place, "tags are not used here");
}

static bool is_key_next(const struct reader *r) {
    return r->depth && r->frames[r->depth - 1].node->type == TREE_MAP && !r->frames[r->depth - 1].has_key;
}

static int on_scalar(struct reader *r, const yaml_event_t *event) {
    struct tree_node *node = new_node(r, TREE_SCALAR, event);
    if (!node || check_tag(r, event->data.scalar.tag, YAML_STR_TAG, &node->place) < 0)
        return -1;
    struct str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    node->text = arena_str(r->arena, text);
    node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || event->data.scalar.tag;
    if (!node->text.p || remember_anchor(r, event->data.scalar.anchor, node) < 0)
        return out_of_memory(r, &node->place);
    /* A variable that cannot be expanded is reported; its text stays, so that the rest is read. */
    node->has_variable = r->variables != &tree_verbatim && memmem(node->text.p, node->text.n, "${", 2);
    if (node->has_variable && !is_key_next(r))
        node->is_broken = tree_expand(r->arena, node->text, r->variables, r->budget, &node->place, &node->text,
                                      r->errors) < 0;
    return attach(r, node);
}

static int open_collection(struct reader *r, enum tree_type type, const yaml_event_t *event, const yaml_char_t *anchor) {
    struct tree_node *node = new_node(r, type, event);
    if (!node)
        return -1;
    if (r->depth == TREE_DEPTH_MAX)
        return fail(r, ERROR_RANGE, &node->place, "nested too deeply (64 levels are allowed)");
    if (remember_anchor(r, anchor, node) < 0)
        return -1;
    node->weight = 0; /* open: an alias to it from inside would never end */
    r->frames[r->depth++] = (struct frame){.node = node};
    return 0;
}

static size_t weight_of(const struct tree_node *node) {
    size_t weight = 1;
    for (const struct tree_item *i = node->first; i; i = i->next)
        weight += i->node->weight;
    return weight;
}

static int close_collection(struct reader *r) {
    struct frame *f = &r->frames[--r->depth];
    map_finish(&f->keys);
    f->node->weight = weight_of(f->node);
    return attach(r, f->node);
}

static int on_alias(struct reader *r, const yaml_event_t *event) {
    struct tree_place place = place_of(r, &event->start_mark);
    struct tree_node *node = map_get(&r->anchors, str_of((const char *)event->data.alias.anchor));
    if (!node)
        return fail(r, ERROR_REFERENCE, &place, "an alias of an anchor that was not set before it");
    if (node->weight == 0)
        return fail(r, ERROR_SYNTAX, &place, "an alias inside of what it repeats");
    return spend(r, node->weight, &place) < 0 ? -1 : attach(r, node);
}

static int on_list(struct reader *r, const yaml_event_t *event) {
    struct tree_place place = place_of(r, &event->start_mark);
    if (check_tag(r, event->data.sequence_start.tag, YAML_SEQ_TAG, &place) < 0)
        return -1;
    return open_collection(r, TREE_LIST, event, event->data.sequence_start.anchor);
}

static int on_map(struct reader *r, const yaml_event_t *event) {
    struct tree_place place = place_of(r, &event->start_mark);
    if (check_tag(r, event->data.mapping_start.tag, YAML_MAP_TAG, &place) < 0)
        return -1;
    return open_collection(r, TREE_MAP, event, event->data.mapping_start.anchor);
}

static int on_event(struct reader *r, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT: return on_scalar(r, event);
    case YAML_ALIAS_EVENT: return on_alias(r, event);
    case YAML_SEQUENCE_START_EVENT: return on_list(r, event);
    case YAML_MAPPING_START_EVENT: return on_map(r, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_collection(r);
    case YAML_STREAM_END_EVENT: r->is_done = true; return 0;
    case YAML_DOCUMENT_START_EVENT: break;
    default: return 0;
    }
    struct tree_place place = place_of(r, &event->start_mark);
    return r->root ? fail(r, ERROR_SYNTAX, &place, "a second document begins; a file holds one") : 0;
}

/* ---- what libyaml refuses ---- */

/* The line of that number, counted from 0; empty behind the end. */
static struct str line_at(struct str text, size_t number) {
    for (; number && text.p; number--)
        str_cut(&text, '\n');
    return text.p ? str_cut(&text, '\n') : STR("");
}

static bool is_indented_with_tab(struct str line) {
    for (size_t i = 0; i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'); i++)
        if (line.p[i] == '\t')
            return true;
    return false;
}

/* The braces of a bare variable are those of a flow mapping to YAML. */
static const char *hint_of(struct str line) {
    return memmem(line.p, line.n, "${", 2) ? " (inside of {} and [] a text with ${ in it needs quotes)" : "";
}

static int report_syntax(struct reader *r) {
    const yaml_parser_t *p = &r->parser;
    struct tree_place place = place_of(r, &p->problem_mark);
    if (p->error == YAML_MEMORY_ERROR)
        return out_of_memory(r, &place);
    struct str line = line_at(r->text, p->problem_mark.line);
    if (is_indented_with_tab(line))
        return fail(r, ERROR_SYNTAX, &place, "a tab in the indentation; YAML is indented with spaces");
    struct strbuf message = {0};
    strbuf_printf(&message, "not well-formed: %s", p->problem ? p->problem : "unknown fault");
    if (p->context)
        strbuf_printf(&message, ", %s that begins on line %zu", p->context, p->context_mark.line + 1);
    strbuf_puts(&message, hint_of(line));
    fail(r, ERROR_SYNTAX, &place, message.failed ? "not well-formed" : message.p);
    strbuf_finish(&message);
    return -1;
}

/* Bytes that no YAML text may have, found before libyaml does so that they have a place. */
static int check_characters(struct reader *r) {
    struct tree_place place = {r->file, 1, 1};
    for (size_t i = 0; i < r->text.n;) {
        size_t n = utf8_length(r->text.p + i, r->text.n - i);
        unsigned char c = (unsigned char)r->text.p[i];
        if (n == 0)
            return fail(r, ERROR_SYNTAX, &place, "not UTF-8");
        if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
            return fail(r, ERROR_SYNTAX, &place, "a control character");
        place.column++;
        if (c == '\n')
            place = (struct tree_place){r->file, place.line + 1, 1};
        i += n;
    }
    return 0;
}

static int read_events(struct reader *r) {
    while (!r->is_done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&r->parser, &event))
            return report_syntax(r);
        int status = on_event(r, &event);
        yaml_event_delete(&event);
        if (status < 0)
            return -1;
    }
    return 0;
}

static void reader_finish(struct reader *r) {
    while (r->depth)
        map_finish(&r->frames[--r->depth].keys);
    map_finish(&r->anchors);
    yaml_parser_delete(&r->parser);
}

struct tree_node *tree_read(struct arena *arena, const char *file, struct str text, const struct tree_variables *variables,
                            struct tree_budget *budget, struct error_list *errors) {
    struct reader r = {
        .arena = arena, .file = file, .text = text, .variables = variables, .budget = budget, .errors = errors,
    };
    struct tree_place start = {file, 1, 1};
    if (check_characters(&r) < 0)
        return NULL;
    r.text = tree_join_surrogates(arena, text);
    if (!r.text.p || !yaml_parser_initialize(&r.parser)) {
        out_of_memory(&r, &start);
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text.p, r.text.n);
    int status = read_events(&r);
    reader_finish(&r);
    if (status == 0 && (!r.root || tree_is_null(r.root))) {
        r.root = tree_create(arena, TREE_MAP);
        if (!r.root)
            out_of_memory(&r, &start);
        else
            r.root->place = start;
    }
    return status == 0 ? r.root : NULL;
}
