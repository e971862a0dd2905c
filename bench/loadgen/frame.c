#include "frame.h"

#include <string.h>

static uint64_t read_big_endian(const uint8_t *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

long frame_read(uint8_t *data, size_t length, struct frame *frame) {
    if (length < 2) {
        return 0;
    }
    if ((data[0] & 0xf0) != 0x80) {
        return -1;
    }
    size_t short_length = data[1] & 0x7f;
    size_t length_bytes = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
    size_t mask_bytes = data[1] & 0x80 ? 4 : 0;
    size_t header = 2 + length_bytes + mask_bytes;
    if (length < header) {
        return 0;
    }
    uint64_t payload_length =
        length_bytes ? read_big_endian(data + 2, length_bytes) : short_length;
    if (length - header < payload_length) {
        return 0;
    }
    frame->opcode = data[0] & 0x0f;
    frame->mask = mask_bytes ? data + 2 + length_bytes : NULL;
    frame->payload = data + header;
    frame->payload_length = (size_t)payload_length;
    return (long)(header + payload_length);
}

size_t frame_write_header(uint8_t *out, uint8_t opcode, size_t length, const uint8_t *mask) {
    size_t length_bytes = length > 0xffff ? 8 : length > 125 ? 2 : 0;
    out[0] = 0x80 | opcode;
    out[1] = (uint8_t)(length_bytes == 8 ? 127 : length_bytes == 2 ? 126 : length);
    for (size_t i = 0; i < length_bytes; i++) {
        out[2 + i] = (uint8_t)((uint64_t)length >> 8 * (length_bytes - 1 - i));
    }
    if (mask == NULL) {
        return 2 + length_bytes;
    }
    out[1] |= 0x80;
    memcpy(out + 2 + length_bytes, mask, 4);
    return 2 + length_bytes + 4;
}

void frame_apply_mask(uint8_t *payload, size_t length, const uint8_t *mask) {
    for (size_t i = 0; i < length; i++) {
        payload[i] ^= mask[i & 3];
    }
}
