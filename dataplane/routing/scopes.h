/* scopes.h — which route table a request goes through, by a key made of its header fields.
 *
 * Each part of the key is an element of one field's first value, or what stands behind a name in an element. All parts must
 * be there. Thread: building on any one thread, finding on all. */
#pragma once

#include "dataplane/routing/route.h"

enum { SCOPE_KEY_PARTS_MAX = 8, SCOPE_NONE = -1 };

struct scope_table;

/* Everything lies in the arena; the message may go. Faults are added to `errors` with resource "listener/<name>" and a path
 * that begins with "scoped_routes". NULL: there were some, or no memory. */
struct scope_table *scope_table_build(const Headgate__ScopedRoutes *message, const char *listener, struct arena *arena,
                                      struct error_list *errors);

/* The parts of the request's key; texts of the request. False: one of them is missing. */
bool scope_table_key(const struct scope_table *, const struct route_request *, struct str ret_key[SCOPE_KEY_PARTS_MAX],
                     size_t *ret_count);
/* The index of the request's scope in the message, or SCOPE_NONE. Takes nothing from the heap, copies nothing. */
int32_t scope_table_find(const struct scope_table *, const struct route_request *);
