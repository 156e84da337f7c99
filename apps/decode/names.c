// SPDX-License-Identifier: MIT
/* Names of errors and signals, as the C library knows them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "decode.h"

void fill_names(struct names *s)
{
	for (int i = 1; i < ERRORS; i++) {
		const char *name = strerrorname_np(i);

		snprintf(s->error[i], NAME_SIZE, "%s", name ? name : "E?");
		snprintf(s->error_text[i], TEXT_SIZE, "%s", strerror(i));
	}
	for (int i = 1; i < SIGNALS; i++) {
		const char *name = sigabbrev_np(i);

		if (name)
			snprintf(s->signal[i], NAME_SIZE, "SIG%s", name);
		else if (i == SIGRTMAX)
			snprintf(s->signal[i], NAME_SIZE, "SIGRTMAX");
		else
			snprintf(s->signal[i], NAME_SIZE, "SIGRT_%d", i - 32);
	}
}
