// SPDX-License-Identifier: MIT
/* In which ring does a program run that knows nothing of Dune? */
#include <stdio.h>

int main(void)
{
	unsigned short cs;

	__asm__ volatile("movw %%cs, %0" : "=r"(cs));
	printf("ring %d\n", cs & 3);
	return 0;
}
