/* tree.h — a YAML or JSON text as a tree that remembers where everything stands.
 *
 * Scalars follow the core schema of YAML 1.2: `yes`, `on` and `012` are text, what is quoted is always text. What a
 * scalar means (a duration, a number) is decided by who reads the tree. An alias shares the node that it names, so a
 * tree is a graph without cycles; its size after expansion is bounded. Nodes live in the arena that was given; keys
 * and texts end in NUL. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"

enum {
    TREE_DEPTH_MAX = 64,
    TREE_JSON_DEPTH_MAX = 160,          /* of tree_read_json: 64 messages within messages, and their lists */
    TREE_NODES_MAX = 2000000,           /* of one configuration, aliases counted as often as they are used */
    TREE_EXPANSION_MAX = 64 << 20,      /* bytes that variables may add to one configuration */
};

enum tree_type { TREE_SCALAR, TREE_LIST, TREE_MAP };

/* `line` and `column` count from 1, columns in characters; 0: not from a file. */
struct tree_place {
    const char *file;
    unsigned    line, column;
};

struct tree_node {
    enum tree_type    type;
    bool              is_quoted;        /* scalar: text, whatever it looks like */
    bool              is_broken;        /* scalar: a fault in it is already reported */
    bool              has_variable;     /* scalar: it was written with ${ in it */
    struct tree_place place;
    struct str        text;             /* scalar: its value, variables expanded */
    struct tree_item *first, *last;     /* list and map, in the order of the source */
    size_t            count;
    size_t            weight;           /* nodes here and below, aliases expanded; 0 while it is being read */
};

struct tree_item {
    struct tree_item *next;
    struct tree_node *node;
    struct str        key;              /* map; p == NULL in a list */
    struct tree_place key_place;        /* map */
    size_t            index;            /* position in the list or map of the source */
};

/* What is left to one configuration; shared by its files. */
struct tree_budget {
    size_t nodes, expansion;
};

struct tree_variables {
    const char *(*get)(void *context, const char *name);    /* NULL: variables are an error */
    void *context;
};

/* For texts that know no variables: "${" stands for itself. */
extern const struct tree_variables tree_verbatim;

/* Reads a text of one document. An empty one is an empty map. Faults are added to `errors`; reading goes on where it can.
 * Returns NULL when there is no tree to work with. `file` is kept by reference, for places. */
struct tree_node *tree_read(struct arena *arena, const char *file, struct str text, const struct tree_variables *variables,
                            struct tree_budget *budget, struct error_list *errors);

/* The same from JSON alone, by the letter of RFC 8259, for what comes from another program: duplicate keys, comments and
 * half a surrogate pair are faults, too. The first fault ends it: NULL. */
struct tree_node *tree_read_json(struct arena *arena, const char *file, struct str text, struct tree_budget *budget,
                                 struct error_list *errors);

/* Replaces ${NAME} and ${NAME:-default}; "$${" stands for "${". Returns 0, or -1 after adding an error at `place`. */
int tree_expand(struct arena *arena, struct str text, const struct tree_variables *variables, struct tree_budget *budget,
                const struct tree_place *place, struct str *ret, struct error_list *errors);

/* ---- building; NULL or -1: no memory ---- */

struct tree_node *tree_create(struct arena *arena, enum tree_type type);
struct tree_node *tree_create_scalar(struct arena *arena, struct str text, bool is_quoted);  /* copies */
int  tree_append(struct arena *arena, struct tree_node *list, struct tree_node *node);
int  tree_set(struct arena *arena, struct tree_node *map, const char *key,
              struct tree_node *node); /* key: kept by reference */
/* One tree out of two maps, as includes are merged: lists are joined, maps merged key by key; anything else that
 * stands in both is an error that names both places. `into` is changed and may come to share nodes of `from`. */
int  tree_merge(struct arena *arena, struct tree_node *into, const struct tree_node *from, struct error_list *errors);

/* ---- asking ---- */

struct tree_item *tree_find(const struct tree_node *map, const char *key);  /* NULL: not there */
/* A scalar that is a text and nothing else, because it is quoted. One with a variable may be a number, too: in JSON and
 * inside of {} it cannot be written without quotes. */
bool tree_is_text(const struct tree_node *node);
bool tree_is_null(const struct tree_node *node);        /* nothing, ~ or null */
bool tree_is_bool(const struct tree_node *node, bool *ret);
/* A text in quotes, for messages; cut when it is long. */
void tree_quote(struct str text, struct strbuf *out);
/* What stands there, for messages: "a list", "nothing", or the text in quotes. */
void tree_describe(const struct tree_node *node, struct strbuf *out);
/* Appends "[3]" or ".key" (`["odd key"]` where needed; no dot at the start of `out`). */
void tree_path_add(struct strbuf *out, const struct tree_item *item);

/* ---- writing ---- */

void tree_write_yaml(const struct tree_node *node, struct strbuf *out);     /* ends in a line end */
void tree_write_json(const struct tree_node *node, struct strbuf *out);     /* likewise */
void tree_write_flow(const struct tree_node *node, struct strbuf *out);     /* YAML on one line, without a line end */

/* ---- comparing ---- */

/* Called for each difference; NULL is absence. The path is valid during the call. */
struct tree_diff_sink {
    void (*change)(void *context, const char *path, const struct tree_node *before, const struct tree_node *after);
    void *context;
};
/* Lists are compared by what their items are called ("name", "address", or the text of a scalar) where all have that,
 * otherwise by position after leaving out what is equal at both ends. Returns 0, or -1 without memory. */
int tree_diff(const struct tree_node *before, const struct tree_node *after, const struct tree_diff_sink *sink);
