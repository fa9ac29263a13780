/* tree_json.h — the one thing of JSON that YAML reads differently. Thread: any. */
#pragma once

#include "common/arena.h"
#include "common/str.h"

/* In a text that begins like JSON, replaces the escapes of surrogate pairs ("\ud83d\ude00") by the character in
 * UTF-8, since YAML knows no such pairs. Columns behind one on its line become smaller. Anything else is returned as
 * it is; p is NULL without memory. */
struct str tree_join_surrogates(struct arena *arena, struct str text);
