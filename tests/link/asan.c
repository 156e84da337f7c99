// SPDX-License-Identifier: MIT
/*
 * Built with AddressSanitizer: asan [overflow|after-free]: threads, children and a library that comes and goes; then,
 * if it is told so, an error that the sanitizer finds.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *arg)
{
	char *p = malloc(1000);

	(void)arg;
	memset(p, 1, 1000);
	free(p);
	return NULL;
}

int main(int argc, char **argv)
{
	volatile char *p = malloc(100);
	pthread_t id;
	void *library;
	int status;

	for (int i = 0; i < 10; i++)
		if (pthread_create(&id, NULL, thread, NULL) || pthread_join(id, NULL))
			return 2;
	if (!fork())
		_exit(3);
	wait(&status);
	library = dlopen("libutil.so.1", RTLD_NOW);
	printf("child %d, library %d\n", WEXITSTATUS(status), library && !dlclose(library));
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "overflow"))
		p[100] = 1;
	free((void *)p);
	if (argc > 1 && !strcmp(argv[1], "after-free"))
		p[1] = 1;
	return 0;
}
