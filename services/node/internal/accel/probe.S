# The guest that finds out whether an accelerator can run one. It goes the way that every kernel goes: real mode, page
# tables, long mode, a processor exception through its own interrupt table, a timer interrupt that ends a hlt, a busy
# loop; and says how far it came on the first serial port. Debris of /dev/kvm gets stuck on the way.
#
#   as probe.S -o probe.o && ld -Ttext 0x7c00 --oformat binary probe.o -o probe.bin
.code16
.globl _start
_start:
	cli
	cld
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	mov $'R', %al			# real mode
	mov $0x3f8, %dx
	out %al, %dx
	mov $0x1000, %edi		# page tables: the first 2 MiB as they are
	mov %edi, %cr3
	xor %eax, %eax
	mov $0xc00, %ecx
	rep stosl
	movl $0x2003, 0x1000
	movl $0x3003, 0x2000
	movl $0x0083, 0x3000
	mov $0x20, %eax			# PAE
	mov %eax, %cr4
	mov $0xc0000080, %ecx		# EFER.LME
	rdmsr
	or $0x100, %eax
	wrmsr
	lgdt gdtp
	mov %cr0, %eax
	or $0x80000001, %eax
	mov %eax, %cr0
	ljmp $8, $long
.code64
long:
	mov $'L', %al			# long mode
	mov $0x3f8, %dx
	out %al, %dx
	xor %eax, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $0x7c00, %esp
	mov $1, %eax
	cpuid
	mov $0x5000, %edi		# 256 gates, all to one handler
	mov $256, %ecx
1:	mov $trap, %eax
	mov %ax, (%rdi)
	movw $8, 2(%rdi)
	movl $0x8e00, 4(%rdi)
	movq $0, 8(%rdi)
	add $16, %edi
	loop 1b
	lidt idtp
	int3
	mov $'E', %al			# an exception came and went
	mov $0x3f8, %dx
	out %al, %dx
	sti
	hlt				# the BIOS left the timer running
	cli
	mov $'I', %al			# an interrupt came and went
	mov $0x3f8, %dx
	out %al, %dx
	mov $1000000, %ecx
2:	loop 2b
	mov $'X', %al
	out %al, %dx
	mov $0xf4, %dx			# isa-debug-exit
	mov $0x10, %al
	out %al, %dx
3:	hlt
	jmp 3b
trap:
	push %rax
	mov $0x20, %al
	out %al, $0x20
	pop %rax
	iretq
gdt:	.quad 0, 0x00209a0000000000
gdtp:	.word 15
	.long gdt
idtp:	.word 4095
	.quad 0x5000
.org 510
	.word 0xaa55
