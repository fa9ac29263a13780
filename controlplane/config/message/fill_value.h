/* fill_value.h — one scalar of a tree to one value of a message; the part of fill.h that knows the types. */
#pragma once

#include "controlplane/config/message/fill.h"

/* Reads the scalar at the place as a value of the key, which is none of objects and resources. False after a report. */
bool fill_scalar(struct fill *f, const struct schema_key *k, const struct fill_at *at, struct field_value *ret);
/* Reports that something else stands there than the key wants. */
void fill_report_type(struct fill *f, const struct schema_key *k, const struct fill_at *at);
