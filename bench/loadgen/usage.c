#include "usage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"

static uint64_t ticks_to_ns(uint64_t ticks) {
    return ticks * (NANOSECONDS_PER_SECOND / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t process_cpu_ns(pid_t process) {
    clockid_t clock;
    if (clock_getcpuclockid(process, &clock) != 0) {
        fail("process %d is gone", process);
    }
    return clock_ns(clock);
}

/* Field 15 of /proc/<pid>/stat; the name in field 2 may hold spaces, so count from its end. */
static uint64_t process_kernel_ns(pid_t process) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL) {
        fail("cannot read %s", path);
    }
    fclose(file);
    unsigned long long kernel_ticks;
    const char *fields = strrchr(line, ')');
    if (fields == NULL ||
        sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %llu",
               &kernel_ticks) != 1) {
        fail("cannot understand %s", path);
    }
    return ticks_to_ns(kernel_ticks);
}

static uint64_t core_busy_ns(int core) {
    char wanted[16], line[512], name[16];
    snprintf(wanted, sizeof wanted, "cpu%d", core);
    FILE *file = fopen("/proc/stat", "r");
    unsigned long long user, nice, kernel, idle, waiting, interrupts, soft_interrupts, stolen;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        int fields = sscanf(line, "%15s %llu %llu %llu %llu %llu %llu %llu %llu", name, &user,
                            &nice, &kernel, &idle, &waiting, &interrupts, &soft_interrupts,
                            &stolen);
        if (fields == 9 && strcmp(name, wanted) == 0) {
            fclose(file);
            return ticks_to_ns(user + nice + kernel + interrupts + soft_interrupts + stolen);
        }
    }
    fail("no line %s in /proc/stat", wanted);
    return 0;
}

struct usage usage_now(const struct machine_share *share) {
    struct usage usage = {0};
    for (size_t i = 0; i < share->server_count; i++) {
        usage.server_cpu_ns += process_cpu_ns(share->server[i]);
        usage.server_kernel_ns += process_kernel_ns(share->server[i]);
    }
    usage.server_core_busy_ns = core_busy_ns(share->server_core);
    usage.loadgen_core_busy_ns = core_busy_ns(share->loadgen_core);
    usage.loadgen_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    usage.wall_ns = monotonic_ns();
    return usage;
}

struct usage usage_between(const struct usage *start, const struct usage *end) {
    return (struct usage){
        .wall_ns = end->wall_ns - start->wall_ns,
        .server_cpu_ns = end->server_cpu_ns - start->server_cpu_ns,
        .server_kernel_ns = end->server_kernel_ns - start->server_kernel_ns,
        .loadgen_cpu_ns = end->loadgen_cpu_ns - start->loadgen_cpu_ns,
        .server_core_busy_ns = end->server_core_busy_ns - start->server_core_busy_ns,
        .loadgen_core_busy_ns = end->loadgen_core_busy_ns - start->loadgen_core_busy_ns,
    };
}

void usage_print(const struct usage *used) {
    double wall_ns = (double)used->wall_ns;
    printf("\"wall_s\": %.6f, \"server_cpu_s\": %.6f, \"server_kernel_s\": %.3f"
           ", \"loadgen_cpu_s\": %.6f, \"server_busy\": %.4f, \"loadgen_busy\": %.4f"
           ", \"server_core_busy\": %.4f, \"loadgen_core_busy\": %.4f",
           wall_ns / 1e9, (double)used->server_cpu_ns / 1e9,
           (double)used->server_kernel_ns / 1e9, (double)used->loadgen_cpu_ns / 1e9,
           (double)used->server_cpu_ns / wall_ns, (double)used->loadgen_cpu_ns / wall_ns,
           (double)used->server_core_busy_ns / wall_ns,
           (double)used->loadgen_core_busy_ns / wall_ns);
}
