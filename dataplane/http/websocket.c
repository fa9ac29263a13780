#include "dataplane/http/websocket.h"

#include <openssl/evp.h>

void websocket_key(const unsigned char random[16], char ret[WEBSOCKET_KEY_SIZE]) {
    unsigned char text[WEBSOCKET_KEY_SIZE + 1];
    EVP_EncodeBlock(text, random, 16);
    memcpy(ret, text, WEBSOCKET_KEY_SIZE);
}

int websocket_accept(struct str key, char ret[WEBSOCKET_ACCEPT_SIZE]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char input[WEBSOCKET_KEY_SIZE + sizeof guid - 1], digest[20], text[WEBSOCKET_ACCEPT_SIZE + 1];
    if (key.n != WEBSOCKET_KEY_SIZE)
        return -1;
    memcpy(input, key.p, key.n);
    memcpy(input + key.n, guid, sizeof guid - 1);
    if (EVP_Digest(input, sizeof input, digest, NULL, EVP_sha1(), NULL) != 1)
        return -1;
    EVP_EncodeBlock(text, digest, sizeof digest);
    memcpy(ret, text, WEBSOCKET_ACCEPT_SIZE);
    return 0;
}
