/* A pool of WebSocket connections to one server on loopback, read through one epoll.
 *
 * Opens every connection (upgrade, joins one after the other, a reply to each), then hands each received message to the
 * workload. Messages are told apart however the kernel cut or joined them. Workloads (fanout.c)
 * stand on top; any surprise ends the program through fail(). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "clients.h"
#include "frame.h"

enum stage { STAGE_CLOSED, STAGE_UPGRADING, STAGE_JOINING, STAGE_JOINED };

struct connection {
    size_t index; /* place in the pool, for what a workload keeps per connection */
    int descriptor;
    enum stage stage;
    const struct client *client;
    size_t joins; /* answered so far */
    uint64_t opened_ns;
    uint64_t joined_ns;
    uint8_t *pending; /* the start of a frame whose end has not arrived */
    size_t pending_length;
    size_t pending_capacity;
};

struct target {
    uint16_t port; /* on 127.0.0.1 */
    struct clients clients;
    const char *join_reply; /* what the answer to a join must contain; other messages may precede it */
};

struct pool {
    struct target target;
    struct connection *connections;
    size_t count;
    size_t opened;
    size_t joined;
    int epoll;
    uint8_t *buffer; /* one receive buffer for all: a connection keeps only its rest */
};

typedef void message_handler(void *workload, struct connection *connection,
                             const struct frame *frame, uint64_t received_ns);

/* Opens `count` connections, at most a few dozen unanswered at a time, and returns when all
 * have joined. Fails at `deadline_ns`. */
void pool_open(struct pool *pool, struct target target, size_t count, uint64_t deadline_ns);

/* Prepares a pool of `count` connections without opening any. */
void pool_prepare(struct pool *pool, struct target target, size_t count);

/* Opens one connection that is closed; pool_poll brings it on until it has joined. */
void pool_connect(struct pool *pool, struct connection *connection);

/* Closes one connection, as a client that goes: with a CLOSE frame, and without waiting for the answer. */
void pool_close(struct connection *connection);

/* Reads nothing more from one connection in pool_poll, and lets the kernel keep little of what comes. */
void pool_ignore(struct pool *pool, struct connection *connection);

/* Waits at most `timeout_ms` (-1: for ever), then handles every message that has arrived. */
void pool_poll(struct pool *pool, int timeout_ms, message_handler *handler, void *workload);

/* Sends one text frame. `scratch` holds FRAME_HEADER_MAX + length bytes. */
void pool_send_text(struct connection *connection, const char *text, size_t length,
                    uint8_t *scratch);
