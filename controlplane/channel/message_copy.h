/* message_copy.h — copies of protobuf messages. Thread: any. */
#pragma once

/* A deep copy of any protobuf-c message, to be freed with protobuf_c_message_free_unpacked; NULL without memory. */
void *message_copy(const void *message);
