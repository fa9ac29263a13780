/* tables.h — the three kinds of tables. Each fills a zeroed table whose memory balance_table_unref frees: 0, or -1 without
 * memory. */
#pragma once

#include "dataplane/balance/balance.h"

int alias_fill(struct balance_table *, const struct balance_member *, uint32_t count);
int maglev_fill(struct balance_table *, const struct balance_member *, uint32_t count, uint32_t size);
int ring_fill(struct balance_table *, const struct balance_member *, uint32_t count, uint32_t size);
