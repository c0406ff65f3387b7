#define _GNU_SOURCE
#include "lies.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "card.h"
#include "probe.h"

#define SOCKET 3 /* the connection to inkand */

static int gone; /* the token was removed */

static char now[256]; /* the lie */

int lies(const char *what, const char *call, long *number) {
	char text[sizeof now], *rest = memcpy(text, now, sizeof now);
	const char *is = strsep(&rest, ":"), *at = strsep(&rest, ":");
	if (strcmp(is, what) != 0 || (call && (!at || strcmp(at, call) != 0)))
		return 0;
	if (number)
		*number = rest ? strtol(rest, NULL, 0) : 0;
	return 1;
}

static void hang(void) {
	for (;;)
		pause();
}

/* scribble writes garbage to every descriptor and closes it. */
static void scribble(void) {
	for (int fd = 0; fd < 256; fd++) {
		if (write(fd, "{\"RV\":0}{\"RV\":0}", 16) < 0)
			continue;
		close(fd);
	}
}

/* answer answers in the name of the process, with descriptors. */
static void answer(const char *text, ulong length, int descriptors) {
	struct iovec part = {(void *)text, length};
	char room[CMSG_SPACE(200 * sizeof(int))] = {0};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	if (descriptors > 0) {
		m.msg_control = room;
		m.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		for (int i = 0; i < descriptors; i++)
			((int *)CMSG_DATA(c))[i] = 0;
	}
	if (sendmsg(SOCKET, &m, MSG_NOSIGNAL) < 0)
		card_note("left", "cannot answer");
}

static void flood_memory(void) {
	const ulong step = 1 << 20;
	ulong all = 0;
	for (char *p; (p = malloc(step)) != NULL; all += step)
		memset(p, 'x', step);
	card_note("left", "memory %lu", all >> 20);
	hang();
}

void lie_note_process(void) {
	char stat[512] = {0}, *at;
	FILE *f = fopen("/proc/self/stat", "re");
	if (!f)
		return;
	at = fgets(stat, sizeof stat, f) ? strrchr(stat, ')') : NULL; /* the name may hold anything */
	fclose(f);
	for (int i = 0; at && i < 20; i++)
		at = strchr(at + 1, ' ');
	card_note("processes", "%d %.*s", (int)getpid(), at ? (int)strcspn(at + 1, " ") : 0, at ? at + 1 : "");
}

/* leave_child leaves a process behind that keeps all descriptors, and does what
 * it can to be no longer known as one of this process. */
static void leave_child(void) {
	if (fork() != 0)
		return;
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	int session = (int)setsid();
	int group = setpgid(0, 0);
	if (fork() != 0)
		_exit(0);
	if (session < 0)
		session = (int)setsid();
	lie_note_process();
	card_note("left", "session %s group %s", session > 0 ? "new" : "old", group == 0 ? "new" : "old");
	hang();
}

rv lie_at(const char *call) {
	long n;
	static char page[200 << 10];
	long length = card_read("lie", now, sizeof now - 1);
	now[length < 0 ? 0 : length] = 0;
	if (lies("crash", call, NULL))
		__builtin_trap();
	if (lies("abort", call, NULL))
		abort();
	if (lies("hang", call, NULL))
		hang();
	if (lies("spin", call, NULL))
		for (volatile int i = 0;; i++)
			;
	if (lies("leave", call, NULL))
		_exit(0);
	if (lies("exit", call, NULL)) {
		atexit(hang);
		exit(0);
	}
	if (lies("memory", call, NULL))
		flood_memory();
	if (lies("scribble", call, NULL))
		scribble();
	if (lies("garbage", call, NULL))
		answer("garbage", 7, 0);
	if (lies("nothing", call, NULL))
		answer("", 0, 0);
	if (lies("long", call, NULL))
		answer(memset(page, ' ', sizeof page), sizeof page, 0);
	if (lies("forge", call, NULL))
		answer("{\"RV\":0}", 8, 0);
	if (lies("forge-files", call, &n))
		answer("{\"RV\":0}", 8, (int)n);
	if (lies("flood", call, NULL))
		for (;;)
			answer("{\"RV\":0}", 8, 0);
	if (lies("fork", call, NULL))
		leave_child();
	if (lies("print", call, NULL))
		for (int i = 0; i < 1000; i++) {
			fwrite(memset(page, 'x', 1000), 1, 1000, stdout);
			fwrite(page, 1, 1000, stderr);
		}
	if (lies("probe", call, NULL))
		probe();
	if (lies("remove", call, NULL)) {
		gone = 1;
		return DEVICE_REMOVED;
	}
	if (lies("return", call, &n))
		return (rv)n;
	if (gone && lies("remove", NULL, NULL))
		return TOKEN_NOT_PRESENT;
	return OK;
}
