#include "dataplane/tls/failure.h"

#include <stddef.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

const char *tls_failure_word(enum tls_failure f) {
    static const char *const words[] = {
#define TLS_FAILURE_WORD(name, word) word,
        STATS_TLS_FAILURES(TLS_FAILURE_WORD)
#undef TLS_FAILURE_WORD
    };
    return words[f];
}

struct meaning {
    long             code;
    enum tls_failure failure;
};

static const struct meaning verifications[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, TLS_FAILURE_EXPIRED},
    {X509_V_ERR_CERT_NOT_YET_VALID, TLS_FAILURE_NOT_YET_VALID},
    {X509_V_ERR_CERT_REVOKED, TLS_FAILURE_REVOKED},
    {X509_V_ERR_UNABLE_TO_GET_CRL, TLS_FAILURE_NO_REVOCATION_LIST},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, TLS_FAILURE_NO_REVOCATION_LIST},
    {X509_V_ERR_CRL_HAS_EXPIRED, TLS_FAILURE_NO_REVOCATION_LIST},
    {X509_V_ERR_CRL_NOT_YET_VALID, TLS_FAILURE_NO_REVOCATION_LIST},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, TLS_FAILURE_NO_REVOCATION_LIST},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, TLS_FAILURE_UNKNOWN_CA},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, TLS_FAILURE_UNKNOWN_CA},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, TLS_FAILURE_UNKNOWN_CA},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, TLS_FAILURE_UNKNOWN_CA},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, TLS_FAILURE_UNKNOWN_CA},
    {X509_V_ERR_CERT_UNTRUSTED, TLS_FAILURE_UNKNOWN_CA},
    {X509_V_ERR_HOSTNAME_MISMATCH, TLS_FAILURE_NAME_MISMATCH},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, TLS_FAILURE_NAME_MISMATCH},
    {X509_V_ERR_OUT_OF_MEM, TLS_FAILURE_MEMORY},
};

static const struct meaning reasons[] = {
    {SSL_R_HTTP_REQUEST, TLS_FAILURE_NOT_TLS},
    {SSL_R_HTTPS_PROXY_REQUEST, TLS_FAILURE_NOT_TLS},
    {SSL_R_WRONG_VERSION_NUMBER, TLS_FAILURE_NOT_TLS},
    {SSL_R_UNSUPPORTED_PROTOCOL, TLS_FAILURE_VERSION},
    {SSL_R_UNSUPPORTED_SSL_VERSION, TLS_FAILURE_VERSION},
    {SSL_R_INAPPROPRIATE_FALLBACK, TLS_FAILURE_VERSION},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, TLS_FAILURE_VERSION},
    {SSL_R_NO_SHARED_CIPHER, TLS_FAILURE_CIPHER},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, TLS_FAILURE_CIPHER},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, TLS_FAILURE_CIPHER},
    {SSL_R_NO_SUITABLE_KEY_SHARE, TLS_FAILURE_GROUP},
    {SSL_R_NO_SUITABLE_GROUPS, TLS_FAILURE_GROUP},
    {SSL_R_NO_SHARED_GROUPS, TLS_FAILURE_GROUP},
    {SSL_R_NO_APPLICATION_PROTOCOL, TLS_FAILURE_PROTOCOL},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, TLS_FAILURE_NO_CERTIFICATE},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, TLS_FAILURE_BAD_RECORD},
    {ERR_R_MALLOC_FAILURE, TLS_FAILURE_MEMORY},
};

static enum tls_failure find(const struct meaning *table, size_t n, long code, enum tls_failure otherwise) {
    for (size_t i = 0; i < n; i++)
        if (table[i].code == code)
            return table[i].failure;
    return otherwise;
}

static enum tls_failure of_verification(const SSL *ssl) {
    return find(verifications, sizeof verifications / sizeof *verifications, SSL_get_verify_result(ssl),
                TLS_FAILURE_BAD_CERTIFICATE);
}

static enum tls_failure of_code(const SSL *ssl, unsigned long code) {
    int reason = ERR_GET_REASON(code);
    if (reason == ERR_R_MALLOC_FAILURE)
        return TLS_FAILURE_MEMORY;
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return TLS_FAILURE_NONE;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return of_verification(ssl);
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
        return TLS_FAILURE_REFUSED_BY_PEER;
    return find(reasons, sizeof reasons / sizeof *reasons, reason, TLS_FAILURE_NONE);
}

enum tls_failure tls_failure_of(const SSL *ssl) {
    enum tls_failure found = TLS_FAILURE_NONE;
    for (unsigned long code; (code = ERR_get_error()) != 0;)
        if (found == TLS_FAILURE_NONE)
            found = of_code(ssl, code);
    return found == TLS_FAILURE_NONE ? TLS_FAILURE_MALFORMED : found;
}
