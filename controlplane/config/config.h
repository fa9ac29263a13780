/* config.h — what users write, turned into resources, and back.
 *
 * A configuration is a list of sources: the root file and its includes, each a path and bytes. `config_load` reads them from
 * disk; everything else works on the list alone, so that a program that sends files and a daemon that receives them see
 * the same. One schema (schema.h) drives reading, checking, rendering, the JSON Schema and the reference for people.
 *
 * Every fault is added to the caller's error list with file, line, column, path ("route-tables[0].hosts[1].domains[0]"),
 * what was expected and the nearest known name; all faults of all files are reported. Functions that return int return 0,
 * or -1 after adding at least one error. Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"
#include "proto/resource.h"

enum {
    CONFIG_FILE_MAX = 16 << 20,     /* bytes of one file */
    CONFIG_BYTES_MAX = 64 << 20,    /* bytes of all files */
    CONFIG_FILES_MAX = 1000,
    CONFIG_INCLUDE_DEPTH_MAX = 16,
};

/* ---- sources ---- */

struct config_source {
    char  *path;                    /* as users know it: the argument, or the including file's folder and the include */
    char  *bytes;
    size_t size;
    bool   is_unreadable;           /* could not be read, and that is reported; `bytes` is NULL */
};

/* The first is the root, the others are its includes in any order. A zeroed struct is a valid empty list. */
struct config_sources {
    struct config_source *items;
    size_t                count, capacity;
    size_t                bytes;            /* of all items */
    char                **directories;      /* filled by config_load: see there; sorted, each once */
    size_t                directory_count, directory_capacity;
};

void config_sources_finish(struct config_sources *sources);
/* Appends a copy. Refuses what is over the limits above. */
int config_sources_add(struct config_sources *sources, struct str path, struct str bytes, struct error_list *errors);
/* Reads the file at `path` and its includes from disk. On failure *sources holds what could be read: config_compile on it
 * finds the other faults. Whether it fails or not, `directories` names every directory in which a change can change the
 * outcome: those of the files, of include patterns, and of symbolic links on the way to them. */
int config_load(const char *path, struct config_sources *sources, struct error_list *errors);

/* ---- resources ---- */

struct config_resource {
    Headgate__Kind     kind;
    const char        *name;
    const uint8_t     *bytes;       /* the encoded message; not NULL, may be of size 0 */
    size_t             size;
    struct resource_id id;
    unsigned char      layer;       /* engine/layers.h; 0: it was pushed. Nothing here looks at it */
};

/* Sorted by kind, then name in byte order, each once. A zeroed struct is a valid empty set. Who only borrows a set (from a
 * store, say) fills in `items` and `count` and does not call config_resources_finish. */
struct config_resources {
    struct config_resource *items;
    size_t                  count, capacity;
    struct arena            arena;  /* names and bytes */
};

void config_resources_finish(struct config_resources *set);
/* NULL: not there. */
const struct config_resource *config_resources_find(const struct config_resources *set, Headgate__Kind kind,
                                                    struct str name);
/* Appends a copy and computes the id; the set need not be sorted in between. Returns 0, or -1 without memory. */
int config_resources_add(struct config_resources *set, Headgate__Kind kind, struct str name, const void *bytes, size_t size);
void config_resources_sort(struct config_resources *set);

/* ---- from text to resources ---- */

/* Where files of certificates, keys and authorities are named. A zeroed struct is a valid empty list. */
struct config_place {
    const char *resource, *path;    /* "listener/web", "tls.certificates[0].key" */
    const char *whole_path;         /* "listeners[2].tls.certificates[0].key" */
    const char *file;
    unsigned    line, column;
};

struct config_places {
    struct config_place *items;
    size_t               count, capacity;
    struct arena         arena;
};

void config_places_finish(struct config_places *places);
/* Gives errors from number `first` on that carry the resource and path of a place, or of what is below it, that place. */
void config_places_locate(const struct config_places *places, struct error_list *errors, size_t first);

struct config_options {
    /* The value of an environment variable for ${NAME}, or NULL when it is not set. When the function is NULL, variables
     * are an error: who sends a configuration must not read the environment of who receives it. */
    const char *(*variable)(void *context, const char *name);
    void *context;
    /* Whether the file of that name came with the text; it is then called "embedded:NAME". NULL: none did. */
    bool (*is_embedded)(void *context, const char *name);
    struct config_places *places;   /* NULL: not wanted */
};

/* For `variable`: the environment of this process. */
const char *config_variable_from_environment(void *context, const char *name);

/* Turns a whole configuration into its resources. The settings resource "default" is always among them, and each cluster has
 * an endpoint set of its name. The same input gives the same bytes. `ret` is an empty set, untouched on failure; warnings
 * (unreachable rules, empty clusters) are added on success and on failure. `options` may be NULL. */
int config_compile(const struct config_sources *sources, const struct config_options *options,
                   struct config_resources *ret, struct error_list *errors, struct error_list *warnings);

/* One resource in the form that it has inside a whole file, without the need of a name (a cluster with its endpoints,
 * whose set is the second resource of `ret`; an endpoint set as {endpoints: [...]}). Checked against `existing`, of
 * which it replaces or joins one: its references, and what the others would conflict with. `ret` gets only what was
 * compiled. */
int config_compile_one(Headgate__Kind kind, struct str name, const struct config_source *source,
                       const struct config_options *options, const struct config_resources *existing,
                       struct config_resources *ret, struct error_list *errors, struct error_list *warnings);

/* What deleting kind/name removes from `existing` (a cluster goes with its endpoint set): kind and name only, bytes are
 * empty. Refused when it is not there, when others refer to it (all of them are named), for settings, and for the
 * endpoint set of a cluster that stays. */
int config_delete_one(Headgate__Kind kind, struct str name, const struct config_resources *existing,
                      struct config_resources *ret_removed, struct error_list *errors);

/* Every check that config_compile makes, on encoded resources of any origin (a rollback, another control plane). Errors
 * carry resource and path. */
int config_check_resources(const struct config_resources *set, struct error_list *errors, struct error_list *warnings);

/* The same for resources that join others, which are right without them and stay as they are: both sets sorted, no kind and
 * name in both. They may refer to the others, but a joining endpoint set belongs to a joining cluster. All errors are about
 * joining resources, those about addresses that two listeners have, too. */
int config_check_joining(const struct config_resources *joining, const struct config_resources *others,
                         struct error_list *errors, struct error_list *warnings);

/* Who is told what others a resource refers to; `to` returns 0, or -1 to end it. */
struct config_refers {
    int (*to)(void *context, Headgate__Kind kind, const char *name);
    void *context;
};

/* Checks resources by themselves, without what needs others, and tells which others they refer to. These need not be in the
 * set. Returns 0, or -1 after adding an error or when `refers` ended it. */
int config_references(const struct config_resources *set, const struct config_refers *refers, struct error_list *errors);

/* What `headgate run --listen A [--listen B] --to C [--to D]` means: one listener, one route table, one cluster. */
int config_from_command_line(const char *const *listen, size_t listen_count, const char *const *to, size_t to_count,
                             struct config_resources *ret, struct error_list *errors);

/* ---- secrets that resources refer to ---- */

#define CONFIG_EMBEDDED "embedded:"    /* in front of the name of a file that came with a push */
#define CONFIG_GIVEN "sds:"            /* the name of a secret that a server gives; it stands where files have theirs */
#define CONFIG_KUBERNETES "kubernetes:" /* likewise: "kubernetes:NAMESPACE/NAME", "kubernetes:NAMESPACE/NAME/KEY" */
#define CONFIG_SYSTEM_TRUST "system-ca"
#define CONFIG_TICKET_KEYS "ticket-keys"

enum config_secret_what {
    CONFIG_SECRET_KEY_PAIR,
    CONFIG_SECRET_TRUST,
    CONFIG_SECRET_SYSTEM_TRUST,
    CONFIG_SECRET_TICKET_KEYS,
};

/* Whether a server gives what is called so: a management server, or that of Kubernetes. */
bool config_is_given(struct str name);

/* What "kubernetes:..." names. */
struct config_kubernetes_secret {
    struct str namespace, name;
    struct str key;             /* of what is in it, authorities; empty: tls.crt and tls.key, a certificate with its key */
};
/* False: `text` names nothing of Kubernetes, or not in this form. */
bool config_kubernetes_secret(struct str text, struct config_kubernetes_secret *ret);

/* A secret by name, and where its content comes from. */
struct config_secret {
    const char             *name;
    enum config_secret_what what;
    bool                    is_given;                   /* there are no files: the name is known to who gives it */
    const char             *certificate, *key, *ocsp;   /* files; of a trust `certificate` alone */
    const char             *resource, *path;            /* who named it first: "listener/web", "tls.certificates[0]" */
};

/* Those of one listener, in its order. */
struct config_secret_list {
    size_t *items;                  /* indices into `items` below */
    size_t  count;
};

struct config_secrets {
    struct config_secret      *items;           /* each name once */
    size_t                     count, capacity;
    struct config_secret_list *listeners;       /* those with TLS */
    size_t                     listener_count, listener_capacity;
    uint64_t                   ticket_rotate;   /* microseconds */
    unsigned                   ticket_keep;
    struct arena               arena;
};

/* Other kinds have no say in which secrets there are. */
bool config_may_refer_to_secrets(Headgate__Kind kind);
/* What the resources refer to. `ret` is an empty struct; finish it in any case. */
int config_secrets_collect(const struct config_resources *set, struct config_secrets *ret, struct error_list *errors);
void config_secrets_finish(struct config_secrets *secrets);

/* ---- from resources to text ---- */

struct config_render_options {
    bool is_json;
    bool is_effective;              /* with defaults, and with what routes inherit from the settings */
};

/* The whole configuration that makes these resources: compiling the text gives the same ids (unless is_effective). */
int config_render(const struct config_resources *set, const struct config_render_options *options, struct strbuf *out,
                  struct error_list *errors);
/* One resource of the set in the form that config_compile_one reads; a cluster with its endpoints. */
int config_render_one(const struct config_resources *set, Headgate__Kind kind, struct str name,
                      const struct config_render_options *options, struct strbuf *out, struct error_list *errors);

/* One difference. A path or value is text as users write it; NULL: was not set. */
struct config_change {
    const char *path;               /* "hosts[0].rules[2].timeouts.request"; "" is the whole resource */
    const char *before, *after;
};

struct config_changes {
    struct config_change *items;
    size_t                count, capacity;
    struct arena          arena;
};

void config_changes_finish(struct config_changes *changes);
/* Appends the differences between two encodings of one kind; NULL bytes: the resource is not there. */
int config_diff(Headgate__Kind kind, const void *before, size_t before_size, const void *after, size_t after_size,
                struct config_changes *ret, struct error_list *errors);

/* ---- the schema, for editors and for people ---- */

/* JSON Schema (draft 2020-12) of a whole configuration. */
int config_json_schema(struct strbuf *out);
/* The reference of every key, in Markdown. */
int config_reference_markdown(struct strbuf *out);
