/* headgate top: asks again and again, and shows what has changed. */
#include <poll.h>
#include <unistd.h>

#include "common/clock.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/terminal.h"
#include "controlplane/cli/top_screen.h"

enum { INTERVAL_MAX = 3600, ANSWER_US = 2000000, ASK_AGAIN_US = 50000, FILE_WIDTH = 500 };

struct top {
    struct cli *cli;
    const char *node;                  /* NULL: all */
    uint64_t    interval_us;
    uint64_t    since;                 /* what the first call asked with; 0: there was none yet */
    Headgate__TopReply *before, *now;  /* the last two; NULL: not yet */
    bool        has_trouble;           /* the last call failed */
};

static void take(struct top *t, Headgate__TopReply *reply) {
    if (t->before)
        headgate__top_reply__free_unpacked(t->before, NULL);
    t->before = t->now;
    t->now = reply;
    bool is_another = reply->asked < t->since; /* control plane, which numbers from the beginning */
    t->since = t->since && !is_another ? t->since : reply->asked;
}

static void finish(struct top *t) {
    if (t->before)
        headgate__top_reply__free_unpacked(t->before, NULL);
    if (t->now)
        headgate__top_reply__free_unpacked(t->now, NULL);
}

static Headgate__TopReply *ask(struct top *t, bool is_quiet, int *ret_exit) {
    Headgate__TopRequest request = HEADGATE__TOP_REQUEST__INIT;
    const ProtobufCMessageDescriptor *type = &headgate__top_reply__descriptor;
    return is_quiet ? cli_call_quietly(t->cli, "/headgate.Admin/Top", &request, type)
                    : cli_call(t->cli, "/headgate.Admin/Top", &request, type, "asking", ret_exit);
}

/* ---- without a terminal ---- */

/* Asks until all have answered what was first asked here, or for some time: who does not answer is shown as that. An exit
 * code, or -1 when there is a reply. */
static int ask_for_answers(struct top *t) {
    uint64_t end = clock_monotonic_us() + ANSWER_US, since = 0;
    Headgate__TopReply *reply = NULL;
    int exit_code = EXIT_DONE;
    for (;;) {
        if (reply)
            headgate__top_reply__free_unpacked(reply, NULL);
        if (!(reply = ask(t, false, &exit_code)))
            return exit_code;
        since = since ? since : reply->asked;
        if (top_is_answered(reply, since) || clock_monotonic_us() > end)
            break;
        poll(NULL, 0, ASK_AGAIN_US / 1000);
    }
    take(t, reply);
    return -1;
}

static int print(const struct top *t) {
    struct top_view view;
    struct strbuf out = {0};
    struct top_screen screen = {.has_colour = t->cli->has_colour};
    unsigned height;
    if (top_view_make(&view, t->before, t->now, t->since, t->node) < 0) {
        cli_error(t->cli, "out of memory");
        return EXIT_REFUSED;
    }
    terminal_size(&screen.width, &height);
    if (!isatty(STDOUT_FILENO))
        screen.width = FILE_WIDTH;
    top_view_sort(&view, screen.order);
    if (t->cli->is_json) {
        top_view_add_json(&view, &out);
        strbuf_putc(&out, '\n');
    } else
        top_screen_render(&screen, &view, &out);
    bool is_written = !out.failed && fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    strbuf_finish(&out);
    top_view_finish(&view);
    return is_written ? -1 : EXIT_REFUSED;
}

/* Rates need two answers. */
static int print_again_and_again(struct top *t, bool is_once) {
    int exit_code = ask_for_answers(t);
    while (exit_code < 0) {
        poll(NULL, 0, (int)(t->interval_us / 1000));
        exit_code = ask_for_answers(t);
        if (exit_code < 0)
            exit_code = print(t);
        if (exit_code < 0 && is_once)
            return EXIT_DONE;
    }
    return exit_code;
}

/* ---- on a terminal ---- */

static void show(struct top *t, struct top_screen *screen) {
    struct top_view view;
    struct strbuf lines = {0};
    terminal_size(&screen->width, &screen->height);
    screen->trouble = t->has_trouble ? "the control plane does not answer" : NULL;
    if (top_view_make(&view, t->before, t->now, t->since, t->node) < 0)
        return; /* the next has another chance */
    top_view_sort(&view, screen->order);
    top_screen_render(screen, &view, &lines);
    if (!lines.failed)
        terminal_show(&lines);
    strbuf_finish(&lines);
    top_view_finish(&view);
}

static void scroll(struct top_screen *s, size_t by, bool is_up) {
    s->first = !is_up ? s->first + by : s->first > by ? s->first - by : 0;
}

/* False: it is over. */
static bool obey(struct top_screen *s, int key) {
    size_t page = s->height > 6 ? s->height - 6 : 1;
    switch (key) {
    case KEY_FIRST_CHARACTER + 'q':
    case KEY_FIRST_CHARACTER + 'Q':
    case KEY_ENDED: return false;
    case KEY_FIRST_CHARACTER + 's': s->order = (s->order + 1) % TOP_ORDERS; s->first = 0; break;
    case KEY_UP: scroll(s, 1, true); break;
    case KEY_DOWN: scroll(s, 1, false); break;
    case KEY_PAGE_UP: scroll(s, page, true); break;
    case KEY_PAGE_DOWN: scroll(s, page, false); break;
    case KEY_HOME: s->first = 0; break;
    case KEY_END: s->first = UINT32_MAX; break;
    default: break;
    }
    return true;
}

static void ask_quietly(struct top *t) {
    Headgate__TopReply *reply = ask(t, true, NULL);
    t->has_trouble = reply == NULL;
    if (reply)
        take(t, reply);
}

static void watch(struct top *t, struct terminal *terminal) {
    struct top_screen screen = {.has_colour = t->cli->has_colour, .has_keys = true};
    uint64_t next = clock_monotonic_us() + (t->interval_us < 200000 ? t->interval_us : 200000); /* first numbers soon */
    bool goes_on = true;
    while (goes_on) {
        uint64_t now = clock_monotonic_us();
        if (now >= next) {
            ask_quietly(t);
            next = clock_monotonic_us() + t->interval_us;
        }
        show(t, &screen);
        now = clock_monotonic_us();
        goes_on = obey(&screen, terminal_key(terminal, next > now ? next - now + 999 : 0));
    }
}

int command_top(struct cli *cli, const struct options *options) {
    struct top t = {.cli = cli, .node = options_get(options, "node")};
    struct terminal terminal;
    struct error_list errors = {0};
    uint64_t seconds = 1;
    int exit_code = EXIT_DONE;
    if (options_number(options, "interval", &(struct options_range){1, INTERVAL_MAX, 1}, &seconds, &errors) < 0) {
        exit_code = cli_fail(cli, &errors, EXIT_WRONG_USAGE);
        error_list_finish(&errors);
        return exit_code;
    }
    t.interval_us = seconds * 1000000;
    Headgate__TopReply *first = ask(&t, false, &exit_code);
    if (!first)
        return exit_code;
    take(&t, first);
    bool is_once = options_has(options, "once");
    if (!is_once && !cli->is_json && terminal_open(&terminal) == 0) {
        watch(&t, &terminal);
        terminal_close(&terminal);
    } else
        exit_code = print_again_and_again(&t, is_once || !cli->is_json);
    finish(&t);
    return exit_code;
}
