#define _GNU_SOURCE
#include "clients.h"

#include <stdbool.h>
#include <string.h>

#include "fail.h"

static void *grown(void *items, size_t count, size_t size) {
    items = realloc(items, (count + 1) * size);
    if (items == NULL) {
        fail("out of memory");
    }
    return items;
}

static void append(struct texts *texts, const char *text) {
    texts->items = grown(texts->items, texts->count, sizeof *texts->items);
    texts->items[texts->count++] = strdup(text);
}

static void add_line(struct client *client, char *line) {
    char *value = strchr(line, ' ');
    if (value == NULL) {
        fail("no client says: %s", line);
    }
    *value++ = '\0';
    if (strcmp(line, "path") == 0) {
        client->path = strdup(value);
    } else if (strcmp(line, "join") == 0) {
        append(&client->joins, value);
    } else if (strcmp(line, "send") == 0) {
        append(&client->sends, value);
    } else {
        fail("a client has no %s", line);
    }
}

struct clients clients_read(const char *path) {
    struct clients clients = {0};
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail("cannot read %s", path);
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    bool inside = false;
    while ((length = getline(&line, &capacity, file)) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0') {
            inside = false;
            continue;
        }
        if (!inside) {
            clients.items = grown(clients.items, clients.count, sizeof *clients.items);
            clients.items[clients.count++] = (struct client){0};
            inside = true;
        }
        add_line(&clients.items[clients.count - 1], line);
    }
    free(line);
    fclose(file);
    for (size_t i = 0; i < clients.count; i++) {
        if (clients.items[i].path == NULL) {
            fail("client %zu has no path", i);
        }
    }
    if (clients.count == 0) {
        fail("no clients in %s", path);
    }
    return clients;
}

const struct client *clients_at(const struct clients *clients, size_t index) {
    return &clients->items[index % clients->count];
}
