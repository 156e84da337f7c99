// SPDX-License-Identifier: MIT
/* Variables and a function of a program's, in a file that knows nothing of Dune, by names that libdune once had. */
#include <stdbool.h>

int pages = 7;
long num_pages = 3;
unsigned long mmap_base = 1, phys_limit = 2, stack_base = 3;
void *pgroot;

void load_cr3(unsigned long cr3);
void load_cr3(unsigned long cr3)
{
	pages = cr3;
}

bool variables_are_mine(void);
bool variables_are_mine(void)
{
	return pages == 7 && num_pages == 3 && mmap_base == 1 && phys_limit == 2 && stack_base == 3 && !pgroot;
}
