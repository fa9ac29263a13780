#include "controlplane/cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char enter[] = "\033[?1049h\033[?25l", leave[] = "\033[0m\033[?25h\033[?1049l";

/* Signals as bytes, since other threads exist and may be the ones that get them. */
static int signal_pipe[2] = {-1, -1};

static void on_signal(int number) {
    int saved = errno;
    char byte = number == SIGWINCH ? 'w' : 'e';
    ssize_t n = write(signal_pipe[1], &byte, 1);
    (void)n; /* full: there is enough to read */
    errno = saved;
}

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};

static void catch_signals(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaction(caught[i], &action, NULL);
}

static void write_all(const char *text, size_t n) {
    while (n) {
        ssize_t written = write(STDOUT_FILENO, text, n);
        if (written < 0 && errno != EINTR)
            return;
        text += written > 0 ? written : 0;
        n -= written > 0 ? (size_t)written : 0;
    }
}

int terminal_open(struct terminal *t) {
    *t = (struct terminal){0};
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &t->before) < 0 || pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    catch_signals(on_signal);
    t->is_open = true;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0) {
        terminal_close(t);
        return -1;
    }
    fflush(stdout);
    write_all(enter, sizeof enter - 1);
    return 0;
}

void terminal_close(struct terminal *t) {
    if (!t->is_open)
        return;
    write_all(leave, sizeof leave - 1);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
    catch_signals(SIG_DFL);
    close(signal_pipe[0]);
    close(signal_pipe[1]);
    t->is_open = false;
}

void terminal_size(unsigned *ret_width, unsigned *ret_height) {
    struct winsize size = {0};
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *ret_width = is_known ? size.ws_col : 80;
    *ret_height = is_known ? size.ws_row : 24;
}

/* ---- keys ---- */

static int key_of(struct str sequence) {
    static const struct {
        const char *text;
        int key;
    } known[] = {{"[A", KEY_UP},       {"[B", KEY_DOWN},      {"OA", KEY_UP},    {"OB", KEY_DOWN},
                 {"[5~", KEY_PAGE_UP}, {"[6~", KEY_PAGE_DOWN}, {"[H", KEY_HOME}, {"[F", KEY_END},
                 {"[1~", KEY_HOME},    {"[4~", KEY_END}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(sequence, str_of(known[i].text)))
            return known[i].key;
    return KEY_OTHER;
}

/* A sequence ends with a letter or '~', which is not the first of "[" and "O". */
static int take_byte(struct terminal *t, char byte) {
    if (t->pending_count == 0 && byte != '\033')
        return KEY_FIRST_CHARACTER + (unsigned char)byte;
    bool is_end = t->pending_count > 1 && ((byte >= '@' && byte <= '~'));
    bool is_no_sequence = t->pending_count == 1 && byte != '[' && byte != 'O';
    t->pending[t->pending_count++] = byte;
    if (!is_end && !is_no_sequence && t->pending_count < sizeof t->pending)
        return KEY_NONE;
    struct str sequence = {t->pending + 1, t->pending_count - 1};
    t->pending_count = 0;
    return key_of(sequence);
}

static int take_input(struct terminal *t) {
    char byte;
    ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n == 1)
        return take_byte(t, byte);
    return n < 0 && (errno == EINTR || errno == EAGAIN) ? KEY_NONE : KEY_ENDED;
}

static int take_signal(void) {
    char byte;
    if (read(signal_pipe[0], &byte, 1) != 1)
        return KEY_NONE;
    return byte == 'w' ? KEY_RESIZED : KEY_ENDED;
}

int terminal_key(struct terminal *t, uint64_t timeout_us) {
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signal_pipe[0], .events = POLLIN}};
    if (poll(fds, 2, (int)(timeout_us / 1000)) <= 0)
        return KEY_NONE;
    return fds[1].revents ? take_signal() : take_input(t);
}

/* ---- output ---- */

void terminal_show(const struct strbuf *lines) {
    struct strbuf frame = {0};
    strbuf_puts(&frame, "\033[H");
    for (size_t i = 0; i < lines->n; i++) {
        bool is_last = i + 1 == lines->n;
        if (lines->p[i] != '\n')
            strbuf_putc(&frame, lines->p[i]);
        else
            strbuf_puts(&frame, is_last ? "\033[K" : "\033[K\r\n");
    }
    strbuf_puts(&frame, "\033[J");
    if (!frame.failed)
        write_all(frame.p, frame.n);
    strbuf_finish(&frame);
}
