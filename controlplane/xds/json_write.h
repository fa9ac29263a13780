/* json_write.h — messages of xDS in the JSON mapping of proto3: what a REST server is sent.
 *
 * Canonical but for names, which are those of the .proto, as Envoy writes them; every reader of the mapping knows both. What
 * has its default is left out, 64-bit numbers are texts, bytes are base64 with padding, NaN and the infinities are texts.
 * What is written, json.h reads as the same message. Thread: any, nothing is shared. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/str.h"

/* Appends one object, or what stands for a message of google.protobuf, without a line end. Returns 0, or -1 when it has no
 * JSON: an Any of a type that types.h does not know or that cannot be decoded, a Value without a kind, a duration or time
 * out of its range, a number that is not finite within a Value, texts that are not UTF-8. `out` is to be checked for
 * memory. */
int xds_json_write(const ProtobufCMessage *m, struct strbuf *out);
