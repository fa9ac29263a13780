/* tls_choice.h — which TLS of a cluster an endpoint gets. What both planes must agree on: connections and health checks are
 * made alike. Thread: any, nothing is shared. */
#pragma once

#include "proto/resources.pb-c.h"

enum { TLS_CHOICES_MAX = 64, TLS_CHOICE_KEYS_MAX = 16 };

/* The index of the first choice all of whose entries are in the metadata, or `count`: the cluster's own TLS. */
size_t tls_choice_of(Headgate__TlsChoice *const *choices, size_t count, Headgate__MetadataEntry *const *metadata,
                     size_t metadata_count);
