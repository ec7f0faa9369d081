/* Tries, inside a service's sandbox, what the service must not be able to do, and what it must: one line
 * "name result" each, the result being ALLOWED or the name of the error. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void tell(const char *name, long result) {
        (void) printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ALLOWED");
}

static long open_socket(int family, int type) {
        int fd = socket(family, type, 0);
        if (fd >= 0)
                (void) close(fd);
        return fd;
}

static long open_file(const char *path, int flags) {
        int fd = open(path, flags | O_CLOEXEC, 0600);
        if (fd >= 0)
                (void) close(fd);
        return fd;
}

static long connect_unix(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int r = fd < 0 ? -1 : connect(fd, (struct sockaddr *) &address, sizeof address);
        if (fd >= 0)
                (void) close(fd);
        return r;
}

static long connect_tcp(const char *ip) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(9) };
        const struct timeval limit = { .tv_sec = 1 };
        (void) inet_pton(AF_INET, ip, &address.sin_addr);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -1;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        int r = connect(fd, (struct sockaddr *) &address, sizeof address);
        if (r < 0 && errno == ECONNREFUSED) /* the packet arrived, and so did the answer */
                r = 0;
        int e = errno;
        (void) close(fd);
        errno = e;
        return r;
}

static long map_writable_code(void) {
        void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? -1 : 0;
}

static void try_network(void) {
        tell("inet_socket", open_socket(AF_INET, SOCK_STREAM));
        tell("inet6_socket", open_socket(AF_INET6, SOCK_STREAM));
        tell("netlink_socket", open_socket(AF_NETLINK, SOCK_RAW));
        tell("packet_socket", open_socket(AF_PACKET, SOCK_RAW));
        tell("connect_localhost", connect_tcp("127.0.0.1"));
        tell("connect_private", connect_tcp("10.99.99.99"));
        tell("connect_public", connect_tcp("203.0.113.99"));
}

static void try_files(const char *service) {
        tell("store_folder", open_file("/var/lib/rq/store", O_RDONLY | O_DIRECTORY));
        tell("consensus_folder", open_file("/var/lib/rq/consensus", O_RDONLY | O_DIRECTORY));
        tell("write_store", open_file("/var/lib/rq/store/probe", O_WRONLY | O_CREAT));
        tell("write_consensus", open_file("/var/lib/rq/consensus/probe", O_WRONLY | O_CREAT));
        tell("write_state_root", open_file("/var/lib/rq/probe", O_WRONLY | O_CREAT));
        tell("write_run", open_file("/run/rq/probe", O_WRONLY | O_CREAT));
        (void) unlink("/run/rq/probe");
        if (strcmp(service, "store") != 0)
                tell("unlink_store_socket", unlink("/run/rq/store.sock"));
        if (strcmp(service, "consensus") != 0)
                tell("unlink_consensus_socket", unlink("/run/rq/consensus.sock"));
        tell("connect_store", connect_unix("/run/rq/store.sock"));
        tell("connect_consensus", connect_unix("/run/rq/consensus.sock"));
        tell("read_config", open_file("/etc/rq/rq.conf", O_RDONLY));
        tell("read_credentials", open_file("/etc/rq/credentials", O_RDONLY | O_DIRECTORY));
        tell("read_shadow", open_file("/etc/shadow", O_RDONLY));
        tell("write_etc", open_file("/etc/probe", O_WRONLY | O_CREAT));
        tell("write_usr", open_file("/usr/probe", O_WRONLY | O_CREAT));
        tell("read_root_home", open_file("/root", O_RDONLY | O_DIRECTORY));
        tell("proc_init", open_file("/proc/1/status", O_RDONLY));
        tell("write_sysctl", open_file("/proc/sys/net/core/somaxconn", O_WRONLY));
        tell("kernel_log", open_file("/dev/kmsg", O_RDONLY));
}

static void try_kernel(void) {
        struct timespec now = {0};
        (void) clock_gettime(CLOCK_REALTIME, &now);
        const struct sched_param param = { .sched_priority = 1 };
        tell("writable_code", map_writable_code());
        tell("new_user_namespace", unshare(CLONE_NEWUSER));
        tell("real_time", sched_setscheduler(0, SCHED_FIFO, &param));
        tell("set_clock", clock_settime(CLOCK_REALTIME, &now));
        tell("set_hostname", sethostname("rq-test", 7));
        tell("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
        tell("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
        tell("bpf", syscall(SYS_bpf, 99, 0, 0));
        tell("keyctl", syscall(SYS_keyctl, 0, -3, 1));
        tell("kill_init", kill(1, 0));
}

int main(int argc, char **argv) {
        if (argc != 2)
                return 2;
        try_network();
        try_files(argv[1]);
        try_kernel();
        (void) printf("uid %u gid %u\n", geteuid(), getegid());
        return 0;
}
