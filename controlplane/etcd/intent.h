/* intent.h — the configuration that a fleet shares, as keys and values below PREFIX/config/.
 *
 *     current                              a JSON object: which generation counts (struct etcd_pointer)
 *     generations/GENERATION/KIND/NAME/PART  the resource as JSON, in the form that it has in a file, cut into parts 0000,
 *                                          0001, ... of ETCD_PART_MAX bytes
 *
 * Who writes puts a whole generation there and then lets `current` name it, in one transaction that fails when `current` has
 * changed meanwhile. So what `current` names is whole; a generation with fewer values than it says is not used.
 * Thread: one at a time. */
#pragma once

#include "common/map.h"
#include "controlplane/config/config.h"

enum {
    ETCD_PART_MAX = 512 << 10,          /* bytes; etcd takes requests of 1.5 MiB */
    ETCD_PARTS_MAX = 10000,
    ETCD_GENERATION_MAX = 64,           /* bytes of its name: small letters, digits, - */
    ETCD_INTENT_MAX = 128 << 20,        /* bytes of all keys and values below PREFIX/config/ */
};

#define ETCD_CONFIG "config/"
#define ETCD_CURRENT "current"
#define ETCD_GENERATIONS "generations/"

/* ---- `current` ---- */

struct etcd_generation {
    uint64_t version;
    char     name[ETCD_GENERATION_MAX + 1];
    uint64_t values;                    /* that it has */
};

struct etcd_pointer {
    uint64_t    version;                /* one more with each push */
    char        generation[ETCD_GENERATION_MAX + 1];
    uint64_t    values;                 /* that the generation has */
    uint64_t    time_us;                /* since 1970 */
    const char *author, *message;       /* "": none; as long as the text or arena they came from */
    struct etcd_generation previous;    /* that counted before, and is kept; version 0: there is none, or nobody has said */
};

/* Texts go into the arena. 0, or -1 with errors about the key ETCD_CURRENT. */
int  etcd_pointer_parse(struct str text, struct arena *arena, struct etcd_pointer *ret, struct error_list *errors);
void etcd_pointer_write(const struct etcd_pointer *p, struct strbuf *out);

/* ---- a generation ---- */

struct etcd_value {
    const char *key;                    /* "cluster/web/0000" */
    struct str  text;
};

struct etcd_values {
    struct etcd_value *items;
    size_t             count, capacity;
    struct arena       arena;
};

/* The values of a whole configuration; its settings are left out. 0, or -1 with errors. Finish it in both cases. */
int  etcd_values_make(const struct config_resources *set, struct etcd_values *ret, struct error_list *errors);
void etcd_values_finish(struct etcd_values *v);

/* ---- what etcd has ---- */

struct etcd_entry;

/* A zeroed struct knows nothing. The functions are those of struct etcd_mirror_ops. */
struct etcd_intent {
    struct map         by_key;          /* to struct etcd_entry */
    struct etcd_entry *first;
    uint64_t           round;           /* of lists: what a list does not name is gone at its end */
    bool               is_listing;
    bool               is_known;        /* one list was whole */
    size_t             bytes;
    size_t             left_out;        /* entries beyond ETCD_INTENT_MAX */
    size_t             room_due;        /* bytes of the smallest of them; 0: one of them is gone */
};

void etcd_intent_finish(struct etcd_intent *i);
void etcd_intent_list(struct etcd_intent *i);
bool etcd_intent_set(struct etcd_intent *i, struct str key, struct str value, int64_t modified);
void etcd_intent_removed(struct etcd_intent *i, struct str key);
void etcd_intent_settled(struct etcd_intent *i);
bool etcd_intent_is_list_due(const struct etcd_intent *i); /* one that was left out fits now, or is gone */

/* Whether there is a `current` at all. *ret_modified: the revision that it changed at last; 0 without. */
bool etcd_intent_has_current(const struct etcd_intent *i, int64_t *ret_modified);

/* A number that is another one whenever what `current` names has changed; generations that do not count have no say. */
uint64_t etcd_intent_mark(const struct etcd_intent *i);

struct etcd_made {
    struct etcd_pointer     pointer;    /* also when the rest failed, if it could be read; otherwise `version` is 0 */
    struct config_resources set;        /* without settings */
    struct arena            arena;
};

/* The resources that `current` names. 0, or -1 with errors, which name key and field: `set` is empty. Finish it in both
 * cases. */
int  etcd_intent_make(const struct etcd_intent *i, struct etcd_made *ret, struct error_list *errors);
/* The same of the generation that counted before; `pointer` is of that one, with nothing of who pushed it. */
int  etcd_intent_make_previous(const struct etcd_intent *i, struct etcd_made *ret, struct error_list *errors);
void etcd_made_finish(struct etcd_made *m);
