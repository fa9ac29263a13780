/* json.h — any protobuf message as JSON, for `--output json`: names as in the .proto, bytes in hexadecimal, kinds and enum
 * values by their names in lower case, unset fields left out. Thread: any. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/str.h"

void json_add_message(struct strbuf *out, const ProtobufCMessage *m);
