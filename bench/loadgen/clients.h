/* What each client is to say, read from a file.
 *
 * A client is a block of lines, and an empty line ends it:
 *   path /realtime/v1/websocket?apikey=…   of its upgrade request
 *   join …                                 a text to send and to be answered; any number of these, one after the other
 *   send …                                 a text for the workload to send; any number of these
 * With more connections than blocks, the blocks are used again from the first one. */
#pragma once

#include <stddef.h>

struct texts {
    char **items;
    size_t count;
};

struct client {
    char *path;
    struct texts joins;
    struct texts sends;
};

struct clients {
    struct client *items;
    size_t count;
};

/* Reads the file; fails on a line it does not understand. */
struct clients clients_read(const char *path);

/* The client that the connection at this place plays. */
const struct client *clients_at(const struct clients *clients, size_t index);
