/* access_log.h — one record per exchange, formatted on the worker and handed to the writer thread. Thread: the worker's. */
#pragma once

struct exchange;

/* Formats the record as the settings say and puts it into the worker's ring; without one it does nothing. */
void access_log_write(struct exchange *);
