; A kernel as far as a boot loader can tell: it has a setup header and code that
; starts at 1020:0. It says on COM1 what the loader gave it, and stops.
;
;	line=COMMAND LINE
;	initrd=ADDRESS,SIZE video=MODE loader=TYPE,FLAGS heap=END stack=SS:SP
;	ram=BASE,LENGTH			for each usable region of the BIOS
;	sums=KERNEL,INITRD		of what follows at 100000, and the initrd
;	payload ends
;
; The test fills in what depends on the case.

bits 16
org 0
%macro step 0
	xor	ebx, eax
	rol	ebx, 13
	lea	ebx, [ebx + ebx * 4 + 0xe6546b64]
%endmacro

	times 0x1f1 - ($ - $$) db 0
	db	4			; sectors of setup code
	times 0x1f4 - ($ - $$) db 0
	dd	0			; size of the rest, in 16 bytes
	times 0x1fe - ($ - $$) db 0
	dw	0xaa55
	jmp	short code
	db	"HdrS"
	dw	0x20f
	times 0x211 - ($ - $$) db 0
	db	1			; loaded high
	times 0x22c - ($ - $$) db 0
	dd	0x7fffffff		; initrd's last byte
	times 0x238 - ($ - $$) db 0
	dd	2047			; command line
	times 0x258 - ($ - $$) db 0
	dq	0x1000000		; preferred address
	dd	0x2000000		; memory needed there
	times 0x268 - ($ - $$) db 0

code:	mov	[ss_was], ss
	mov	[sp_was], sp
	mov	dx, 0x3fb		; the loader may use no serial port
	mov	al, 3
	out	dx, al
	mov	si, t_line
	call	print
	mov	esi, [0x228]
	call	big
.line:	a32 lodsb
	test	al, al
	jz	.fields
	call	putc
	jmp	.line
.fields:
	call	small
	mov	si, t_initrd
	call	print
	mov	eax, [0x218]
	call	hex
	mov	eax, [0x21c]
	call	comma_hex
	mov	si, t_video
	call	print
	movzx	eax, word [0x1fa]
	call	hex
	mov	si, t_loader
	call	print
	movzx	eax, byte [0x210]
	call	hex
	movzx	eax, byte [0x211]
	call	comma_hex
	mov	si, t_heap
	call	print
	movzx	eax, word [0x224]
	call	hex
	mov	si, t_stack
	call	print
	movzx	eax, word [ss_was]
	call	hex
	movzx	eax, word [sp_was]
	call	comma_hex
	xor	ebx, ebx
.ram:	mov	eax, 0xe820
	mov	edx, 0x534d4150
	mov	ecx, 20
	mov	di, region
	push	ds
	pop	es
	int	0x15
	jc	.sums
	cmp	dword [region + 16], 1
	jne	.unusable
	push	ebx
	mov	si, t_ram
	call	print
	mov	eax, [region + 4]
	call	hex
	mov	eax, [region]
	call	hex
	mov	eax, [region + 12]
	call	comma_hex
	mov	eax, [region + 8]
	call	hex
	pop	ebx
.unusable:
	test	ebx, ebx
	jnz	.ram
.sums:	mov	si, t_sums
	call	print
	mov	ecx, [0x1f4]
	shl	ecx, 4
	mov	esi, 0x100000
	call	sum
	call	hex
	mov	ecx, [0x21c]
	mov	esi, [0x218]
	call	sum
	call	comma_hex
	mov	si, t_end
	call	print
.halt:	hlt
	jmp	.halt

; sum returns in eax the sum of the ecx bytes at esi, whole words only.
sum:	mov	ebx, 0x4f4c494c
	shr	ecx, 2
	call	big
	jecxz	.done
.next:	a32 lodsd
	step
	dec	ecx
	jnz	.next
.done:	call	small
	mov	eax, ebx
	ret

; big makes ds all of 4 GiB, with interrupts off; small undoes that.
big:	cli
	push	eax
	lgdt	[gdtr]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp	short .on
.on:	mov	ax, 8
	mov	ds, ax
	mov	eax, cr0
	and	al, ~1
	mov	cr0, eax
	jmp	short .off
.off:	xor	ax, ax
	mov	ds, ax
	pop	eax
	ret
small:	push	ss
	pop	ds
	sti
	ret

print:	lodsb
	test	al, al
	jz	putc.done
	call	putc
	jmp	print

comma_hex:
	push	eax
	mov	al, ','
	call	putc
	pop	eax
hex:	push	cx
	mov	cx, 8
.next:	rol	eax, 4
	push	eax
	and	al, 15
	cmp	al, 10
	sbb	al, 0x69
	das
	call	putc
	pop	eax
	loop	.next
	pop	cx
	ret

putc:	push	dx
	push	ax
	mov	dx, 0x3fd
.wait:	in	al, dx
	test	al, 0x20
	jz	.wait
	pop	ax
	mov	dx, 0x3f8
	out	dx, al
	pop	dx
.done:	ret

t_line:		db 10, "line=", 0
t_initrd:	db 10, "initrd=", 0
t_video:	db " video=", 0
t_loader:	db " loader=", 0
t_heap:		db " heap=", 0
t_stack:	db " stack=", 0
t_ram:		db 10, "ram=", 0
t_sums:		db 10, "sums=", 0
t_end:		db 10, "payload ends", 10, 0

align 8, db 0
gdt:	dq	0
	dq	0x008f92000000ffff
gdtr:	dw	$ - gdt - 1
	dd	0x10000 + gdt		; where a loader puts this
ss_was:	dw	0
sp_was:	dw	0
region:	times 20 db 0

	times 5 * 512 - ($ - $$) db 0
