/* A disk that loses power: what a server writes to its append-only file reaches the file at fsync, and not before.
 *
 * Preloaded into Valkey (LD_PRELOAD). write() to a file whose name ends in ".incr.aof" is kept in memory; fsync() and
 * fdatasync() of it write what has gathered. A SIGKILL then loses exactly what a power loss may lose: everything since
 * the last completed fsync. close() and ftruncate() write it too, which loses less than a real disk might. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define MAX_FD 4096
#define SUFFIX ".incr.aof"

enum kind { UNKNOWN, PLAIN, APPEND_ONLY };

static struct {
    enum kind kind;
    char *bytes;
    size_t used, room;
} files[MAX_FD];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_close)(int), (*real_ftruncate)(int, off_t);

__attribute__((constructor)) static void find_real(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_close = dlsym(RTLD_NEXT, "close");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
}

static int is_append_only(int fd) {
    if (fd < 0 || fd >= MAX_FD) return 0;
    if (files[fd].kind == UNKNOWN) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        size_t suffix = strlen(SUFFIX);
        int matches = n >= (ssize_t)suffix && memcmp(path + n - suffix, SUFFIX, suffix) == 0;
        files[fd].kind = matches ? APPEND_ONLY : PLAIN;
    }
    return files[fd].kind == APPEND_ONLY;
}

/* With the lock held. */
static int flush(int fd) {
    size_t done = 0;
    while (done < files[fd].used) {
        ssize_t n = real_write(fd, files[fd].bytes + done, files[fd].used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        done += n;
    }
    files[fd].used = 0;
    return 0;
}

static int flush_file(int fd) {
    int result = 0;
    pthread_mutex_lock(&lock);
    if (is_append_only(fd)) result = flush(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *data, size_t size) {
    pthread_mutex_lock(&lock);
    if (!is_append_only(fd)) {
        pthread_mutex_unlock(&lock);
        return real_write(fd, data, size);
    }
    if (files[fd].room < files[fd].used + size) {
        size_t room = 2 * (files[fd].used + size);
        char *bytes = realloc(files[fd].bytes, room);
        if (!bytes) {
            pthread_mutex_unlock(&lock);
            errno = ENOSPC;
            return -1;
        }
        files[fd].bytes = bytes;
        files[fd].room = room;
    }
    memcpy(files[fd].bytes + files[fd].used, data, size);
    files[fd].used += size;
    pthread_mutex_unlock(&lock);
    return (ssize_t)size;
}

int fsync(int fd) { return flush_file(fd) ? -1 : real_fsync(fd); }

int fdatasync(int fd) { return flush_file(fd) ? -1 : real_fdatasync(fd); }

int ftruncate(int fd, off_t size) { return flush_file(fd) ? -1 : real_ftruncate(fd, size); }

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int close(int fd) {
    flush_file(fd);
    if (fd >= 0 && fd < MAX_FD) {
        pthread_mutex_lock(&lock);
        files[fd].kind = UNKNOWN;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}
