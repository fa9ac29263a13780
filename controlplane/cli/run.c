/* run: a control plane and a data plane in the foreground. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/folders.h"
#include "controlplane/cli/banner.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/supervisor.h"
#include "controlplane/config/config.h"
#include "controlplane/rpc/server.h"
#include "controlplane/store/store.h"

enum { LOOKS_MAX = 50 }; /* each after a tenth of a second */

struct run {
    struct cli *cli;
    const struct options *options;
    char state_dir[200], runtime_dir[100];
    char controlplane[PATH_MAX], holder[PATH_MAX], dataplane[PATH_MAX]; /* programs */
    char channel[160]; /* "unix:RUNTIME_DIR/dataplane.sock" */
    char file[256];    /* to be watched; empty: none */
    int looks;         /* so far, at what another one still has */
    struct supervisor supervisor;
    struct banner banner;
};

/* ---- where things are ---- */

static int set_folder(const struct run *r, const char *option, char *text, size_t size,
                      int (*otherwise)(char *text, size_t size)) {
    const char *given = options_get(r->options, option);
    if (given ? snprintf(text, size, "%s", given) < (int)size : otherwise(text, size) == 0)
        return 0;
    cli_error(r->cli, "the path of --%s is too long", option);
    return -1;
}

/* The other programs are installed beside this one. */
static int find_program(const struct run *r, const char *name, char path[PATH_MAX]) {
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n <= 0)
        return -1;
    own[n] = '\0';
    char *slash = strrchr(own, '/');
    *slash = '\0';
    if (snprintf(path, PATH_MAX, "%s/%s", own, name) < PATH_MAX && access(path, X_OK) == 0)
        return 0;
    cli_error(r->cli, "%s is not beside this program in %s", name, own);
    return -1;
}

static int find_programs(struct run *r) {
    if (find_program(r, "headgate-controlplane", r->controlplane) < 0 ||
        find_program(r, "headgate-holder", r->holder) < 0)
        return -1;
    return find_program(r, "headgate-dataplane", r->dataplane);
}

static int make_folders(const struct run *r) {
    const char *folders[] = {r->runtime_dir, r->state_dir};
    for (int i = 0; i < 2; i++) {
        if (folder_make(folders[i], 0755) == 0)
            continue;
        cli_error(r->cli, "cannot make the folder %s: %s", folders[i], strerror(errno));
        return -1;
    }
    return 0;
}

/* A `headgate run` that was killed, and its control plane, end soon: who starts the next one at once waits for that. False:
 * no longer. */
static bool waits_for(struct run *r, const char *path) {
    const struct timespec tenth = {.tv_nsec = 100000000};
    if (r->looks == LOOKS_MAX)
        return false;
    if (r->looks++ == 0)
        cli_error(r->cli, "another one has %s: waiting for its end", path);
    nanosleep(&tenth, NULL);
    return true;
}

static int claim_folder(struct run *r, const char *folder) {
    while (folder_claim(folder) < 0) { /* for as long as this process lives */
        if (errno != EWOULDBLOCK) {
            cli_error(r->cli, "cannot lock the folder %s: %s", folder, strerror(errno));
            return -1;
        }
        if (waits_for(r, folder))
            continue;
        cli_error(r->cli, "another headgate run has %s: --runtime-dir and --state-dir give this one folders of its own",
                  folder);
        return -1;
    }
    return 0;
}

static int wait_for_control_plane(struct run *r, bool (*has)(const char *path), const char *path, const char *option) {
    while (has(path)) {
        if (waits_for(r, path))
            continue;
        cli_error(r->cli, "a control plane has %s: --%s gives this one a folder of its own", path, option);
        return -1;
    }
    return 0;
}

/* Whatever it is called. */
static bool is_same_folder(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Two in one folder would be of one mind: the second one writes what the first one watches, and asks its control plane. */
static int claim_folders(struct run *r) {
    char store[sizeof r->state_dir + sizeof "/store"];
    bool is_one = is_same_folder(r->runtime_dir, r->state_dir);
    snprintf(store, sizeof store, "%s/store", r->state_dir);
    if (claim_folder(r, r->runtime_dir) < 0 || (!is_one && claim_folder(r, r->state_dir) < 0))
        return -1;
    /* It gives back its store after its socket. */
    if (wait_for_control_plane(r, rpc_socket_is_alive, r->cli->control_socket, "runtime-dir") < 0)
        return -1;
    return wait_for_control_plane(r, store_is_in_use, store, "state-dir");
}

/* ---- what is served ---- */

static size_t take_all(const struct options *options, const char *name, const char **values, size_t max) {
    size_t n = 0;
    while (n < max && (values[n] = options_get_nth(options, name, n)))
        n++;
    return n;
}

static int write_file(const struct run *r, const struct strbuf *text) {
    int fd = open(r->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool is_written = fd >= 0 && write(fd, text->p, text->n) == (ssize_t)text->n;
    if (fd >= 0)
        close(fd);
    if (!is_written)
        cli_error(r->cli, "cannot write %s: %s", r->file, strerror(errno));
    return is_written ? 0 : -1;
}

/* --listen and --to become a file like any other, to be looked at and learnt from. */
static int write_from_command_line(struct run *r) {
    enum { MOST = 64 };
    const char *listen[MOST], *to[MOST];
    size_t listen_count = take_all(r->options, "listen", listen, MOST),
           to_count = take_all(r->options, "to", to, MOST);
    const struct config_render_options plain = {0};
    struct config_resources set = {0};
    struct strbuf text = {0};
    struct error_list errors = {0};
    snprintf(r->file, sizeof r->file, "%s/run.yaml", r->state_dir);
    int status = config_from_command_line(listen, listen_count, to, to_count, &set, &errors);
    if (status == 0)
        status = config_render(&set, &plain, &text, &errors);
    if (status < 0)
        cli_fail(r->cli, &errors, EXIT_WRONG_USAGE);
    else
        status = write_file(r, &text);
    config_resources_finish(&set);
    strbuf_finish(&text);
    error_list_finish(&errors);
    return status;
}

static bool has_stored_version(const struct run *r) {
    char path[256];
    snprintf(path, sizeof path, "%s/store", r->state_dir);
    return access(path, F_OK) == 0;
}

/* A file that is not valid stops a first start; later the last good version is served, and the file is watched. */
static int check_file(const struct run *r) {
    struct config_resources set = {0};
    struct error_list errors = {0}, warnings = {0};
    int status = validate_file(r->file, &set, &errors, &warnings);
    cli_fail(r->cli, &errors, 0);
    config_resources_finish(&set);
    error_list_finish(&errors);
    error_list_finish(&warnings);
    if (status < 0 && has_stored_version(r)) {
        cli_error(r->cli, "%s is not valid: the last good version is served until it is", r->file);
        return 0;
    }
    return status;
}

static int choose_file(struct run *r) {
    bool has_listen = options_has(r->options, "listen"), has_to = options_has(r->options, "to");
    bool has_file = r->options->argument_count > 0;
    if (has_listen != has_to || (has_file && has_listen)) {
        cli_error(r->cli, "run takes a file, or --listen and --to, or neither");
        return -1;
    }
    if (has_listen)
        return write_from_command_line(r);
    if (!has_file)
        return 0;
    if (snprintf(r->file, sizeof r->file, "%s", r->options->arguments[0]) < (int)sizeof r->file)
        return 0;
    cli_error(r->cli, "the path of the file is too long");
    return -1;
}

/* ---- running ---- */

static void add_children(struct run *r) {
    struct child *control = supervisor_add(&r->supervisor, "the control plane", r->controlplane, true);
    child_add(control, "--state-dir", r->state_dir);
    child_add(control, "--runtime-dir", r->runtime_dir);
    child_add(control, "--control-socket", options_get(r->options, "control-socket"));
    child_add(control, "--config", r->file[0] ? r->file : NULL);
    child_add(control, "--xds-bootstrap", options_get(r->options, "xds-bootstrap"));
    child_add(control, "--xds-resources", options_get(r->options, "xds-resources"));
    child_add(control, "--xds-memory", options_get(r->options, "xds-memory"));
    child_add(control, "--etcd", options_get(r->options, "etcd"));
    child_add(control, "--etcd-ca", options_get(r->options, "etcd-ca"));
    child_add(control, "--etcd-cert", options_get(r->options, "etcd-cert"));
    child_add(control, "--etcd-key", options_get(r->options, "etcd-key"));
    child_add(control, "--etcd-user", options_get(r->options, "etcd-user"));
    child_add(control, "--etcd-password-file", options_get(r->options, "etcd-password-file"));
    child_add(control, "--files-root", "/"); /* who runs it can read what it reads */
    child_add(control, "--admin-listen", options_get(r->options, "controlplane-admin"));
    snprintf(r->channel, sizeof r->channel, "unix:%s/dataplane.sock", r->runtime_dir);
    struct child *holder = supervisor_add(&r->supervisor, "the holder of the data plane", r->holder, false);
    child_add(holder, "--dataplane", r->dataplane);
    child_add(holder, "--control-plane", r->channel);
    child_add(holder, "--state-dir", r->state_dir);
    child_add(holder, "--runtime-dir", r->runtime_dir);
    child_add(holder, "--user", options_get(r->options, "user"));
    child_add(holder, "--node", options_get(r->options, "node"));
    child_add(holder, "--zone", options_get(r->options, "zone"));
    child_add(holder, "--workers", options_get(r->options, "workers"));
    child_add(holder, "--kernel-tls", options_get(r->options, "kernel-tls"));
    child_add(holder, "--udp-steering", options_get(r->options, "udp-steering"));
    child_add(holder, "--admin-listen", options_get(r->options, "dataplane-admin"));
}

static int prepare(struct run *r) {
    if (set_folder(r, "state-dir", r->state_dir, sizeof r->state_dir, default_state_dir) < 0 ||
        set_folder(r, "runtime-dir", r->runtime_dir, sizeof r->runtime_dir, default_runtime_dir) < 0)
        return EXIT_WRONG_USAGE;
    if (find_programs(r) < 0 || make_folders(r) < 0 || claim_folders(r) < 0)
        return EXIT_REFUSED;
    if (choose_file(r) < 0)
        return EXIT_WRONG_USAGE;
    return r->file[0] && check_file(r) < 0 ? EXIT_REFUSED : EXIT_DONE;
}

int command_run(struct cli *cli, const struct options *options) {
    struct run r = {.cli = cli, .options = options};
    int exit_code = prepare(&r);
    if (exit_code != EXIT_DONE)
        return exit_code;
    supervisor_init(&r.supervisor);
    add_children(&r);
    if (supervisor_start(&r.supervisor) < 0)
        supervisor_stop(&r.supervisor);
    banner_start(&r.banner, r.supervisor.loop, cli, r.file[0] ? r.file : NULL);
    int status = supervisor_run(&r.supervisor);
    banner_stop(&r.banner);
    return status < 0 ? EXIT_REFUSED : EXIT_DONE;
}
