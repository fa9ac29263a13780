/* schema.h — one declarative table of everything that users can write.
 *
 * An object is a mapping with known keys; it fills one protobuf message. Reading (fill.h), rendering (unfill.h), the
 * JSON Schema and the reference walk the same tables. What a message defaults to is never repeated here: it comes
 * from its descriptor. Where a table cannot say it, an object has a check function. All of it is constant. Thread:
 * any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/config/schema/text_form.h"
#include "proto/resource.h"

struct fill;
struct fill_at;

enum schema_type {
    SCHEMA_BOOL,
    SCHEMA_INTEGER,
    SCHEMA_DURATION,            /* microseconds in the message */
    SCHEMA_SIZE,                /* bytes in the message */
    SCHEMA_WORD,                /* one of `words`, an enum in the message */
    SCHEMA_TEXT,                /* of a `form` */
    SCHEMA_OBJECT,
    SCHEMA_RESOURCES,           /* a list of resources of `kind`; only at the top */
};

enum schema_flag {
    SCHEMA_REQUIRED = 1,
    SCHEMA_LIST = 2,
    SCHEMA_ONE_OK = 4,          /* list: a single item may stand without the list */
    SCHEMA_NAMED = 8,           /* list: may be a mapping from the items' "name" to the rest of them */
    SCHEMA_MAY_BE_OFF = 16,     /* number: 0 is written "off" */
    SCHEMA_ALWAYS = 32,         /* object: its defaults are in force when it is absent */
    SCHEMA_ELSEWHERE = 64,      /* read by other code: "include", and the name of a resource */
    SCHEMA_COMPANION = 128,     /* the field is one of the object's companion message */
    SCHEMA_UNIQUE = 256,        /* text: once in a resource */
    SCHEMA_DISTINCT = 512,      /* text: once in its list */
    SCHEMA_ONE_SHOWN = 1024,    /* with SCHEMA_ONE_OK: a single item is also rendered without the list */
    SCHEMA_INLINE = 2048,       /* object: has no message of its own; its keys fill the one around it */
};

/* The same message can stand in several places with different keys allowed. */
enum schema_scope { SCOPE_ALL = 0, SCOPE_SETTINGS = 1, SCOPE_LISTENER = 2, SCOPE_RULE = 4, SCOPE_CLUSTER = 8 };

enum { SCHEMA_LATER = -1 };     /* value of a word that a later version will know */

struct schema_word {
    const char *word;           /* NULL ends a list of words */
    int         value;          /* of the enum in the message, or SCHEMA_LATER */
    const char *description;    /* may be NULL */
};

struct schema_key {
    const char                 *key;            /* as users write it; NULL ends a list of keys */
    const char                 *description;    /* sentences for the reference */
    const char                 *field;          /* path in the message ("forward.clusters"); NULL: the key with _ for - */
    const char                 *one_as;         /* list: the key that holds a single item ("cluster" for "clusters") */
    const char                 *absent;         /* what holds without it, where the message has no default to say so */
    const struct schema_word   *words;
    const struct text_form     *form;
    const struct schema_object *object;
    const uint16_t             *allowed;        /* integer: the only values, ended by 0 */
    uint64_t                    min, max;       /* of a number, also in a list; or of a length; max 0: none */
    enum schema_type            type;
    unsigned                    flags;          /* enum schema_flag */
    unsigned                    scopes;         /* where the key may stand; SCOPE_ALL: everywhere */
    unsigned                    scope;          /* object: where it stands */
    unsigned                    group;          /* keys of one group (1, 2, ...) exclude each other */
    Headgate__Kind              kind;           /* of the resources; text: of what it refers to by name */
};

struct schema_object {
    const char                       *title;        /* "listener"; unique */
    const char                       *description;
    const ProtobufCMessageDescriptor *message;
    const ProtobufCMessageDescriptor *companion;    /* may be NULL */
    const struct schema_key          *keys;
    const char                       *shorthand;    /* the key that a lone scalar fills; may be NULL */
    const char *const                *later;        /* keys that a later version will know, ended by NULL; may be NULL */
    unsigned                          groups;       /* bit n: one key of group n is required */
    /* Called when everything in the object was read without a fault; reports with fill_report and fill_warn (fill.h). */
    void (*check)(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m);
};

extern const struct schema_object schema_root, schema_listener, schema_route_table, schema_cluster, schema_endpoint_set;
/* Parts of them, by the file that defines them. */
extern const struct schema_object schema_limits, schema_timeouts;                                   /* schema_settings.c */
extern const struct schema_object schema_match, schema_respond, schema_redirect, schema_rewrite;    /* schema_rule.c */
extern const struct schema_object schema_header_change;                                              /* schema_rule.c */
extern const struct schema_object schema_retry, schema_weighted_cluster;                              /* schema_rule.c */
extern const struct schema_object schema_hash_on; /* schema_balancing.c */
extern const struct schema_object schema_server_tls, schema_client_tls;                               /* schema_tls.c */
extern const struct schema_object schema_proxy_protocol, schema_http2;                                /* schema_tls.c */
extern const struct schema_object schema_http3, schema_quic, schema_alt_svc;                          /* schema_http3.c */

/* The object of a kind (settings: the root, of which only some keys are settings), or NULL. */
const struct schema_object *schema_of_kind(Headgate__Kind kind);
/* The key of that name that may stand in the scope, or NULL. `ret_is_single`: it was found as somebody's `one_as`. */
const struct schema_key *schema_find(const struct schema_object *o, unsigned scope, struct str name, bool *ret_is_single);
bool schema_is_later(const struct schema_object *o, struct str name);
bool schema_in_scope(const struct schema_key *k, unsigned scope);
/* A list whose min and max are those of its numbers. */
bool schema_bounds_items(const struct schema_key *k);
/* The names of the keys of the object, those of `one_as` included; at most `max`. Returns their number. */
size_t schema_names(const struct schema_object *o, unsigned scope, const char **names, size_t max);
/* What users should have written for one value of the key: "a duration such as 250ms, 30s or 5m". */
void schema_expected(const struct schema_key *k, struct strbuf *out);
/* "a, b or c" of the keys of a group. */
void schema_group_names(const struct schema_object *o, unsigned group, struct strbuf *out);
/* Where the value of the key lives: the field in the last message of k->field's path. NULL for SCHEMA_INLINE. */
const ProtobufCFieldDescriptor *schema_field(const struct schema_object *o, const struct schema_key *k);

enum { SCHEMA_KEYS_MAX = 32 };
