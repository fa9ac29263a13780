/* values.h — numbers, durations and texts of a management server as fields of ours.
 *
 * A value that is not there leaves *has and *ret as they are; one that has no meaning here is an error at its place, and
 * leaves them, too. `min` and `max` are what our field allows. Thread: one at a time. */
#pragma once

#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/making.h"
#include "proto/envoy/type/v3/percent.pb-c.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/wrappers.pb-c.h"

#define XDS_MS  ((uint64_t)1000)            /* microseconds */
#define XDS_SEC ((uint64_t)1000000)
#define XDS_DAY ((uint64_t)86400000000)

/* Microseconds, what is below them rounded up. */
void value_duration(struct making *m, const struct xds_at *at, const Google__Protobuf__Duration *d, uint64_t min,
                    uint64_t max, protobuf_c_boolean *has, uint64_t *ret);
void value_number(struct making *m, const struct xds_at *at, uint64_t number, uint64_t min, uint64_t max,
                  protobuf_c_boolean *has, uint32_t *ret);
void value_uint32(struct making *m, const struct xds_at *at, const Google__Protobuf__UInt32Value *v, uint64_t min,
                  uint64_t max, protobuf_c_boolean *has, uint32_t *ret);
void value_uint64(struct making *m, const struct xds_at *at, const Google__Protobuf__UInt64Value *v, uint64_t min,
                  uint64_t max, protobuf_c_boolean *has, uint64_t *ret);
/* Whole percent of 0 to 100, at least `min`. */
void value_percent(struct making *m, const struct xds_at *at, const Envoy__Type__V3__Percent *p, uint32_t min,
                   protobuf_c_boolean *has, uint32_t *ret);
/* Whether a text is of that form, and then the form's own in *canonical. Without memory it is not, which is an error. */
bool value_fits(struct making *m, const struct text_form *form, struct str text, struct str *canonical);
/* A text of that form, at most `max` bytes. An empty one is not there. */
void value_text(struct making *m, const struct xds_at *at, const char *text, const struct text_form *form, size_t max,
                char **ret);
