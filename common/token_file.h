/* token_file.h — a secret that stands in a file, and may be replaced there while the daemon runs. Thread: one at a time. */
#pragma once

#include "common/error.h"

enum { TOKEN_MAX = 8192 };          /* bytes; those of service accounts are long */

struct token_file;

/* Reads it now: the first line, without white space at its end. NULL with a reason in `errors`. `path` is copied. */
struct token_file *token_file_open(const char *path, struct error_list *errors);
void               token_file_close(struct token_file *t); /* NULL is allowed */
/* The token as the file has it now. When it cannot be read any more, or holds none, the last one counts on, and the log says
 * so. Valid until the next call. */
const char        *token_file_get(struct token_file *t);
