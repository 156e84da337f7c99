/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, the same for both vendors. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dune

#if !defined(DUNE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DUNE_TRACE_H

#include <linux/tracepoint.h>

#include "hw.h"
#include "vcpu.h"

/* perf and trace-cmd read the format of an event: they need the numbers. */
#define DUNE_EXIT_NUMBER(NAME, name) TRACE_DEFINE_ENUM(X_##NAME);
DUNE_EXIT_KINDS(DUNE_EXIT_NUMBER)

#define DUNE_EXIT_NAME(NAME, name) { X_##NAME, #name },
#define DUNE_EXIT_NAMES DUNE_EXIT_KINDS(DUNE_EXIT_NAME) { X_NR_KINDS, "?" }

TRACE_EVENT(dune_enter,
	TP_PROTO(const struct dune_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(
		__field(u32, index)
		__field(u32, event)
		__field(u64, rip)
		__field(u64, rsp)
	),
	TP_fast_assign(
		__entry->index = vcpu->index;
		__entry->event = vcpu->event_info;
		__entry->rip = vcpu->rip;
		__entry->rsp = vcpu->rsp;
	),
	TP_printk("vcpu %u rip %#llx rsp %#llx event %#x", __entry->index, __entry->rip,
		  __entry->rsp, __entry->event)
);

TRACE_EVENT(dune_exit,
	TP_PROTO(const struct dune_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(
		__field(u32, index)
		__field(u32, kind)
		__field(u32, hw_reason)
		__field(u32, event)
		__field(u32, cpl)
		__field(u64, qualification)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->index = vcpu->index;
		__entry->kind = vcpu->exit.kind;
		__entry->hw_reason = vcpu->exit.hw_reason;
		__entry->event = vcpu->event_info;
		__entry->cpl = vcpu->cpl;
		__entry->qualification = vcpu->exit.qualification;
		__entry->rip = vcpu->rip;
	),
	TP_printk("vcpu %u %s rip %#llx cpl %u hw_reason %#x qualification %#llx event %#x",
		  __entry->index, __print_symbolic(__entry->kind, DUNE_EXIT_NAMES), __entry->rip,
		  __entry->cpl, __entry->hw_reason, __entry->qualification, __entry->event)
);

TRACE_EVENT(dune_tdp_fault,
	TP_PROTO(const struct dune_vcpu *vcpu, u64 gpa, u64 hva, u32 flags, int result),
	TP_ARGS(vcpu, gpa, hva, flags, result),
	TP_STRUCT__entry(
		__field(u32, index)
		__field(u32, flags)
		__field(u64, gpa)
		__field(u64, hva)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->index = vcpu->index;
		__entry->flags = flags;
		__entry->gpa = gpa;
		__entry->hva = hva;
		__entry->result = result;
	),
	TP_printk("vcpu %u gpa %#llx hva %#llx flags %#x result %d", __entry->index, __entry->gpa,
		  __entry->hva, __entry->flags, __entry->result)
);

TRACE_EVENT(dune_syscall,
	TP_PROTO(const struct dune_vcpu *vcpu, u64 nr),
	TP_ARGS(vcpu, nr),
	TP_STRUCT__entry(
		__field(u32, index)
		__field(u64, nr)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->index = vcpu->index;
		__entry->nr = nr;
		__entry->rip = vcpu->rip;
	),
	TP_printk("vcpu %u nr %llu rip %#llx", __entry->index, __entry->nr, __entry->rip)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
