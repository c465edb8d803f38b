/* Preloaded into a process under test: makes syncs slow or failing, and moves the wall clock, while the process runs.

   The file named by FAULT_SHIM holds four int64: milliseconds that a sync takes longer, percent of syncs that fail,
   seconds by which the wall clock is wrong, and the number of syncs so far. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_SHIM");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) control = found;
}

static int faulty(long call, int fd) {
    if (control) {
        int64_t number = __sync_fetch_and_add((int64_t *)&control[3], 1);
        if (control[0] > 0) usleep((useconds_t)(control[0] * 1000));
        /* 37 and 100 have no common divisor: any hundred in a row fail as often as they should */
        if ((number * 37) % 100 < control[1]) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(call, fd);
}

int fdatasync(int fd) { return faulty(SYS_fdatasync, fd); }
int fsync(int fd) { return faulty(SYS_fsync, fd); }

int clock_gettime(clockid_t id, struct timespec *now) {
    int done = (int)syscall(SYS_clock_gettime, id, now);
    if (done == 0 && control && id == CLOCK_REALTIME) now->tv_sec += (time_t)control[2];
    return done;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *to, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
