/* The C floor: the least a broadcast server can do with one system call per delivery.
 *
 * One epoll loop. On the path /own a frame is sent back to its sender. Elsewhere a connection's
 * first frame is its join: it is sent back to that connection alone. Every later frame is encoded
 * once and sent to all joined connections, one send each.
 * It serves this benchmark's load generator only: the handshake answer is the constant one for
 * the nonce the load generator sends, and everybody waits for a subscriber whose socket is full. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../loadgen/fail.h"
#include "../../loadgen/frame.h"

enum { CONNECTIONS_MAX = 65536, EVENTS_MAX = 512, BUFFER_SIZE = 1 << 17, BACKLOG = 1024, FULL_MS = 10000 };

static const char UPGRADE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static const char OWN[] = "GET /own ";

struct connection {
    bool upgraded;
    bool echoes;
    size_t place; /* in joined[], plus one; 0 before the join */
    uint8_t *buffer;
    size_t length;
};

static struct connection connections[CONNECTIONS_MAX]; /* by descriptor */
static int joined[CONNECTIONS_MAX];
static size_t joined_count;

static void deliver(int descriptor, const uint8_t *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(descriptor, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET) {
            return; /* the read side will see its end */
        }
        struct pollfd writable = {.fd = descriptor, .events = POLLOUT};
        if (errno != EAGAIN || poll(&writable, 1, FULL_MS) <= 0) {
            fail("a subscriber does not keep up");
        }
    }
}

static void end_connection(int descriptor) {
    struct connection *connection = &connections[descriptor];
    if (connection->place > 0) {
        int moved = joined[--joined_count];
        joined[connection->place - 1] = moved;
        connections[moved].place = connection->place;
    }
    free(connection->buffer);
    *connection = (struct connection){0};
    close(descriptor);
}

static void handle_frame(int descriptor, const struct frame *frame) {
    static uint8_t out[FRAME_HEADER_MAX + BUFFER_SIZE];
    if (frame->opcode != OPCODE_TEXT && frame->opcode != OPCODE_BINARY) {
        return;
    }
    if (frame->mask == NULL) {
        fail("an unmasked frame");
    }
    frame_apply_mask(frame->payload, frame->payload_length, frame->mask);
    size_t header = frame_write_header(out, frame->opcode, frame->payload_length, NULL);
    memcpy(out + header, frame->payload, frame->payload_length);
    size_t length = header + frame->payload_length;

    struct connection *connection = &connections[descriptor];
    if (connection->echoes) {
        deliver(descriptor, out, length);
        return;
    }
    if (connection->place == 0) {
        joined[joined_count++] = descriptor;
        connection->place = joined_count;
        deliver(descriptor, out, length);
        return;
    }
    for (size_t i = 0; i < joined_count; i++) {
        deliver(joined[i], out, length);
    }
}

/* Handles what is complete and returns how many bytes that was. */
static size_t handle_bytes(int descriptor, uint8_t *data, size_t length) {
    struct connection *connection = &connections[descriptor];
    size_t taken = 0;
    if (!connection->upgraded) {
        uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
        if (end == NULL) {
            return 0;
        }
        connection->upgraded = true;
        connection->echoes = memcmp(data, OWN, sizeof OWN - 1) == 0;
        deliver(descriptor, (const uint8_t *)UPGRADE, sizeof UPGRADE - 1);
        taken = (size_t)(end - data) + 4;
    }
    struct frame frame;
    long size;
    while ((size = frame_read(data + taken, length - taken, &frame)) > 0) {
        taken += (size_t)size;
        handle_frame(descriptor, &frame);
    }
    if (size < 0) {
        fail("a fragmented or extended frame");
    }
    return taken;
}

static void receive(int descriptor) {
    struct connection *connection = &connections[descriptor];
    ssize_t received = recv(descriptor, connection->buffer + connection->length,
                            BUFFER_SIZE - connection->length, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received <= 0) {
        end_connection(descriptor);
        return;
    }
    connection->length += (size_t)received;
    size_t taken = handle_bytes(descriptor, connection->buffer, connection->length);
    connection->length -= taken;
    memmove(connection->buffer, connection->buffer + taken, connection->length);
}

static void accept_connection(int listener, int epoll) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0 && (errno == EAGAIN || errno == ECONNABORTED)) {
        return;
    }
    if (descriptor < 0 || descriptor >= CONNECTIONS_MAX) {
        fail("cannot accept: %s", strerror(errno));
    }
    int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[descriptor] = (struct connection){.buffer = malloc(BUFFER_SIZE)};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (connections[descriptor].buffer == NULL ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        fail("cannot take a connection");
    }
}

static int listen_loopback(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, BACKLOG) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        fail("cannot listen: %s", strerror(errno));
    }
    fprintf(stderr, "{\"event\": \"node.ready\", \"host\": \"127.0.0.1\", \"port\": %u}\n",
            ntohs(address.sin_port));
    return listener;
}

int main(void) {
    int listener = listen_loopback();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) {
        fail("cannot watch the listener: %s", strerror(errno));
    }
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) {
                accept_connection(listener, epoll);
            } else {
                receive(events[i].data.fd);
            }
        }
    }
}
