/* WebSocket frames (RFC 6455 section 5.2): just enough for unfragmented messages.
 *
 * Shared by the load generator (reads unmasked, writes masked frames) and the C floor server
 * (the other way round). Nothing here allocates or copies a payload while reading. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { OPCODE_TEXT = 1, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9 };

enum { FRAME_HEADER_MAX = 14 };

struct frame {
    uint8_t opcode;
    const uint8_t *mask; /* four bytes, or NULL for an unmasked frame */
    uint8_t *payload;    /* still masked when mask is set */
    size_t payload_length;
};

/* Reads the frame at the start of `data`.
 * Returns its whole size in bytes, 0 while it is incomplete, -1 when it is fragmented or uses
 * an extension bit: no peer of this benchmark may do that. */
long frame_read(uint8_t *data, size_t length, struct frame *frame);

/* Writes a header for a payload of `length` bytes and returns the header's size (at most
 * FRAME_HEADER_MAX). `mask` is four bytes, or NULL for a server's frame. */
size_t frame_write_header(uint8_t *out, uint8_t opcode, size_t length, const uint8_t *mask);

/* Masks or unmasks in place: the two are the same operation. */
void frame_apply_mask(uint8_t *payload, size_t length, const uint8_t *mask);
