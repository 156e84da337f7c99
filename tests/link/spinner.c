// SPDX-License-Identifier: MIT
/* A program with a function in which it is nearly all the time, for as many seconds of its own as the argument says. */
#include <stdlib.h>
#include <time.h>

static volatile unsigned long turns;

__attribute__((noinline)) static void spin_long(void)
{
	for (int i = 0; i < 300000; i++)
		turns++;
}

/* What calls a function without a frame of its own is not in its call chain: so main() does not call it. */
__attribute__((noinline)) static void call_spin(void)
{
	for (int i = 0; i < 10; i++)
		spin_long();
	turns++;
}

int main(int argc, char **argv)
{
	const clock_t end = clock() + (argc > 1 ? atoi(argv[1]) : 1) * CLOCKS_PER_SEC;

	while (clock() < end)
		call_spin();
	return 0;
}
