// SPDX-License-Identifier: MIT
/* Where does a program run that knows nothing of Dune? */
#include "world.h"

int main(void)
{
	puts(world());
	return 0;
}
