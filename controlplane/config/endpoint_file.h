/* endpoint_file.h — endpoints in a file of their own, in the form that they have under a cluster.
 *
 * Thread: any, nothing is shared. */
#pragma once

#include "common/error.h"
#include "common/str.h"
#include "proto/resources.pb-c.h"

/* A list of endpoints, or a map with the key `endpoints`; YAML or JSON. `path` is for messages. Every fault is reported with
 * file, line and column. NULL after at least one error; otherwise for headgate__endpoint_set__free_unpacked, in the order
 * of the file, with addresses in canonical form, each once. */
Headgate__EndpointSet *config_read_endpoints(const char *path, struct str text, struct error_list *errors);
/* The same of JSON alone, many times faster. */
Headgate__EndpointSet *config_read_endpoints_json(const char *path, struct str text, struct error_list *errors);
