// SPDX-License-Identifier: MIT
/*
 * What the headers define inline is in the libraries too: a program of another language, which has no headers, finds
 * all of it, and it works.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

#define FUNCTION(name)	extern const char name[];
#include "inline-functions.h"
#undef FUNCTION

static const struct {
	const char *name;
	const void *address;
} functions[] = {
#define FUNCTION(name)	{ #name, name },
#include "inline-functions.h"
};

#define NR	(sizeof(functions) / sizeof(functions[0]))

static const void *find(const char *name)
{
	for (size_t i = 0; i < NR; i++)
		if (!strcmp(functions[i].name, name))
			return functions[i].address;
	return NULL;
}

int main(void)
{
	int (*enter)(void) = (int (*)(void))find("dune_init_and_enter");
	bool (*inside)(void) = (bool (*)(void))find("dune_in_dune_mode");
	unsigned long (*clock)(void) = (unsigned long (*)(void))find("dune_get_ticks");
	uintptr_t (*address)(void *) = (uintptr_t (*)(void *))find("dune_stack_addr_to_pa");
	unsigned long before;

#ifndef STATIC
	for (size_t i = 0; i < NR; i++)
		CHECK(dlsym(RTLD_DEFAULT, functions[i].name) == functions[i].address, "%s by dlsym()",
		      functions[i].name);
#endif
	printf("%zu functions\n", NR);
	if (!CHECK(enter && inside && clock && address, "those that are called here"))
		return check_result();
	CHECK(!inside(), "outside");
	before = clock();
	CHECK_EQUAL(enter(), 0, "dune_init_and_enter()");
	CHECK(inside(), "inside");
	CHECK(clock() > before, "time goes on");
	CHECK(address(&before), "an address");
	return check_result();
}
