// SPDX-License-Identifier: MIT
/*
 * dlclose() of a library that has entered Dune mode: unloading LIBRARY [stays].  The program goes on there: signals,
 * threads, faults, children.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

static volatile int signals;
static char *page;

static void on_signal(int signo)
{
	(void)signo;
	signals++;
}

static void on_fault(int signo)
{
	(void)signo;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* What the code segment says: 0 in Dune mode. */
static unsigned int ring(void)
{
	unsigned short cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	return cs & 3;
}

static void *on_thread(void *arg)
{
	CHECK_EQUAL(ring(), 0, "a thread's ring");
	return arg;
}

static void go_on(void)
{
	int before = signals, status = -1;
	pthread_t thread;
	void *result;
	pid_t pid;

	CHECK_EQUAL(ring(), 0, "ring");
	raise(SIGUSR1);
	CHECK_EQUAL(signals, before + 1, "signals");
	mprotect(page, 4096, PROT_NONE);
	*(volatile char *)page = 1;
	CHECK(!pthread_create(&thread, NULL, on_thread, page) && !pthread_join(thread, &result) &&
	      result == page, "a thread");
	pid = fork();
	if (!pid)
		_exit(ring() ? 1 : 4);
	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
	CHECK_EQUAL(status, 4 << 8, "a child's status");
	CHECK_EQUAL(system("exit 3"), 3 << 8, "system");
}

int main(int argc, char **argv)
{
	int (*is_inside)(void);
	void *library, *stays;

	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	signal(SIGUSR1, on_signal);
	signal(SIGSEGV, on_fault);
	library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	if (!library) {
		printf("dlopen: %s\n", dlerror());
		return 1;
	}
	is_inside = (int (*)(void))dlsym(library, "is_inside");
	CHECK_EQUAL(is_inside(), 1, "the library is in Dune mode");
	go_on();
	CHECK_EQUAL(dlclose(library), 0, "dlclose");
	go_on();
	/* One that uses libdune.so may go; libdune itself stays. */
	stays = dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD);
	CHECK(stays || argc == 2, "the library is gone");
	if (stays)
		CHECK_EQUAL(is_inside(), 1, "the library is in Dune mode after dlclose()");
	return check_result();
}
