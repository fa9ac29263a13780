/* cli.h — what every command of `headgate` uses: where the daemon is, how output looks, how errors end.
 * Thread: main. */
#pragma once

#include <stdio.h>

#include "common/error.h"
#include "common/options.h"
#include "proto/admin.pb-c.h"

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_WRONG_USAGE = 2, EXIT_UNREACHABLE = 3 };

struct rpc_client;

struct cli {
    const char *program;                /* argv[0], to find the other programs beside it */
    bool is_json;                       /* --output json */
    bool has_colour;                    /* of standard output */
    bool has_error_colour;              /* of standard error */
    bool is_error_terminal;             /* progress may be shown */
    char control_socket[128];
    uint64_t timeout_us;                /* of one call */
    struct rpc_client *client;          /* made with the first call */
};

/* From the options that all commands have; -1 with reasons in `errors`. */
int cli_init(struct cli *cli, const char *program, const struct options *options, struct error_list *errors);
void cli_finish(struct cli *cli);

/* ---- calls ---- */

/* Calls the admin service, showing progress when it takes longer than a second. NULL: the reason has been printed, and
 * *ret_exit is the exit code. Free the reply with protobuf_c_message_free_unpacked. */
void *cli_call(struct cli *cli, const char *method, const void *request, const ProtobufCMessageDescriptor *reply_type,
               const char *doing, int *ret_exit);

/* Likewise for those who call again and again: says nothing, waits for two seconds at most, and connects anew after a
 * failure. NULL: there is no answer. */
void *cli_call_quietly(struct cli *cli, const char *method, const void *request,
                       const ProtobufCMessageDescriptor *reply_type);

/* ---- output ---- */

enum style { STYLE_PLAIN, STYLE_GOOD, STYLE_BAD, STYLE_WARN, STYLE_NAME, STYLE_DIM, STYLE_TITLE };

/* Text on standard output, coloured when it is a terminal. */
void cli_print(const struct cli *cli, enum style style, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A line "headgate: ..." on standard error. */
void cli_error(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints errors on standard error and returns `exit_code`. */
int cli_fail(const struct cli *cli, const struct error_list *errors, int exit_code);
/* A problem of a reply as an error, which borrows its texts; the code is not set. */
struct error cli_problem_error(const Headgate__Problem *p);
/* Prints problems of a reply on standard error. Returns the number of those that are not warnings. */
size_t cli_print_problems(const struct cli *cli, Headgate__Problem *const *problems, size_t count);
/* The differences, as lines "+ cluster/web" with their fields below: at most `shown` resources with as many fields each. Of
 * `total` differences `count` are here. */
void cli_print_changes(const struct cli *cli, Headgate__Change *const *changes, size_t count, uint64_t total, size_t shown);
/* "3 s", "5 min", "2 d" between then and now. */
void cli_format_age(uint64_t then_us, char text[32]);
/* "2026-11-21 15:04:05" in local time. */
void cli_format_time(uint64_t time_us, char text[32]);
/* "1.2 ms" */
void cli_format_duration(uint64_t us, char text[32]);

/* A table whose columns are as wide as they need to be. Cells are copied. */
struct table {
    size_t columns;
    struct {
        char *text;
        enum style style;
    } *cells;
    size_t count, capacity;
};

void table_init(struct table *t, size_t columns);
void table_add(struct table *t, enum style style, const char *format, ...) __attribute__((format(printf, 3, 4)));
void table_print(const struct cli *cli, const struct table *t);
void table_finish(struct table *t);

/* ---- texts ---- */

/* "cluster/web" -> kind and name (which points into text); -1 with a message that lists the kinds. */
int cli_parse_resource(const struct cli *cli, const char *text, Headgate__Kind *ret_kind, const char **ret_name);
/* A version number; -1 with a message. */
int cli_parse_version(const struct cli *cli, const char *text, uint64_t *ret);
/* Who pushes: the login name. Valid for the life of the program. */
const char *cli_author(void);
