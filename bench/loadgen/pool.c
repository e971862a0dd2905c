#define _GNU_SOURCE
#include "pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"

enum {
    UNANSWERED_MAX = 64, /* below every server's listen backlog, so that no SYN is lost */
    EVENTS_MAX = 512,
    BUFFER_SIZE = 1 << 20,
    RECEIVE_SIZE = 1 << 16,
    REQUEST_MAX = 4096,
    JOIN_MAX = 1 << 16,
    SEND_TIMEOUT_MS = 5000,
    UNANNOUNCED_US = 300000,
};

/* The sample nonce of RFC 6455 section 1.3 and the answer it must get: a constant pair spares
 * the load generator a SHA-1 and still proves that the peer is a WebSocket server. */
static const char NONCE[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* What a Phoenix server says to a join it refuses. */
static const char REFUSAL[] = "\"status\":\"error\"";

/* Not zero, so that the server has to unmask. Randomness protects proxies; there is none. */
static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

static void send_all(int descriptor, const uint8_t *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(descriptor, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
            continue;
        }
        struct pollfd writable = {.fd = descriptor, .events = POLLOUT};
        if (errno != EAGAIN || poll(&writable, 1, SEND_TIMEOUT_MS) <= 0) {
            fail("cannot send: %s", strerror(errno));
        }
    }
}

void pool_send_text(struct connection *connection, const char *text, size_t length,
                    uint8_t *scratch) {
    size_t header = frame_write_header(scratch, OPCODE_TEXT, length, MASK);
    memcpy(scratch + header, text, length);
    frame_apply_mask(scratch + header, length, MASK);
    send_all(connection->descriptor, scratch, header + length);
}

static int connect_loopback(uint16_t port) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0 ||
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        fcntl(descriptor, F_SETFL, O_NONBLOCK) < 0) {
        fail("cannot connect to port %u: %s", port, strerror(errno));
    }
    return descriptor;
}

void pool_connect(struct pool *pool, struct connection *connection) {
    connection->opened_ns = monotonic_ns();
    connection->descriptor = connect_loopback(pool->target.port);
    connection->stage = STAGE_UPGRADING;
    connection->joins = 0;
    connection->pending_length = 0;
    pool->opened++;

    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(pool->epoll, EPOLL_CTL_ADD, connection->descriptor, &event) < 0) {
        fail("cannot watch a connection: %s", strerror(errno));
    }
    char request[REQUEST_MAX];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: %s\r\n\r\n",
                          connection->client->path, pool->target.port, NONCE);
    if (length >= REQUEST_MAX) {
        fail("the upgrade path is too long");
    }
    send_all(connection->descriptor, (const uint8_t *)request, (size_t)length);
}

void pool_close(struct connection *connection) {
    uint8_t frame[FRAME_HEADER_MAX];
    size_t length = frame_write_header(frame, OPCODE_CLOSE, 0, MASK);
    send_all(connection->descriptor, frame, length);
    close(connection->descriptor);
    connection->stage = STAGE_CLOSED;
}

void pool_ignore(struct pool *pool, struct connection *connection) {
    int least = 1; /* the kernel makes it as little as it may be */
    setsockopt(connection->descriptor, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    epoll_ctl(pool->epoll, EPOLL_CTL_DEL, connection->descriptor, NULL);
}

static void joined(struct pool *pool, struct connection *connection) {
    connection->stage = STAGE_JOINED;
    connection->joined_ns = monotonic_ns();
    pool->joined++;
}

static void send_join(struct connection *connection) {
    static uint8_t scratch[FRAME_HEADER_MAX + JOIN_MAX];
    const char *join = connection->client->joins.items[connection->joins];
    size_t length = strlen(join);
    if (length > JOIN_MAX) {
        fail("the join frame is too long");
    }
    pool_send_text(connection, join, length, scratch);
}

/* Returns the size of the response head, 0 while it is incomplete. */
static size_t read_upgrade(struct pool *pool, struct connection *connection, uint8_t *data,
                           size_t length) {
    uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - data);
    if (strncmp((char *)data, "HTTP/1.1 101", 12) != 0 ||
        memmem(data, head, ACCEPT, strlen(ACCEPT)) == NULL) {
        fail("no upgrade, but: %.*s", (int)length, (char *)data);
    }
    if (connection->client->joins.count == 0) {
        joined(pool, connection);
        return head + 4;
    }
    connection->stage = STAGE_JOINING;
    send_join(connection);
    return head + 4;
}

static void read_join_reply(struct pool *pool, struct connection *connection,
                            const struct frame *frame) {
    const char *expected = pool->target.join_reply;
    if (memmem(frame->payload, frame->payload_length, REFUSAL, strlen(REFUSAL)) != NULL) {
        fail("join refused: %.*s", (int)frame->payload_length, (char *)frame->payload);
    }
    if (memmem(frame->payload, frame->payload_length, expected, strlen(expected)) == NULL) {
        return;
    }
    if (++connection->joins < connection->client->joins.count) {
        send_join(connection);
        return;
    }
    joined(pool, connection);
}

static void keep_pending(struct connection *connection, const uint8_t *data, size_t length) {
    if (length > connection->pending_capacity) {
        connection->pending = realloc(connection->pending, length);
        connection->pending_capacity = length;
        if (connection->pending == NULL) {
            fail("out of memory");
        }
    }
    memcpy(connection->pending, data, length);
    connection->pending_length = length;
}

/* Handles the frames that are complete and returns how many bytes they took. */
static size_t read_frames(struct pool *pool, struct connection *connection, uint8_t *data,
                          size_t length, message_handler *handler, void *workload) {
    uint64_t received_ns = monotonic_ns();
    size_t taken = 0;
    if (connection->stage == STAGE_UPGRADING) {
        taken = read_upgrade(pool, connection, data, length);
        if (taken == 0) {
            return 0;
        }
    }
    struct frame frame;
    long size;
    while ((size = frame_read(data + taken, length - taken, &frame)) > 0) {
        taken += (size_t)size;
        if (frame.opcode == OPCODE_CLOSE) {
            fail("the server closed connection %zu", connection->index);
        }
        if (frame.opcode != OPCODE_TEXT && frame.opcode != OPCODE_BINARY) {
            continue; /* runs are too short for an unanswered ping to matter */
        }
        if (connection->stage == STAGE_JOINING) {
            read_join_reply(pool, connection, &frame);
        } else {
            handler(workload, connection, &frame, received_ns);
        }
    }
    if (size < 0) {
        fail("a fragmented or extended frame on connection %zu", connection->index);
    }
    return taken;
}

static void receive(struct pool *pool, struct connection *connection, message_handler *handler,
                    void *workload) {
    size_t kept = connection->pending_length;
    if (kept + RECEIVE_SIZE > BUFFER_SIZE) {
        fail("a frame of more than %d bytes", BUFFER_SIZE - RECEIVE_SIZE);
    }
    ssize_t received = recv(connection->descriptor, pool->buffer + kept, RECEIVE_SIZE, 0);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received <= 0) {
        fail("connection %zu ended: %s", connection->index,
             received < 0 ? strerror(errno) : "closed by the server");
    }
    if (kept > 0) {
        memcpy(pool->buffer, connection->pending, kept);
    }
    size_t length = kept + (size_t)received;
    size_t taken = read_frames(pool, connection, pool->buffer, length, handler, workload);
    keep_pending(connection, pool->buffer + taken, length - taken);
}

void pool_poll(struct pool *pool, int timeout_ms, message_handler *handler, void *workload) {
    struct epoll_event events[EVENTS_MAX];
    int ready = epoll_wait(pool->epoll, events, EVENTS_MAX, timeout_ms);
    if (ready < 0 && errno != EINTR) {
        fail("cannot wait: %s", strerror(errno));
    }
    for (int i = 0; i < ready; i++) {
        receive(pool, events[i].data.ptr, handler, workload);
    }
}

static void ignore_message(void *workload, struct connection *connection,
                           const struct frame *frame, uint64_t received_ns) {
    (void)workload, (void)connection, (void)frame, (void)received_ns;
}

void pool_prepare(struct pool *pool, struct target target, size_t count) {
    *pool = (struct pool){.target = target, .count = count};
    pool->connections = calloc(count, sizeof *pool->connections);
    pool->buffer = malloc(BUFFER_SIZE);
    pool->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (pool->connections == NULL || pool->buffer == NULL || pool->epoll < 0) {
        fail("cannot set up %zu connections: %s", count, strerror(errno));
    }
    for (size_t i = 0; i < count; i++) {
        pool->connections[i].index = i;
        pool->connections[i].client = clients_at(&pool->target.clients, i);
    }
}

void pool_open(struct pool *pool, struct target target, size_t count, uint64_t deadline_ns) {
    pool_prepare(pool, target, count);
    while (pool->joined < count) {
        while (pool->opened < count && pool->opened - pool->joined < UNANSWERED_MAX) {
            pool_connect(pool, &pool->connections[pool->opened]);
        }
        if (monotonic_ns() > deadline_ns) {
            fail("only %zu of %zu connections joined in time", pool->joined, count);
        }
        pool_poll(pool, 100, ignore_message, NULL);
    }
    if (pool->connections[0].client->joins.count == 0) {
        /* Nothing answered: the server may still be subscribing the last ones. */
        usleep(UNANNOUNCED_US);
    }
}
