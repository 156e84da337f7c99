/* SPDX-License-Identifier: MIT */
/* Checks of a program that is otherwise written for the first libdune. */
#ifndef COMPAT_EXPECT_H
#define COMPAT_EXPECT_H

#include <stdio.h>

static int failures, checks;

#define EXPECT(condition) do {							\
	checks++;								\
	if (!(condition)) {							\
		failures++;							\
		printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);		\
	}									\
} while (0)

static inline int verdict(void)
{
	printf("%d of %d checks failed\n", failures, checks);
	return failures || !checks;
}

#endif /* COMPAT_EXPECT_H */
