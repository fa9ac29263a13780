/* catalog.h — the objects of the schema one after the other, for what is generated from them. Thread: one at a time. */
#pragma once

#include "controlplane/config/schema/schema.h"

enum { CATALOG_MAX = 96 };

/* An object as it stands in one place. */
struct catalog_entry {
    const struct schema_object *object;
    unsigned                    scope;
    bool                        is_by_name;     /* an item of a mapping from names: its "name" key is outside */
};

struct catalog {
    struct catalog_entry entries[CATALOG_MAX];
    size_t               count;
};

/* All that can be reached from `root`, itself first, each once, parents before children. */
void catalog_collect(struct catalog *c, const struct schema_object *root);
/* The default of a single value as users write it (YAML on one line, or JSON). Returns false when there is none. */
bool catalog_default(const struct schema_object *o, const struct schema_key *k, bool as_json, struct strbuf *out);
