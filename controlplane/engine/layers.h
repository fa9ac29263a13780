/* layers.h — the intent in layers: what was pushed, and what servers say.
 *
 * Each layer is a set of resources of its own, and all of them together are the intent. Of a kind and name that two
 * layers have, the first one's counts and hides the other's; a cluster and its endpoint set count as one. What is pushed
 * (files, the CLI, a rollback) is a layer like the others, and the only one with settings. docs/internals/layers.md has
 * the rules.
 * Thread: the loop's. */
#pragma once

#include "controlplane/engine/engine.h"
#include "controlplane/secrets/given.h"

/* The first wins. Stored with each version: numbers stay what they are. */
enum engine_layer { ENGINE_LAYER_PUSHED, ENGINE_LAYER_ETCD, ENGINE_LAYER_XDS, ENGINE_LAYER_COUNT };

/* "pushed", "etcd", "xds". */
const char *engine_layer_name(enum engine_layer layer);

/* From now on the resources of `layer`, which is not PUSHED, are those of `set`, sorted. Queued like a push; of several sets
 * that wait only the last is used, and the others are answered SUPERSEDED. They make a version at most every 100 ms.
 *
 * 0: the set was taken over and is left empty, and `done` runs once, perhaps before this returns; the reply is valid
 * during the call. COMMITTED, STORED, UNCHANGED: all data planes that are connected serve it. REFUSED: nothing has changed;
 * each of the problems that is about one resource names it ("cluster/web") and the path in it, also what data planes found,
 * so that the caller can set the layer again without it. -1 without memory: nothing was taken and `done` does not run.
 *
 * Resources may refer to those of layers that win over theirs, which are told first when two do not go together; settings
 * are refused. */
int engine_set_layer(struct engine *e, enum engine_layer layer, struct config_resources *set,
                     void (*done)(void *context, const Headgate__PushReply *reply), void *context);

/* ---- secrets that servers give ---- */

/* From now on the secret "sds:..." is this; NULL: nobody gives it any more, and what names it keeps what it has until it is
 * set or pushed again. Resources name it where they name files: {certificate: sds:NAME, key: sds:NAME}, ca: sds:NAME; one
 * that names a secret that is not there is refused. The content is copied, survives a restart, and is nowhere shown; another
 * content for a secret that is in use goes out as a new generation, without a version, and drains nothing.
 * 0, or -1 after adding an error: the secret is what it was. */
int engine_set_given_secret(struct engine *e, const char *name, const struct given_secret *content,
                            struct error_list *errors);
