#include "controlplane/daemon/options.h"

#include <grp.h>
#include <stdio.h>

#include "common/address.h"
#include "common/folders.h"

const struct option_spec daemon_option_specs[] = {
    {"state-dir", 's', "DIR",
     "where versions are kept, in its folder store ($HEADGATE_STATE_DIR or /var/lib/headgate)"},
    {"runtime-dir", 'r', "DIR", "where the sockets are ($HEADGATE_RUNTIME_DIR or /run/headgate)"},
    {"config", 'c', "FILE", "push FILE now and whenever it or what it includes changes"},
    {"xds-bootstrap", '\0', "FILE",
     "ask the management servers of FILE (xDS), which has the form of gRPC's bootstrap files or of Envoy's"},
    {"xds-resources", '\0', "N", "of such resources may be held; what comes beyond is refused by name (1000000)"},
    {"xds-memory", '\0', "MIB", "of memory for what they send, likewise (1024)"},
    {"etcd", '\0', "ADDRESS",
     "follow the configuration and endpoints of an etcd: etcd://HOST:PORT[,HOST:PORT...]/PREFIX, or etcds:// for TLS"},
    {"etcd-ca", '\0', "FILE", "PEM authorities of its certificate (the system's)"},
    {"etcd-cert", '\0', "FILE", "PEM certificate to show to it"},
    {"etcd-key", '\0', "FILE", "its PEM key"},
    {"etcd-user", '\0', "NAME", "who asks it"},
    {"etcd-password-file", '\0', "FILE", "the password of that user ($" ETCD_PASSWORD_VARIABLE ")"},
    {"files-root", '\0', "DIR",
     "read certificates, keys and authorities below DIR only (/ with --config, otherwise /etc/headgate); names that are not "
     "absolute start at the folder of --config, otherwise at DIR"},
    {"control-socket", '\0', "PATH", "for the headgate program (RUNTIME_DIR/control.sock)"},
    {"control-group", '\0', "GROUP", "who may use it besides the owner"},
    {"dataplane-socket", '\0', "PATH", "for data planes on this machine (RUNTIME_DIR/dataplane.sock)"},
    {"dataplane-group", '\0', "GROUP", "who may use it besides the owner"},
    {"dataplane-listen", '\0', "HOST:PORT", "for data planes elsewhere, over mutually authenticated TLS"},
    {"tls-cert", '\0', "FILE", "PEM certificate (and chain) for --dataplane-listen"},
    {"tls-key", '\0', "FILE", "its PEM key"},
    {"tls-ca", '\0', "FILE", "PEM authorities that the certificates of data planes must come from"},
    {"tls-any-name", '\0', NULL, "let in any certificate of those authorities, whatever node name it comes with"},
    {"admin-listen", 'a', "ADDRESS", "metrics and probes over HTTP (127.0.0.1:9902), or off"},
    {"metrics-token-file", '\0', "FILE", "the bearer token for /metrics off loopback"},
    {"kubernetes-server", '\0', "URL", "of the API server, for discovery: kubernetes (in a pod: its own)"},
    {"kubernetes-ca", '\0', "FILE", "PEM authorities of its certificate (in a pod: its service account's)"},
    {"kubernetes-token-file", '\0', "FILE", "the bearer token for it, read again when it changes (in a pod: likewise)"},
    {"kubernetes-cert", '\0', "FILE", "PEM certificate for it, instead of a token"},
    {"kubernetes-key", '\0', "FILE", "its PEM key"},
    {"keep-versions", '\0', "N", "of the newest versions are kept (200)"},
    {"prepare-timeout", '\0', "SECONDS", "for a data plane to check and build a snapshot (30)"},
    {"commit-timeout", '\0', "SECONDS", "for a data plane to switch to it (30)"},
    {"data-planes", '\0', "N", "may be connected at once (1024)"},
    {"version", 'V', NULL, "print the version"},
    {"help", 'h', NULL, "print this"},
    {0},
};

/* ---- folders ---- */

static int print_path(char *text, size_t size, const char *folder, const char *name) {
    int n = snprintf(text, size, "%s%s", folder, name);
    return n >= 0 && (size_t)n < size ? 0 : -1;
}

static void set_folders(struct daemon_options *o, struct error_list *errors) {
    char state[256], runtime[128];
    const char *state_dir = options_get(&o->given, "state-dir"),
               *runtime_dir = options_get(&o->given, "runtime-dir");
    const char *control = options_get(&o->given, "control-socket"),
               *data = options_get(&o->given, "dataplane-socket");
    int status = state_dir ? print_path(state, sizeof state, state_dir, "")
                           : default_state_dir(state, sizeof state);
    status |= runtime_dir ? print_path(runtime, sizeof runtime, runtime_dir, "")
                          : default_runtime_dir(runtime, sizeof runtime);
    if (status == 0) {
        status |= print_path(o->store_dir, sizeof o->store_dir, state, "/store");
        status |= print_path(o->control_socket, sizeof o->control_socket, control ? control : runtime,
                             control ? "" : "/control.sock");
        status |= print_path(o->dataplane_socket, sizeof o->dataplane_socket, data ? data : runtime,
                             data ? "" : "/dataplane.sock");
    }
    if (status < 0)
        error_addf(errors, ERROR_RANGE, "the path of a folder or socket is too long");
}

/* ---- single options ---- */

static long group_option(const struct daemon_options *o, const char *name, struct error_list *errors) {
    const char *text = options_get(&o->given, name);
    uint64_t number;
    if (!text)
        return -1;
    const struct group *group = getgrnam(text);
    if (group)
        return group->gr_gid;
    if (str_to_uint64(str_of(text), &number) == 0 && number < UINT32_MAX)
        return (long)number;
    error_addf(errors, ERROR_REFERENCE, "--%s: there is no group %s", name, text);
    return -1;
}

static void set_admin(struct daemon_options *o, struct error_list *errors) {
    struct address ignored;
    const char *text = options_get(&o->given, "admin-listen");
    o->admin_listen = !text ? "127.0.0.1:9902" : strcmp(text, "off") == 0 ? NULL : text;
    if (o->admin_listen && address_parse(str_of(o->admin_listen), &ignored) < 0)
        error_addf(errors, ERROR_SYNTAX,
                   "--admin-listen wants an address such as 127.0.0.1:9902, or off; not %s", text);
}

static void set_token(struct daemon_options *o, struct error_list *errors) {
    const char *path = options_get(&o->given, "metrics-token-file");
    if (path)
        o->metrics_token = token_file_open(path, errors);
}

static void set_tls(struct daemon_options *o, struct error_list *errors) {
    o->dataplane_listen = options_get(&o->given, "dataplane-listen");
    o->tls.certificate = options_get(&o->given, "tls-cert");
    o->tls.key = options_get(&o->given, "tls-key");
    o->tls.authority = options_get(&o->given, "tls-ca");
    o->tls_any_name = options_has(&o->given, "tls-any-name");
    bool has_all = o->tls.certificate && o->tls.key && o->tls.authority;
    bool has_any = o->tls.certificate || o->tls.key || o->tls.authority || o->tls_any_name;
    if (o->dataplane_listen ? !has_all : has_any)
        error_addf(errors, ERROR_MISSING,
                   "--dataplane-listen, --tls-cert, --tls-key and --tls-ca go together");
}

static void set_kubernetes(struct daemon_options *o, struct error_list *errors) {
    o->kubernetes = (struct kubernetes_config){.server = options_get(&o->given, "kubernetes-server"),
                                               .ca_file = options_get(&o->given, "kubernetes-ca"),
                                               .token_file = options_get(&o->given, "kubernetes-token-file"),
                                               .certificate = options_get(&o->given, "kubernetes-cert"),
                                               .key = options_get(&o->given, "kubernetes-key")};
    if (!o->kubernetes.certificate != !o->kubernetes.key)
        error_addf(errors, ERROR_MISSING, "--kubernetes-cert and --kubernetes-key go together");
}

static void set_etcd(struct daemon_options *o, struct error_list *errors) {
    o->etcd = (struct etcd_options){.address = options_get(&o->given, "etcd"),
                                    .authority = options_get(&o->given, "etcd-ca"),
                                    .certificate = options_get(&o->given, "etcd-cert"),
                                    .key = options_get(&o->given, "etcd-key"),
                                    .user = options_get(&o->given, "etcd-user"),
                                    .password_file = options_get(&o->given, "etcd-password-file")};
    bool has_more = o->etcd.authority || o->etcd.certificate || o->etcd.key || o->etcd.user || o->etcd.password_file;
    if (!o->etcd.address && has_more)
        error_addf(errors, ERROR_MISSING, "--etcd-ca, --etcd-cert, --etcd-key, --etcd-user and "
                   "--etcd-password-file go with --etcd");
}

static void set_files(struct daemon_options *o, struct error_list *errors) {
    const char *given = options_get(&o->given, "files-root"), *slash = o->config ? strrchr(o->config, '/') : NULL;
    o->files_root = given ? given : o->config ? "/" : "/etc/headgate";
    int n = !o->config ? snprintf(o->files_base, sizeof o->files_base, "%s", o->files_root)
            : !slash   ? snprintf(o->files_base, sizeof o->files_base, ".")
                       : snprintf(o->files_base, sizeof o->files_base, "%.*s", (int)(slash - o->config + 1), o->config);
    if (n >= (int)sizeof o->files_base)
        error_addf(errors, ERROR_RANGE, "the path of a folder is too long");
}

static void set_numbers(struct daemon_options *o, struct error_list *errors) {
    uint64_t prepare = 30, commit = 30, xds_mib = 1024;
    options_number(&o->given, "keep-versions", &(struct options_range){1, 1000000, 200}, &o->keep_versions, errors);
    options_number(&o->given, "prepare-timeout", &(struct options_range){1, 3600, 30}, &prepare, errors);
    options_number(&o->given, "commit-timeout", &(struct options_range){1, 3600, 30}, &commit, errors);
    options_number(&o->given, "data-planes", &(struct options_range){1, 100000, 1024}, &o->data_planes_max, errors);
    options_number(&o->given, "xds-resources", &(struct options_range){1, 10000000, 1000000}, &o->xds_resources_max, errors);
    options_number(&o->given, "xds-memory", &(struct options_range){1, 65536, 1024}, &xds_mib, errors);
    o->xds_bytes_max = xds_mib << 20;
    o->prepare_timeout = prepare * 1000000;
    o->commit_timeout = commit * 1000000;
}

int daemon_options_parse(int argc, char *const *argv, struct daemon_options *ret, struct error_list *errors) {
    size_t faults = errors->count;
    *ret = (struct daemon_options){.dataplane_group = -1, .control_group = -1};
    if (options_parse(daemon_option_specs, argc, argv, &ret->given, errors) < 0)
        return -1;
    if (ret->given.argument_count)
        error_addf(errors, ERROR_SYNTAX, "no arguments are expected, not %s", ret->given.arguments[0]);
    ret->config = options_get(&ret->given, "config");
    ret->xds_bootstrap = options_get(&ret->given, "xds-bootstrap");
    set_folders(ret, errors);
    set_files(ret, errors);
    ret->dataplane_group = group_option(ret, "dataplane-group", errors);
    ret->control_group = group_option(ret, "control-group", errors);
    set_admin(ret, errors);
    set_token(ret, errors);
    set_tls(ret, errors);
    set_kubernetes(ret, errors);
    set_etcd(ret, errors);
    set_numbers(ret, errors);
    return errors->count == faults ? 0 : -1;
}

void daemon_options_finish(struct daemon_options *o) {
    options_finish(&o->given);
    token_file_close(o->metrics_token);
    o->metrics_token = NULL;
}
