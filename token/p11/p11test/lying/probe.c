#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "card.h"

static void came(const char *name, long result) {
	card_note("probe", "%s %s", name, result < 0 ? strerrorname_np(errno) : "done");
}

/* text reads a file of the card as text. */
static const char *text(const char *name) {
	static char all[4096];
	long n = card_read(name, all, sizeof all - 1);
	all[n < 0 ? 0 : n] = 0;
	return all;
}

static void network(void) {
	char room[120] = {0};
	int pair[2];
	came("inet", socket(AF_INET, SOCK_STREAM, 0));
	came("inet6", socket(AF_INET6, SOCK_DGRAM, 0));
	came("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	came("packet", socket(AF_PACKET, SOCK_RAW, 0));
	came("pair", socketpair(AF_TIPC, SOCK_STREAM, 0, pair));
	came("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	came("io_uring", syscall(SYS_io_uring_setup, 8, room));
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *name = text("abstract");
	memcpy(to.sun_path + 1, name, strlen(name));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	came("unix", fd);
	came("abstract", connect(fd, (struct sockaddr *)&to, sizeof(sa_family_t) + 1 + strlen(name)));
}

static void files(void) {
	char dir[4096], path[4200];
	snprintf(dir, sizeof dir, "%s", text("forbidden"));
	snprintf(path, sizeof path, "%s/new", dir);
	came("create", open(path, O_WRONLY | O_CREAT, 0600));
	came("create-above", open(card_path("../../inkan-outside"), O_WRONLY | O_CREAT, 0600));
	came("mkdir", mkdirat(AT_FDCWD, path, 0700));
	snprintf(path, sizeof path, "%s/file", dir);
	came("write", open(path, O_WRONLY));
	came("truncate", truncate(path, 0));
	came("unlink", unlink(path));
	snprintf(path, sizeof path, "%s/link", dir);
	came("link-out", link(card_path("lie"), path));
	snprintf(path, sizeof path, "%s/file", dir);
	came("chmod", chmod(path, 0644));
	int fd = open(path, O_RDONLY);
	came("read", fd);
	came("fchmod", fchmod(fd, 0644));
	came("chown", fchownat(AT_FDCWD, path, getuid(), getgid(), 0));
	came("setxattr", setxattr(path, "user.inkan", "x", 1, 0));
	came("own", open(card_path("own"), O_WRONLY | O_CREAT, 0600));
}

static void inkand(void) {
	char path[64], room[16];
	int pid = getppid();
	const char *parts[] = {"environ", "mem", "maps", "auxv"};
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", pid, parts[i]);
		int fd = open(path, O_RDONLY);
		came(parts[i], fd < 0 ? fd : read(fd, room, 1));
	}
	snprintf(path, sizeof path, "/proc/%d/fd/0", pid);
	came("fd", readlink(path, room, sizeof room));
	struct iovec here = {room, 1}, there = {&here, 1};
	came("process_vm_readv", process_vm_readv(pid, &here, 1, &there, 1, 0));
	came("ptrace", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	came("signal", kill(pid, SIGURG)); /* Go ignores it */
	struct rlimit limit = {0};
	came("own-limit", prlimit(0, RLIMIT_CORE, NULL, &limit));
	came("prlimit", prlimit(pid, RLIMIT_CORE, &limit, NULL));
	came("priority", setpriority(PRIO_PROCESS, pid, getpriority(PRIO_PROCESS, pid)));
	cpu_set_t cpus;
	sched_getaffinity(pid, sizeof cpus, &cpus);
	came("affinity", sched_setaffinity(pid, sizeof cpus, &cpus));
	struct sched_param none = {0};
	came("scheduler", sched_setscheduler(pid, SCHED_OTHER, &none));
}

static void children(void) {
	const struct { const char *name; ulong flags; } ways[] = {
		{"fork", 0}, {"fork-sibling", CLONE_PARENT}, {"fork-user", CLONE_NEWUSER}, {"fork-pid", CLONE_NEWPID},
	};
	for (ulong i = 0; i < sizeof ways / sizeof *ways; i++) {
		long pid = syscall(SYS_clone, ways[i].flags | SIGCHLD, 0, 0, 0, 0);
		if (pid == 0 && ways[i].flags == 0) { /* a session leader may not begin one */
			came("setsid", setsid());
			came("setpgid", setpgid(0, 0));
		}
		if (pid == 0)
			_exit(0);
		came(ways[i].name, pid);
		if (pid > 0)
			waitpid((int)pid, NULL, 0);
	}
	came("clone3", syscall(SYS_clone3, NULL, 0));
}

/* elsewhere runs on a thread that the module did not make: does its cage hold,
 * too? */
static volatile int ran;
static void elsewhere(int sig) {
	(void)sig;
	char path[4200];
	int before = errno;
	snprintf(path, sizeof path, "%s/thread", text("forbidden"));
	came("thread-create", open(path, O_WRONLY | O_CREAT, 0600));
	came("thread-inet", socket(AF_INET, SOCK_STREAM, 0));
	errno = before;
	ran = 1;
}

static void threads(void) {
	struct sigaction act = {.sa_handler = elsewhere, .sa_flags = SA_ONSTACK | SA_RESTART}, old;
	sigaction(SIGUSR2, &act, &old);
	DIR *all = opendir("/proc/self/task");
	for (struct dirent *e; all && (e = readdir(all));) {
		int tid = atoi(e->d_name);
		if (tid == 0 || tid == gettid())
			continue;
		ran = 0;
		if (syscall(SYS_tgkill, getpid(), tid, SIGUSR2) == 0)
			for (int i = 0; i < 1000 && !ran; i++)
				usleep(1000);
	}
	if (all)
		closedir(all);
	sigaction(SIGUSR2, &old, NULL);
}

static void descriptors(void) {
	char path[64], to[256];
	DIR *all = opendir("/proc/self/fd");
	for (struct dirent *e; all && (e = readdir(all));) {
		int fd = atoi(e->d_name);
		if (e->d_name[0] == '.' || fd == dirfd(all))
			continue;
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		long n = readlink(path, to, sizeof to - 1);
		to[n < 0 ? 0 : n] = 0;
		card_note("descriptors", "%d %s", fd, to);
	}
	if (all)
		closedir(all);
}

void probe(void) {
	descriptors();
	network();
	files();
	inkand();
	threads();
	children();
	card_note("probe", "end done");
}
