/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_LIST_H
#define STUB_LINUX_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD(name)	struct list_head name = { &(name), &(name) }

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline void list_add(struct list_head *entry, struct list_head *head)
{
	entry->next = head->next;
	entry->prev = head;
	head->next->prev = entry;
	head->next = entry;
}

static inline void list_move(struct list_head *entry, struct list_head *head)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	list_add(entry, head);
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
	while (list->next != list)
		list_move(list->next, head);
}

#define list_entry(at, type, member)	((type *)((char *)(at) - offsetof(type, member)))

#define list_for_each_entry_safe(at, following, head, member)					\
	for (at = list_entry((head)->next, typeof(*at), member),				\
	     following = list_entry(at->member.next, typeof(*at), member);			\
	     &at->member != (head);								\
	     at = following, following = list_entry(following->member.next, typeof(*at), member))

#endif
