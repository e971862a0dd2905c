/* Who used how much processor time: the server, this program, and each of their two cores. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SERVER_PROCESSES_MAX = 16 };

struct machine_share {
    pid_t server[SERVER_PROCESSES_MAX]; /* the server and its child processes */
    size_t server_count;
    int server_core;
    int loadgen_core;
};

struct usage {
    uint64_t wall_ns;
    uint64_t server_cpu_ns;    /* all threads, user and kernel, exact */
    uint64_t server_kernel_ns; /* the kernel's part, in steps of a clock tick */
    uint64_t loadgen_cpu_ns;
    uint64_t server_core_busy_ns; /* whoever used it, time stolen by the host included */
    uint64_t loadgen_core_busy_ns;
};

struct usage usage_now(const struct machine_share *share);

struct usage usage_between(const struct usage *start, const struct usage *end);

/* Prints what was used as members of a JSON object, without braces. */
void usage_print(const struct usage *used);
