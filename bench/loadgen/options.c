#include "options.h"

#include <getopt.h>

#include "fail.h"

static void add_server(struct machine_share *share, const char *process) {
    if (share->server_count == SERVER_PROCESSES_MAX) {
        fail("more than %d server processes", SERVER_PROCESSES_MAX);
    }
    share->server[share->server_count++] = (pid_t)strtol(process, NULL, 10);
}

static uint64_t seconds_to_ns(const char *seconds) {
    return (uint64_t)(strtod(seconds, NULL) * 1e9);
}

struct options options_read(int count, char **values) {
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},
        {"clients", required_argument, NULL, 'u'},
        {"join-reply", required_argument, NULL, 'r'},
        {"connections", required_argument, NULL, 'n'},
        {"outstanding", required_argument, NULL, 'o'},
        {"interval", required_argument, NULL, 'i'},
        {"warmup", required_argument, NULL, 'w'},
        {"measure", required_argument, NULL, 'm'},
        {"deadline", required_argument, NULL, 'd'},
        {"expected", required_argument, NULL, 'e'},
        {"slow", required_argument, NULL, 'l'},
        {"marker", required_argument, NULL, 'k'},
        {"server-process", required_argument, NULL, 's'},
        {"server-core", required_argument, NULL, 'c'},
        {"loadgen-core", required_argument, NULL, 'g'},
        {0},
    };
    struct options options = {.outstanding = 1};
    int option;
    while ((option = getopt_long(count, values, "", names, NULL)) != -1) {
        switch (option) {
        case 'p': options.target.port = (uint16_t)atoi(optarg); break;
        case 'u': options.target.clients = clients_read(optarg); break;
        case 'r': options.target.join_reply = optarg; break;
        case 'n': options.connections = strtoul(optarg, NULL, 10); break;
        case 'o': options.outstanding = strtoul(optarg, NULL, 10); break;
        case 'i': options.interval_ns = seconds_to_ns(optarg); break;
        case 'w': options.warmup_ns = seconds_to_ns(optarg); break;
        case 'm': options.measure_ns = seconds_to_ns(optarg); break;
        case 'd': options.deadline_ns = seconds_to_ns(optarg); break;
        case 'e': options.expected = strtoull(optarg, NULL, 10); break;
        case 'l': options.slow = strtoul(optarg, NULL, 10); break;
        case 'k': options.marker = optarg; break;
        case 's': add_server(&options.share, optarg); break;
        case 'c': options.share.server_core = atoi(optarg); break;
        case 'g': options.share.loadgen_core = atoi(optarg); break;
        default: exit(2);
        }
    }
    if (options.target.clients.count == 0 || options.target.join_reply == NULL ||
        options.connections == 0 || options.deadline_ns == 0 || options.outstanding == 0) {
        fail("missing or impossible option; see bench/harness.py for a call");
    }
    return options;
}
