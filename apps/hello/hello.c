// SPDX-License-Identifier: MIT
/*
 * Enter Dune mode, divide by zero in ring 0, catch that in a C function, repair, go on.
 */
#include <stdio.h>
#include <string.h>

#include <dune.h>

static void on_divide(struct dune_tf *tf)
{
	dune_printf("hello: caught a divide error at %#lx\n", tf->rip);
	tf->rip += 2;		/* the length of `div %ecx` */
	tf->rax = 42;
}

int main(void)
{
	unsigned int result = 1;
	int ret;

	printf("hello: not in Dune mode yet\n");
	fflush(stdout);

	ret = dune_init_and_enter();
	if (ret) {
		fprintf(stderr, "hello: cannot enter Dune mode: %s\n", strerror(-ret));
		return 1;
	}
	printf("hello: now in Dune mode, in ring %d\n", dune_in_dune_mode() ? 0 : 3);
	fflush(stdout);

	dune_register_intr_handler(T_DIVIDE, on_divide);
	__asm__ volatile("div %%ecx" : "+a"(result) : "d"(0), "c"(0) : "cc");
	printf("hello: the handler says that 1 / 0 = %u\n", result);
	return 0;
}
