// SPDX-License-Identifier: MIT
/*
 * The APIC of some versions of the first libdune: interrupts from one thread to another.  There are none yet: what can
 * say so does, and what cannot ends the process rather than let it wait for an interrupt.
 *
 * HR3 and GR0.
 */
#include "compat/compat.h"

PUBLIC uint32_t dune_apic_id(void)
{
	return ~0U;
}

PUBLIC uint32_t dune_compat_apic_id_for_cpu(uint32_t cpu, bool *error)
{
	(void)cpu;
	if (error)
		*error = true;
	return 0;
}

PUBLIC void dune_apic_send_ipi(uint8_t vector, uint32_t apic_id)
{
	__dune_fatal(SIGSYS, "no interrupt can be sent yet (vector %u, APIC %#x)", vector, apic_id);
}

/* Of one by INT n, which needs none. */
PUBLIC void dune_apic_eoi(void)
{
}

PUBLIC void dune_compat_setup_apic(void)
{
}

PUBLIC void dune_compat_apic_init_rt_entry(void)
{
}
