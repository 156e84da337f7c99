// SPDX-License-Identifier: MIT
/* Where does a program run that knows nothing of Dune? */
#include <stdio.h>

#include "world.h"

int main(void)
{
	puts(world());
	return 0;
}
