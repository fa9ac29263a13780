/* Sending by the kernel's TLS: a kernel of our own, which answers as told and makes real records, for OpenSSL's client. */
#include "tests/unit/dataplane/tls/fixture.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <openssl/evp.h>

#include "dataplane/tls/kernel_records.h"
#include "dataplane/tls/kernel_tls.h"
#include "dataplane/tls/keys.h"
#include "dataplane/tls/session_private.h"

enum { A_SOCKET = 1000, ACKNOWLEDGED = 700, OVERHEAD = 22 };

/* ---- the kernel ---- */

struct fake_kernel {
    bool                is_absent, cannot_change, refuses_keys; /* what it answers */
    int                 send_errno;                             /* 0: it takes what is sent */
    size_t              held;                                   /* bytes of the stream that TCP has no room for */
    bool                is_dead, is_full;
    unsigned            keys;                                   /* how often it got one */
    uint8_t             info[64];                               /* the newest, as it came */
    socklen_t           info_n;
    struct traffic_keys writer;
    size_t              stream;                                 /* bytes of records so far */
    struct link        *link;                                   /* where they go; NULL: nowhere */
    uint8_t             last_type;
};

static struct fake_kernel kernel;

static const EVP_CIPHER *cipher_of_info(size_t *ret_key_at, size_t *ret_iv_at, size_t *ret_salt_at, size_t *ret_salt_n) {
    const struct tls_crypto_info *head = (const void *)kernel.info;
    *ret_salt_n = 4;
    switch (head->cipher_type) {
    case TLS_CIPHER_AES_GCM_128:
        *ret_key_at = offsetof(struct tls12_crypto_info_aes_gcm_128, key);
        *ret_iv_at = offsetof(struct tls12_crypto_info_aes_gcm_128, iv);
        *ret_salt_at = offsetof(struct tls12_crypto_info_aes_gcm_128, salt);
        return EVP_aes_128_gcm();
    case TLS_CIPHER_AES_GCM_256:
        *ret_key_at = offsetof(struct tls12_crypto_info_aes_gcm_256, key);
        *ret_iv_at = offsetof(struct tls12_crypto_info_aes_gcm_256, iv);
        *ret_salt_at = offsetof(struct tls12_crypto_info_aes_gcm_256, salt);
        return EVP_aes_256_gcm();
    default:
        assert_int_equal(head->cipher_type, TLS_CIPHER_CHACHA20_POLY1305);
        *ret_key_at = offsetof(struct tls12_crypto_info_chacha20_poly1305, key);
        *ret_iv_at = offsetof(struct tls12_crypto_info_chacha20_poly1305, iv);
        *ret_salt_at = *ret_salt_n = 0;
        return EVP_chacha20_poly1305();
    }
}

/* The record sequence number is the last member of each. */
static uint64_t sequence_of_info(void) {
    uint64_t n = 0;
    for (socklen_t i = kernel.info_n - 8; i < kernel.info_n; i++)
        n = n << 8 | kernel.info[i];
    return n;
}

static int take_key(const void *value, socklen_t n) {
    size_t key_at, iv_at, salt_at, salt_n;
    assert_true(n <= sizeof kernel.info);
    memcpy(kernel.info, value, n);
    kernel.info_n = n;
    const EVP_CIPHER *cipher = cipher_of_info(&key_at, &iv_at, &salt_at, &salt_n);
    if (!kernel.writer.cipher)
        kernel.writer.cipher = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_CipherInit_ex2(kernel.writer.cipher, cipher, kernel.info + key_at, NULL, 1, NULL), 1);
    memcpy(kernel.writer.iv, kernel.info + salt_at, salt_n);
    memcpy(kernel.writer.iv + salt_n, kernel.info + iv_at, NONCE_SIZE - salt_n);
    kernel.writer.sequence = sequence_of_info();
    kernel.keys++;
    return 0;
}

static int fail_with(int error) {
    errno = error;
    return -1;
}

static int fake_set(int fd, int level, int option, const void *value, socklen_t n) {
    (void)fd;
    if (level == IPPROTO_TCP) {
        assert_int_equal(option, TCP_ULP);
        kernel.keys = 0;
        return kernel.is_absent ? fail_with(ENOENT) : 0;
    }
    assert_int_equal(level, SOL_TLS);
    assert_int_equal(option, TLS_TX);
    if (kernel.refuses_keys)
        return fail_with(ENOMEM);
    return kernel.keys > 0 && kernel.cannot_change ? fail_with(EBUSY) : take_key(value, n);
}

static int fake_get(int fd, int level, int option, void *value, socklen_t *n) {
    (void)fd;
    if (level == IPPROTO_TCP) {
        assert_int_equal(option, TCP_INFO);
        struct tcp_info info = {.tcpi_bytes_acked = ACKNOWLEDGED, .tcpi_state = kernel.is_dead ? 7 : 1};
        memcpy(value, &info, *n < sizeof info ? *n : sizeof info);
        return 0;
    }
    if (level == SOL_SOCKET) {
        const uint32_t info[SK_MEMINFO_VARS] = {[SK_MEMINFO_WMEM_QUEUED] = kernel.is_full ? 9 : 8, [SK_MEMINFO_SNDBUF] = 9};
        assert_int_equal(option, SO_MEMINFO);
        memcpy(value, info, *n);
        return 0;
    }
    memcpy(value, kernel.info, *n);
    for (socklen_t i = 0; i < 8; i++)
        ((uint8_t *)value)[*n - 1 - i] = (uint8_t)(kernel.writer.sequence >> (8 * i));
    return 0;
}

/* As the kernel does it: full records, and one for the rest. */
static void make_records(uint8_t type, const uint8_t *bytes, size_t n) {
    static uint8_t out[TLS_RECORD_MAX + OVERHEAD];
    for (size_t at = 0, part; at < n; at += part) {
        part = n - at < TLS_RECORD_MAX ? n - at : TLS_RECORD_MAX;
        assert_int_equal(traffic_keys_seal(&kernel.writer, type, bytes + at, part, out), 0);
        kernel.stream += part + OVERHEAD;
        if (kernel.link)
            strbuf_add(&kernel.link->wire[CLIENT], (const char *)out, part + OVERHEAD);
    }
}

static ssize_t fake_send(int fd, const struct msghdr *message, int flags) {
    const struct cmsghdr *control = CMSG_FIRSTHDR(message);
    (void)fd, (void)flags;
    assert_non_null(control);
    assert_int_equal(control->cmsg_level, SOL_TLS);
    assert_int_equal(control->cmsg_type, TLS_SET_RECORD_TYPE);
    if (kernel.send_errno)
        return fail_with(kernel.send_errno);
    kernel.last_type = *CMSG_DATA(control);
    make_records(kernel.last_type, message->msg_iov->iov_base, message->msg_iov->iov_len);
    return (ssize_t)message->msg_iov->iov_len;
}

static int fake_unsent(int fd, int *ret) {
    (void)fd;
    *ret = (int)(kernel.stream - kernel.held);
    return 0;
}

static void kernel_reset(void) {
    static const struct kernel_tls_calls fakes = {fake_set, fake_get, fake_send, fake_unsent};
    traffic_keys_finish(&kernel.writer);
    kernel = (struct fake_kernel){0};
    kernel_tls_use_calls(&fakes);
}

/* ---- detection ---- */

static bool has_all(void) {
    return kernel_tls_has(KERNEL_TLS_AES_128_GCM) && kernel_tls_has(KERNEL_TLS_AES_256_GCM) &&
           kernel_tls_has(KERNEL_TLS_CHACHA20_POLY1305);
}

static bool has_any(void) {
    return kernel_tls_has(KERNEL_TLS_AES_128_GCM) || kernel_tls_has(KERNEL_TLS_AES_256_GCM) ||
           kernel_tls_has(KERNEL_TLS_CHACHA20_POLY1305);
}

static void test_detection(void **state) {
    (void)state;
    kernel_reset();
    assert_string_equal(kernel_tls_detect(), "used");
    assert_true(has_all());
    kernel_tls_turn_off();
    assert_false(has_any());
    kernel.is_absent = true;
    assert_string_equal(kernel_tls_detect(), "absent");
    assert_false(has_any());
    kernel.is_absent = false;
    kernel.cannot_change = true;
    assert_string_equal(kernel_tls_detect(), "no-key-update");
    assert_false(has_any());
}

/* Whatever the machine has: one of the words, and the same as the ciphers say. */
static void test_detection_of_this_kernel(void **state) {
    (void)state;
    kernel_tls_use_calls(NULL);
    const char *word = kernel_tls_detect();
    print_message("kernel TLS of this machine: %s\n", word);
    assert_int_equal(strcmp(word, "used") == 0, has_any());
    kernel_tls_turn_off();
}

/* ---- sessions ---- */

static struct link *open_link(struct fixture *f, SSL_CTX *plain) {
    kernel_reset();
    assert_string_equal(kernel_tls_detect(), "used");
    if (!f->server)
        fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_raw(f, plain);
    link_run(l);
    assert_true(l->is_done[SERVER]);
    kernel.link = l;
    return l;
}

/* What net/conn_tls.c does to write. */
static void kernel_write(struct link *l, const char *bytes, size_t n) {
    struct tls_session *s = l->session[SERVER];
    size_t before = kernel.stream;
    assert_int_equal(tls_kernel_prepare(s, A_SOCKET), 0);
    size_t controls = kernel.stream - before;
    make_records(23, (const uint8_t *)bytes, n);
    assert_int_equal(tls_kernel_took(s, n), kernel.stream - before - controls);
    assert_int_equal(s->worker->io.out_n, 0);
}

static void expect_transfer(struct link *l, size_t n) {
    char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 11);
    l->got[CLIENT].n = l->got[SERVER].n = 0;
    kernel_write(l, bytes, n);
    link_send(l, CLIENT, bytes, n);
    link_run(l);
    for (int side = 0; side < 2; side++) {
        assert_int_equal(l->got[side].n, n);
        assert_memory_equal(l->got[side].p, bytes, n);
    }
    free(bytes);
}

static void test_suites(void **state) {
    struct fixture *f = *state;
    static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    uint64_t before = stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].in_kernel);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(SSL_CTX_set_ciphersuites(plain, suites[i]), 1);
        struct link *l = open_link(f, plain);
        assert_false(tls_is_in_kernel(l->session[SERVER]));
        assert_true(tls_offer_to_kernel(l->session[SERVER], A_SOCKET));
        assert_true(tls_is_in_kernel(l->session[SERVER]));
        assert_true(sequence_of_info() > 0); /* the ticket was a record */
        expect_transfer(l, 1);
        expect_transfer(l, 100000);
        assert_true(tls_offer_to_kernel(l->session[SERVER], A_SOCKET)); /* it is there */
        assert_int_equal(tls_write(l->session[SERVER], "x", 1), TLS_FAILED);
    }
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].in_kernel) - before, 3);
    SSL_CTX_free(plain);
}

/* Some of our own records first. */
static void test_later(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct link *l = open_link(f, plain);
    link_send(l, SERVER, "abc", 3);
    link_send(l, SERVER, "def", 3);
    link_run(l);
    assert_true(tls_offer_to_kernel(l->session[SERVER], A_SOCKET));
    expect_transfer(l, 5000);
    SSL_CTX_free(plain);
}

static void test_key_updates(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct link *l = open_link(f, plain);
    assert_true(tls_offer_to_kernel(l->session[SERVER], A_SOCKET));
    for (unsigned i = 1; i <= 3; i++) {
        expect_transfer(l, 300);
        assert_int_equal(kernel.keys, i);
        ERR_clear_error();
        assert_int_equal(SSL_key_update(l->raw, SSL_KEY_UPDATE_REQUESTED), 1);
        link_send(l, CLIENT, "x", 1);
        link_run(l); /* it has asked, and waits for the next data */
        assert_int_equal(kernel.keys, i);
        kernel.send_errno = EAGAIN;
        assert_int_equal(tls_kernel_prepare(l->session[SERVER], A_SOCKET), -1);
        assert_int_equal(errno, EAGAIN);
        kernel.send_errno = 0;
        expect_transfer(l, 20000);
        assert_int_equal(kernel.last_type, 22);
        assert_int_equal(kernel.keys, i + 1);
        assert_int_equal(sequence_of_info(), 0);
        assert_false(tls_kernel_holds(l->session[SERVER], A_SOCKET));
    }
    SSL_CTX_free(plain);
}

/* The peer has been told of a key that the kernel does not take: nothing more may be sent. */
static void test_key_update_fails(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct link *l = open_link(f, plain);
    assert_true(tls_offer_to_kernel(l->session[SERVER], A_SOCKET));
    assert_int_equal(SSL_key_update(l->raw, SSL_KEY_UPDATE_REQUESTED), 1);
    link_send(l, CLIENT, "x", 1);
    link_run(l);
    kernel.refuses_keys = true;
    assert_int_equal(tls_kernel_prepare(l->session[SERVER], A_SOCKET), -1);
    assert_int_equal(errno, EIO);
    SSL_CTX_free(plain);
}

/* One connection that the kernel does not take goes on as without it. */
static void test_refused(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < 3; i++) {
        struct link *l = open_link(f, plain);
        kernel.is_absent = i == 0;
        kernel.refuses_keys = i == 1;
        if (i == 2)
            kernel_tls_turn_off();
        assert_false(tls_offer_to_kernel(l->session[SERVER], A_SOCKET));
        kernel.is_absent = kernel.refuses_keys = false;
        assert_false(tls_offer_to_kernel(l->session[SERVER], A_SOCKET)); /* once is enough */
        link_send(l, SERVER, "hello", 5);
        link_run(l);
        assert_memory_equal(l->got[CLIENT].p, "hello", 5);
    }
    SSL_CTX_free(plain);
}

static void test_tls_1_2(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(plain, TLS1_2_VERSION);
    struct link *l = open_link(f, plain);
    assert_false(tls_offer_to_kernel(l->session[SERVER], A_SOCKET));
    link_send(l, SERVER, "hello", 5);
    link_run(l);
    assert_memory_equal(l->got[CLIENT].p, "hello", 5);
    SSL_CTX_free(plain);
}

static void test_holds(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct link *l = open_link(f, plain);
    struct tls_session *s = l->session[SERVER];
    assert_true(tls_offer_to_kernel(s, A_SOCKET));
    assert_false(tls_kernel_holds(s, A_SOCKET));
    kernel_write(l, "12345678", 8);
    for (kernel.held = 30; kernel.held > 0; kernel.held--)
        assert_true(tls_kernel_holds(s, A_SOCKET));
    kernel.is_full = true;
    assert_true(tls_kernel_holds(s, A_SOCKET));
    kernel.is_full = false;
    assert_false(tls_kernel_holds(s, A_SOCKET));
    kernel_write(l, "12345678", 8);
    kernel.held = 1;
    assert_true(tls_kernel_holds(s, A_SOCKET));
    kernel.is_dead = true; /* it never goes out */
    assert_false(tls_kernel_holds(s, A_SOCKET));
    SSL_CTX_free(plain);
}

static void test_close_notify(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct link *l = open_link(f, plain);
    struct tls_session *s = l->session[SERVER];
    assert_true(tls_offer_to_kernel(s, A_SOCKET));
    expect_transfer(l, 10);
    tls_close_notify(s);
    assert_true(s->worker->io.has_alert);
    assert_int_equal(tls_kernel_send_alert(s, A_SOCKET), 2 + OVERHEAD);
    assert_false(s->worker->io.has_alert);
    assert_int_equal(tls_kernel_send_alert(s, A_SOCKET), 0);
    link_run(l);
    assert_int_equal(l->status[CLIENT], TLS_EOF);
    SSL_CTX_free(plain);
}

static void test_fatal_alert(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct link *l = open_link(f, plain);
    struct tls_session *s = l->session[SERVER];
    assert_true(tls_offer_to_kernel(s, A_SOCKET));
    static const char forged[] = "\x17\x03\x03\x00\x14" "twenty bytes of junk";
    strbuf_add(&l->wire[SERVER], forged, sizeof forged - 1);
    link_run(l);
    assert_int_equal(l->status[SERVER], TLS_FAILED);
    assert_string_equal(tls_failure(s), "bad-record");
    assert_int_equal(tls_kernel_send_alert(s, A_SOCKET), 2 + OVERHEAD);
    ERR_clear_error();
    link_run(l);
    assert_int_equal(l->status[CLIENT], TLS_FAILED);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    SSL_CTX_free(plain);
}

/* ---- all ---- */

static int tear_down(void **state) {
    kernel_reset();
    kernel_tls_turn_off();
    kernel_tls_use_calls(NULL);
    return fixture_teardown(state);
}

#define KERNEL_TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        KERNEL_TEST(test_detection),   KERNEL_TEST(test_detection_of_this_kernel),
        KERNEL_TEST(test_suites),      KERNEL_TEST(test_later),
        KERNEL_TEST(test_key_updates), KERNEL_TEST(test_key_update_fails),
        KERNEL_TEST(test_refused),     KERNEL_TEST(test_tls_1_2),
        KERNEL_TEST(test_holds),       KERNEL_TEST(test_close_notify),
        KERNEL_TEST(test_fatal_alert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
