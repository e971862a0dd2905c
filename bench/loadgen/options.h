/* What the workloads are told: one set of options for all, of which each uses some. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pool.h"
#include "usage.h"

struct options {
    struct target target;
    struct machine_share share;
    size_t connections;
    size_t outstanding;   /* what may be under way at a time */
    uint64_t interval_ns; /* between two of them at least */
    uint64_t warmup_ns;
    uint64_t measure_ns;
    uint64_t deadline_ns; /* allowed for the whole program */
    uint64_t expected;    /* how often the marker must come */
    size_t slow;          /* connections that hardly read */
    const char *marker;   /* what is counted in the messages that come */
};

/* Reads the command line; ends the program on an option that is unknown or missing. */
struct options options_read(int count, char **values);
