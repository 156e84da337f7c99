// SPDX-License-Identifier: MIT
#include "walker.h"

static uint64_t *memory(uint64_t pa)
{
	if (pa >= __dune_process.region_gpa && pa < __dune_process.region_gpa + (1UL << 30))
		return (uint64_t *)(pa - __dune_process.region_gpa + __dune_process.region);
	return (uint64_t *)pa;
}

static uint64_t *leaf(ptent_t *root, uint64_t va, uint64_t *size)
{
	uint64_t *table = root;

	for (unsigned int shift = 39; ; shift -= 9) {
		uint64_t *e = &table[va >> shift & 511];

		*size = 1UL << shift;
		if (!(*e & 1) || shift == 12 || *e & 0x80)
			return e;
		table = memory(*e & 0xffffffffff000);
	}
}

bool cpu_allows(ptent_t *root, uint64_t va, unsigned int kind)
{
	uint64_t size, *e = leaf(root, va, &size);

	return *e & 1 && (!(kind & FEC_W) || *e & 2) && (!(kind & FEC_U) || *e & 4) && (!(kind & FEC_I) || !(*e >> 63));
}

int cpu_access(ptent_t *root, uint64_t va, unsigned int kind)
{
	uint64_t size, *e = leaf(root, va, &size);

	if (!(*e & 1))
		return CPU_ABSENT;
	if ((kind & FEC_W && !(*e & 2)) || (kind & FEC_U && !(*e & 4)) || (kind & FEC_I && *e >> 63))
		return CPU_DENIED;
	*e |= kind & FEC_W ? 0x60 : 0x20;
	return CPU_OK;
}

uint64_t cpu_size(ptent_t *root, uint64_t va)
{
	uint64_t size, *e = leaf(root, va, &size);

	return *e & 1 ? size : 0;
}

uint64_t cpu_pa(ptent_t *root, uint64_t va)
{
	uint64_t size, *e = leaf(root, va, &size);

	return *e & 1 ? (*e & 0xffffffffff000 & -size) + (va & (size - 1)) : ~0UL;
}

/* The sum over the 4 KiB pages of what is mapped, so that it does not depend on sizes. */
static uint64_t sum_table(uint64_t *table, unsigned int shift, uint64_t va)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < 512; i++, va += 1UL << shift) {
		uint64_t e = table[i], n = (1UL << shift) >> 12, flags = e & 0xfff000000000007f, page = va >> 12;

		if (!(e & 1))
			continue;
		if (shift > 12 && !(e & 0x80)) {
			sum += sum_table(memory(e & 0xffffffffff000), shift - 9, va);
			continue;
		}
		/* of (page + i) * (flags + 1) + 3 * (frame + i) over i < n */
		sum += (n * page + n * (n - 1) / 2) * (flags * 977 + 1);
		sum += 3 * (n * ((e & 0xffffffffff000) >> 12) + n * (n - 1) / 2);
	}
	return sum;
}

uint64_t cpu_checksum(ptent_t *root)
{
	return sum_table(root, 39, 0);
}

unsigned int pages_in_use(void)
{
	unsigned int n = 0;

	for (uint64_t i = 0; i < region_state()->nr_pages; i++)
		n += page_by_index(i)->ref != 0;
	return n;
}
