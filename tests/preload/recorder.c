/* Records, in one ordered binary log, what a program does to its files and what it sends to TCP peers, and makes
 * chosen file operations fail on request. Loaded with LD_PRELOAD; Linux, 64 bit.
 *
 *   CHAT_RECORD_ROOT   only files under this directory are recorded (and can be made to fail); an absolute path
 *   CHAT_RECORD_LOG    where the log goes (outside the root); no recording without it
 *   CHAT_RECORD_FAULTS a directory: while a file `full` is in it every write fails with ENOSPC, while `sync` is in
 *                      it every sync fails with EIO
 *
 * Order. A record is appended by one write to a descriptor opened with O_APPEND, so the kernel gives all threads one
 * order. File writes are recorded after they returned, sends before they begin, syncs at both ends. So if the log
 * says that a write came before the begin of a sync whose end came before a send, then it did.
 *
 * No recursion. The real operations, and the log's own, are made by syscall(2), which nothing here replaces.
 *
 * Not seen: stores into mapped files (only that a file is mapped for writing), the files that stdio opens, symbolic
 * links, copy_file_range, io_uring, raw system calls of the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    WRITE = 1,
    SYNC_BEGIN = 2,
    SYNC_END = 3,
    SEND = 4,
    SENT = 5,
    TRUNCATE = 6,
    ALLOCATE = 7,
    CREATE = 8,
    UNLINK = 9,
    RENAME = 10,
    MKDIR = 11,
    LINK = 12,
    MAP = 13, /* shared and for writing */
};

/* Followed by `path_length` bytes of path and then data, `length` bytes in all. Little endian, no padding. */
struct header {
    uint32_t length;
    uint16_t kind;
    uint16_t path_length;
    uint32_t thread;
    int32_t error;   /* errno, or 0 */
    uint64_t inode;  /* of the file */
    int64_t offset;  /* of a write or allocation, the size after a truncate, the port of a peer */
    int64_t result;  /* what the operation returned */
};
/* Parts of one vectored write; writev(2) takes 1024, and the header and the path need two. */
#define MAX_PARTS 1000

_Static_assert(sizeof(struct header) == 40, "the reader expects 40 bytes");

static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_length;
static char faults[PATH_MAX];

/* ---- the log ---- */

__attribute__((constructor)) static void start(void)
{
    const char *root_variable = getenv("CHAT_RECORD_ROOT");
    const char *log_variable = getenv("CHAT_RECORD_LOG");
    const char *faults_variable = getenv("CHAT_RECORD_FAULTS");
    if (root_variable)
        root_length = (size_t)snprintf(root, sizeof root, "%s/", root_variable);
    if (faults_variable)
        snprintf(faults, sizeof faults, "%s", faults_variable);
    if (log_variable)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log_variable,
                              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void die(const char *why)
{
    (void)!syscall(SYS_write, 2, why, strlen(why));
    _exit(99);
}

static void append(struct header header, const char *path, const struct iovec *data, int parts)
{
    if (log_fd < 0)
        return;
    int saved = errno;
    struct iovec all[2 + MAX_PARTS];
    size_t length = sizeof header + strlen(path);
    if (parts > MAX_PARTS)
        die("recorder: too many parts\n");
    header.path_length = (uint16_t)strlen(path);
    header.thread = (uint32_t)syscall(SYS_gettid);
    all[0] = (struct iovec){&header, sizeof header};
    all[1] = (struct iovec){(void *)path, strlen(path)};
    int used = 2;
    for (int i = 0; i < parts && used < MAX_PARTS; i++) {
        all[used++] = data[i];
        length += data[i].iov_len;
    }
    header.length = (uint32_t)length;
    if (syscall(SYS_writev, log_fd, all, used) != (long)length)
        die("recorder: cannot write the log\n");
    errno = saved;
}

/* ---- what a descriptor is ---- */

struct target {
    enum { OTHER, FILE_IN_ROOT, PEER } type;
    uint64_t inode;
    int64_t port;
    char path[PATH_MAX];
};

static int in_root(const char *path)
{
    return root_length && strncmp(path, root, root_length) == 0;
}

static void look_up_peer(int fd, struct target *target)
{
    struct sockaddr_in6 peer; /* the port stands at the same place for IPv4 */
    socklen_t length = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) != 0)
        return;
    if (peer.sin6_family != AF_INET && peer.sin6_family != AF_INET6)
        return;
    target->type = PEER;
    target->port = ntohs(peer.sin6_port);
}

static void look_up_file(int fd, struct target *target)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target->path, sizeof target->path - 1);
    target->path[length < 0 ? 0 : length] = 0;
    size_t bare = root_length ? root_length - 1 : 0; /* the root directory itself is synced, too */
    if (in_root(target->path) || (bare && strncmp(target->path, root, bare) == 0 && !target->path[bare]))
        target->type = FILE_IN_ROOT;
}

static void look_up(int fd, struct target *target)
{
    struct stat stat;
    int saved = errno;
    target->type = OTHER;
    target->path[0] = 0;
    target->port = 0;
    target->inode = 0;
    if (fd != log_fd && fstat(fd, &stat) == 0) {
        target->inode = stat.st_ino;
        if (S_ISSOCK(stat.st_mode))
            look_up_peer(fd, target);
        else if (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))
            look_up_file(fd, target);
    }
    errno = saved;
}

/* A path as the log shows it: absolute, its directory resolved, since the file itself may be gone. */
static int resolve(int directory, const char *path, char *absolute)
{
    char base[PATH_MAX], link[64];
    int saved = errno;
    if (path[0] == '/')
        base[0] = 0;
    else if (directory == AT_FDCWD)
        base[0] = getcwd(base, sizeof base) ? base[0] : 0;
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = readlink(link, base, sizeof base - 1);
        base[length < 0 ? 0 : length] = 0;
    }
    int length = path[0] == '/' ? snprintf(absolute, PATH_MAX, "%s", path)
                                : snprintf(absolute, PATH_MAX, "%s/%s", base, path);
    errno = saved;
    return length < PATH_MAX && in_root(absolute);
}

static int fault(const char *name)
{
    char path[PATH_MAX + 16];
    if (!faults[0])
        return 0;
    int saved = errno;
    snprintf(path, sizeof path, "%s/%s", faults, name);
    int there = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
    errno = saved;
    return there;
}

static long refuse(int error)
{
    errno = error;
    return -1;
}

/* ---- writing to files and peers ---- */

/* Cuts the parts to the bytes that were really written. */
static int cut(const struct iovec *parts, int count, size_t bytes, struct iovec *out)
{
    int used = 0;
    for (; used < count && used < MAX_PARTS && bytes > 0; used++) {
        out[used] = parts[used];
        if (out[used].iov_len > bytes)
            out[used].iov_len = bytes;
        bytes -= out[used].iov_len;
    }
    return used;
}

static void wrote(int fd, const struct target *target, const struct iovec *parts, int count, off_t offset, long result)
{
    struct iovec written[MAX_PARTS];
    if (result <= 0)
        return;
    if (offset < 0)
        offset = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) - result;
    int used = cut(parts, count, (size_t)result, written);
    append((struct header){.kind = WRITE, .inode = target->inode, .offset = offset, .result = result}, target->path,
           written, used);
}

static void sending(const struct target *target, const struct iovec *parts, int count)
{
    append((struct header){.kind = SEND, .offset = target->port}, "", parts, count);
}

static void sent(const struct target *target, long result)
{
    int error = result < 0 ? errno : 0;
    append((struct header){.kind = SENT, .offset = target->port, .result = result, .error = error}, "", NULL, 0);
}

/* `offset` -1 means the descriptor's own. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    struct target target;
    look_up(fd, &target);
    if (target.type == FILE_IN_ROOT && fault("full"))
        return refuse(ENOSPC);
    if (target.type == PEER)
        sending(&target, parts, count);
    long result = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                             : syscall(SYS_pwritev2, fd, parts, count, offset, 0L, flags);
    if (target.type == PEER)
        sent(&target, result);
    if (target.type == FILE_IN_ROOT)
        wrote(fd, &target, parts, count, offset, result);
    return result;
}

static ssize_t write_one(int fd, const void *data, size_t length, off_t offset)
{
    struct iovec part = {(void *)data, length};
    return write_parts(fd, &part, 1, offset, 0);
}

ssize_t write(int fd, const void *data, size_t length) { return write_one(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_one(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_one(fd, data, length, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_parts(fd, parts, count, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *p, int n, off_t offset) { return write_parts(fd, p, n, offset, 0); }
ssize_t pwritev64(int fd, const struct iovec *p, int n, off_t offset) { return write_parts(fd, p, n, offset, 0); }
ssize_t pwritev2(int fd, const struct iovec *p, int n, off_t o, int flags) { return write_parts(fd, p, n, o, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *p, int n, off_t o, int flags) { return write_parts(fd, p, n, o, flags); }

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t to_length)
{
    struct target target;
    struct iovec part = {(void *)data, length};
    look_up(fd, &target);
    if (target.type == PEER)
        sending(&target, &part, 1);
    long result = syscall(SYS_sendto, fd, data, length, flags, to, to_length);
    if (target.type == PEER)
        sent(&target, result);
    return result;
}

ssize_t send(int fd, const void *data, size_t length, int flags) { return sendto(fd, data, length, flags, NULL, 0); }

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct target target;
    look_up(fd, &target);
    if (target.type == PEER)
        sending(&target, message->msg_iov, (int)message->msg_iovlen);
    long result = syscall(SYS_sendmsg, fd, message, flags);
    if (target.type == PEER)
        sent(&target, result);
    return result;
}

/* ---- syncing and resizing ---- */

static int sync_file(int fd, long number)
{
    struct target target;
    look_up(fd, &target);
    if (target.type != FILE_IN_ROOT)
        return (int)syscall(number, fd);
    append((struct header){.kind = SYNC_BEGIN, .inode = target.inode}, target.path, NULL, 0);
    long result = fault("sync") ? refuse(EIO) : syscall(number, fd);
    int error = result < 0 ? errno : 0;
    append((struct header){.kind = SYNC_END, .inode = target.inode, .result = result, .error = error}, target.path,
           NULL, 0);
    return (int)result;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

static int resize(int fd, off_t size)
{
    struct target target;
    look_up(fd, &target);
    long result = syscall(SYS_ftruncate, fd, size);
    if (target.type == FILE_IN_ROOT && result == 0)
        append((struct header){.kind = TRUNCATE, .inode = target.inode, .offset = size}, target.path, NULL, 0);
    return (int)result;
}

int ftruncate(int fd, off_t size) { return resize(fd, size); }
int ftruncate64(int fd, off_t size) { return resize(fd, size); }

static int resize_named(const char *path, off_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = resize(fd, size), saved = errno;
    syscall(SYS_close, fd);
    errno = saved;
    return result;
}

int truncate(const char *path, off_t size) { return resize_named(path, size); }
int truncate64(const char *path, off_t size) { return resize_named(path, size); }

static int allocate(int fd, int mode, off_t offset, off_t length)
{
    struct target target;
    look_up(fd, &target);
    if (target.type == FILE_IN_ROOT && fault("full"))
        return (int)refuse(ENOSPC);
    long result = syscall(SYS_fallocate, fd, mode, offset, length);
    if (target.type == FILE_IN_ROOT && result == 0)
        append((struct header){.kind = ALLOCATE, .inode = target.inode, .offset = offset, .result = length},
               target.path, NULL, 0);
    return (int)result;
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return allocate(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off_t offset, off_t length) { return allocate(fd, mode, offset, length); }

static void *map(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *mapped = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
    if (mapped != MAP_FAILED && fd >= 0 && (protection & PROT_WRITE) && !(flags & MAP_PRIVATE)) {
        struct target target;
        look_up(fd, &target);
        if (target.type == FILE_IN_ROOT)
            append((struct header){.kind = MAP, .inode = target.inode, .offset = offset}, target.path, NULL, 0);
    }
    return mapped;
}

void *mmap(void *a, size_t n, int protection, int flags, int fd, off_t at) { return map(a, n, protection, flags, fd, at); }
void *mmap64(void *a, size_t n, int protection, int flags, int fd, off_t at) { return map(a, n, protection, flags, fd, at); }

/* ---- names ---- */

static void named(enum kind kind, int directory, const char *path, const char *second, int fd)
{
    char absolute[PATH_MAX];
    struct stat stat = {0};
    if (!resolve(directory, path, absolute))
        return;
    if (fd >= 0)
        fstat(fd, &stat);
    struct iovec data = {(void *)second, second ? strlen(second) : 0};
    append((struct header){.kind = (uint16_t)kind, .inode = stat.st_ino}, absolute, &data, second ? 1 : 0);
}

static void emptied(int fd)
{
    struct target target;
    look_up(fd, &target);
    if (target.type == FILE_IN_ROOT)
        append((struct header){.kind = TRUNCATE, .inode = target.inode}, target.path, NULL, 0);
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    int fresh = (flags & O_CREAT) && syscall(SYS_faccessat, directory, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0 && fresh)
        named(CREATE, directory, path, NULL, fd);
    else if (fd >= 0 && (flags & O_TRUNC))
        emptied(fd);
    return fd;
}

#define OPEN_WITH_MODE(directory)                    \
    mode_t mode = 0;                                 \
    if (flags & (O_CREAT | __O_TMPFILE)) {           \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode = va_arg(rest, mode_t);                 \
        va_end(rest);                                \
    }                                                \
    return open_at(directory, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_WITH_MODE(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_WITH_MODE(AT_FDCWD); }
int openat(int directory, const char *path, int flags, ...) { OPEN_WITH_MODE(directory); }
int openat64(int directory, const char *path, int flags, ...) { OPEN_WITH_MODE(directory); }

int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int unlinkat(int directory, const char *path, int flags)
{
    long result = syscall(SYS_unlinkat, directory, path, flags);
    if (result == 0)
        named(UNLINK, directory, path, NULL, -1);
    return (int)result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int directory, const char *path, mode_t mode)
{
    long result = syscall(SYS_mkdirat, directory, path, mode);
    if (result == 0)
        named(MKDIR, directory, path, NULL, -1);
    return (int)result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    char target[PATH_MAX];
    long result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    resolve(to_directory, to, target);
    if (result == 0)
        named(RENAME, from_directory, from, target, -1);
    return (int)result;
}

int renameat(int a, const char *from, int b, const char *to) { return renameat2(a, from, b, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    char target[PATH_MAX];
    long result = syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
    resolve(to_directory, to, target);
    if (result == 0)
        named(LINK, from_directory, from, target, -1);
    return (int)result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
