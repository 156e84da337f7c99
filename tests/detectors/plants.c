// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mistakes, planted into a copy of the module (scripts/module --with), so that it is known that the kernels debug and
 * kcsan see them in the module: tests/detectors/run. `echo NAME >/sys/module/dune/parameters/plant` makes one.
 */
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static DEFINE_MUTEX(mutex_a);
static DEFINE_MUTEX(mutex_b);
static DEFINE_SPINLOCK(lock);
static int __rcu *shared;
static volatile unsigned long sink;

/* What the compiler cannot know, it cannot warn of. */
static noinline unsigned long unknown(unsigned long value)
{
	OPTIMIZER_HIDE_VAR(value);
	return value;
}

static noinline void plant_nothing(void)
{
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	kfree(kmalloc(unknown(100), GFP_KERNEL));
}

/* Several, as one may still be found in a register that is saved somewhere. */
static noinline void plant_leaked_objects(void)
{
	int i;

	for (i = 0; i < 16; i++)
		sink = (unsigned long)kmalloc(unknown(200), GFP_KERNEL) >> 63;
}

static noinline void plant_leaked_pages(void)
{
	int i;

	for (i = 0; i < 4; i++)
		sink = (unsigned long)alloc_page(GFP_KERNEL) >> 63;
}

static noinline void plant_sleep_under_spinlock(void)
{
	spin_lock(&lock);
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	spin_unlock(&lock);
}

static noinline void plant_cpu_with_preemption(void)
{
	sink = smp_processor_id();
}

static noinline void plant_rcu_without_reader(void)
{
	sink = (unsigned long)rcu_dereference(shared);
}

static noinline void plant_lock_not_held(void)
{
	lockdep_assert_held(&mutex_a);
}

static noinline void plant_interrupts_on(void)
{
	lockdep_assert_irqs_disabled();
}

static noinline void plant_double_list_add(void)
{
	static LIST_HEAD(list);
	static struct list_head entry;

	list_add(&entry, &list);
	list_add(&entry, &list);
}

static noinline void plant_shift_too_far(void)
{
	sink = 1U << unknown(40);
}

static noinline void plant_index_too_large(void)
{
	static u32 table[4];

	sink = table[unknown(4)];
}

static noinline void plant_lock_order(void)
{
	mutex_lock(&mutex_a);
	mutex_lock(&mutex_b);
	mutex_unlock(&mutex_b);
	mutex_unlock(&mutex_a);

	mutex_lock(&mutex_b);
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	mutex_unlock(&mutex_b);
}

static noinline void plant_use_after_free(void)
{
	u8 *object = kmalloc(64, GFP_KERNEL);

	kfree((void *)unknown((unsigned long)object));
	sink = READ_ONCE(object[unknown(8)]);
}

static noinline void plant_out_of_bounds(void)
{
	u8 *object = kmalloc(64, GFP_KERNEL);

	sink = READ_ONCE(object[unknown(64)]);
	kfree(object);
}

static noinline void plant_beyond_vmalloc(void)
{
	u8 *object = vmalloc(100);

	sink = READ_ONCE(object[unknown(100)]);
	vfree(object);
}

static noinline void plant_beyond_stack(void)
{
	u8 array[16];
	unsigned long i = unknown(16);

	memset(array, 1, sizeof(array));
	sink = READ_ONCE(*(array + i));
}

static unsigned long counted;

static noinline void count(void)
{
	unsigned long i;

	for (i = 0; i < 200000; i++) {
		counted++;
		barrier();
	}
}

static void count_in_work(struct work_struct *work)
{
	count();
}

static DECLARE_WORK(counting, count_in_work);

static noinline void plant_data_race(void)
{
	schedule_work_on(cpumask_any_but(cpu_online_mask, raw_smp_processor_id()), &counting);
	count();
	flush_work(&counting);
}

static const struct {
	const char *name;
	void (*make)(void);
} plants[] = {
#define PLANT(name)	{ #name, plant_##name }
	PLANT(nothing),
	PLANT(leaked_objects),
	PLANT(leaked_pages),
	PLANT(sleep_under_spinlock),
	PLANT(cpu_with_preemption),
	PLANT(rcu_without_reader),
	PLANT(lock_not_held),
	PLANT(interrupts_on),
	PLANT(double_list_add),
	PLANT(shift_too_far),
	PLANT(index_too_large),
	PLANT(lock_order),
	PLANT(use_after_free),
	PLANT(out_of_bounds),
	PLANT(beyond_vmalloc),
	PLANT(beyond_stack),
	PLANT(data_race),
};

static int set_plant(const char *value, const struct kernel_param *param)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(plants); i++) {
		if (sysfs_streq(value, plants[i].name)) {
			plants[i].make();
			return 0;
		}
	}
	return -EINVAL;
}

static const struct kernel_param_ops plant_ops = { .set = set_plant };
module_param_cb(plant, &plant_ops, NULL, 0200);
