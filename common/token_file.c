#include "common/token_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/file_stamp.h"
#include "common/input_file.h"
#include "common/log.h"

struct token_file {
    char             *path;
    struct file_stamp stamp;
    char              token[TOKEN_MAX + 1];
};

/* 0 and the token, or -1 with a reason in `errors`. */
static int read_token(const char *path, char ret[TOKEN_MAX + 1], struct error_list *errors) {
    char line[TOKEN_MAX + 3];
    FILE *file = input_file_open(path);
    bool is_read = file && fgets(line, sizeof line, file);
    int error = errno;
    if (file)
        fclose(file);
    if (!is_read) {
        error_addf(errors, ERROR_IO, "no token in %s: %s", path, file ? "it is empty" : input_file_reason(error));
        return -1;
    }
    size_t size = strlen(line);
    while (size && strchr(" \t\r\n", line[size - 1]))
        size--;
    if (size == 0 || size > TOKEN_MAX) {
        error_addf(errors, ERROR_MISSING, "no token in %s: the first line is empty, or longer than %d bytes", path,
                   TOKEN_MAX);
        return -1;
    }
    line[size] = '\0';
    memcpy(ret, line, size + 1);
    return 0;
}

struct token_file *token_file_open(const char *path, struct error_list *errors) {
    struct token_file *t = hg_calloc(1, sizeof *t);
    if (t)
        t->path = hg_strdup(path);
    if (!t || !t->path) {
        error_addf(errors, ERROR_MEMORY, "no memory for a token");
        token_file_close(t);
        return NULL;
    }
    t->stamp = file_stamp_of(path);
    if (read_token(path, t->token, errors) == 0)
        return t;
    token_file_close(t);
    return NULL;
}

void token_file_close(struct token_file *t) {
    if (!t)
        return;
    explicit_bzero(t->token, sizeof t->token);
    hg_free(t->path);
    hg_free(t);
}

const char *token_file_get(struct token_file *t) {
    struct file_stamp now = file_stamp_of(t->path);
    struct error_list errors = {0};
    if (file_stamp_equal(&now, &t->stamp))
        return t->token;
    t->stamp = now;
    if (read_token(t->path, t->token, &errors) < 0)
        log_warning("the token of before is used on", LOG_S("reason", errors.count ? errors.items[0].message : ""));
    error_list_finish(&errors);
    return t->token;
}
