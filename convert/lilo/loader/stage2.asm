; Stage 2: six sectors that read the map's header and, by it, the rest of the
; loader (the overlay, from 8c00 on), which has the prompt and starts kernels.
;
; Memory, all of it below what a BIOS uses for itself:
;
;   07c00  sector 0 with its parameters; the stack below
;   08000  stage 2, 08c00 the overlay
;   0b000  variables
;   10000  the kernel's real-mode part, its stack and heap, 1e000 its command line
;   20000  what the BIOS reads, at most 127 sectors: within 64 KiB for DMA
;   30000  the images' descriptors
;   40000  the message
;
; Segment registers are zero except where said. Routines keep no registers
; except where said. Whoever fails returns with the carry set and the reason
; in [failure].

%include "boot.inc"

bits 16
org STAGE2

%include "map.inc"

	jmp	near main

; ---------------------------------------------------------------- output ---

; say TEXT shows a text.
%macro say 1+
	call	say_next
	db	%1, 0
%endmacro

; say_next shows the text behind the call. It keeps all registers.
say_next:
	xchg	si, [say_si]		; the caller's si is kept aside
	pop	si
	push	ax
	call	print
	pop	ax
	push	si
	xchg	si, [say_si]
	ret

; print shows the text at si and leaves si behind its end.
print:	lodsb
	test	al, al
	jz	.done
	call	putc
	jmp	print
.done:	ret

; putc shows al, a newline as two characters. It keeps all registers.
putc:	cmp	al, 10
	jne	.one
	mov	al, 13
	call	.one
	mov	al, 10
.one:	pusha
	show

; hex shows the cl highest digits of edx.
hex:	rol	edx, 4
	mov	al, dl
	and	al, 15
	cmp	al, 10
	sbb	al, 0x69		; a digit's character
	das
	call	putc
	dec	cl
	jnz	hex
	ret

; -------------------------------------------------------------------- keys ---

; poll returns a key in al, or with z if there is none. Keys without a
; character are 0 and not z.
poll:	mov	ah, 1
	int	0x16
	jnz	.keyboard
	mov	dx, [boot_uart]
	test	dx, dx
	jz	.done
	add	dx, 5
	in	al, dx
	cmp	al, 0xff		; no port there
	je	.done
	test	al, 1
	jz	.done
	sub	dx, 5
	in	al, dx
	and	al, 0x7f
	jmp	.got
.keyboard:
	xor	ah, ah
	int	0x16
.got:	or	ah, 1			; not z
.done:	ret

; idle waits for an interrupt; the timer's comes every 55 ms. It returns with the
; carry set when [limit] ticks have passed since start_clock; limit 0 is none.
idle:	sti
	hlt
	cmp	dword [limit], 0
	je	.go
	mov	eax, [0x46c]
	sub	eax, [clock]
	jae	.today
	add	eax, 0x1800b0		; midnight: the clock starts at 0
.today:	cmp	[limit], eax
	jbe	.over
.go:	clc
	ret
.over:	stc
	ret

; start_clock sets [limit] to ax tenths of a second from now on.
start_clock:
	movzx	eax, ax
	imul	eax, eax, 182
	xor	edx, edx
	mov	ecx, 100
	div	ecx
	mov	[limit], eax
	mov	eax, [0x46c]
	mov	[clock], eax
	ret

; get_key waits for a key and returns it in al; with the carry set after [limit].
get_key:
	call	poll
	jnz	.got
	call	idle
	jnc	get_key
	ret
.got:	clc
	ret

; -------------------------------------------------------------------- disk ---

; disk does what ah says (42h read, 43h write) with [dap], a second time if it
; must.
disk:	mov	[dap_function], ah
	mov	ax, [dap.count]
	mov	[dap_count], ax
	call	.once
	jnc	.done
	xor	ah, ah			; reset
	mov	dl, [boot_drive]
	int	0x13
	mov	ax, [dap_count]		; the BIOS may have changed it
	mov	[dap.count], ax
.once:	pushad
	mov	si, dap
	mov	ah, [dap_function]
	xor	al, al			; write: don't verify
	mov	dl, [boot_drive]
	int	0x13
	mov	[disk_error], ah
	popad
	mov	byte [failure], FAIL_DISK
.done:	ret

; at_sector sets up [dap] for the one sector at edx:eax and the buffer di.
at_sector:
	mov	[dap.lba], eax
	mov	[dap.lba + 4], edx
	mov	[dap.offset], di
	mov	word [dap.segment], 0
	mov	word [dap.count], 1
	ret

; read_sealed reads the map's sector at edx:eax into the buffer di and checks
; its sum. It keeps di.
read_sealed:
	push	di
	call	at_sector
	mov	ah, 0x42
	call	disk
	pop	di
	jc	check_sealed.done
; check_sealed checks the sum of the sector at di, and keeps di.
check_sealed:
	call	sum_sector
	mov	byte [failure], FAIL_STALE
	cmp	ebx, [esi]
	je	.done
	stc
.done:	ret

; sum_sector returns the sum of the sector at di in ebx, and in esi where it
; belongs.
sum_sector:
	movzx	esi, di
	mov	ecx, 127
	mov	ebx, [boot_id]
; sum_words adds ecx 32-bit words at esi (beyond 64 KiB: see unreal) to ebx.
sum_words:
	jecxz	.done
.next:	a32 lodsd
	step
	dec	ecx
	jnz	.next
.done:	ret

; ----------------------------------------------------------------- streams ---

; open_stream starts the stream at si in the map.
open_stream:
	mov	eax, [si]
	mov	[next_list], eax
	mov	eax, [si + 4]
	mov	[next_list + 4], eax
	xor	eax, eax
	mov	[runs_left], eax
	mov	[run_left], eax
	ret

; next_run goes on to the next run of the stream.
next_run:
	cmp	dword [runs_left], 0
	jne	.take
	mov	eax, [next_list]
	mov	edx, [next_list + 4]
	mov	ecx, eax
	or	ecx, edx
	jz	.short
	mov	di, list
	call	read_sealed
	jc	.done
	mov	eax, [list]
	mov	[next_list], eax
	mov	eax, [list + 4]
	mov	[next_list + 4], eax
	mov	eax, [list + 8]
	test	eax, eax
	jz	.short
	mov	[runs_left], eax
	mov	word [run], list + 12
.take:	mov	si, [run]
	mov	di, run_lba
	movsd
	movsd
	movsd				; run_left
	mov	[run], si
	dec	dword [runs_left]
	clc
	ret
.short:	mov	byte [failure], FAIL_STALE
	stc
.done:	ret

; read_stream reads the next ecx bytes of the stream to edi, anywhere below
; 4 GiB (up to 511 bytes more are written behind them), and wants the sum eax of them.
; Only the last part of a stream may be no whole number of sectors.
read_stream:
	mov	[want], eax
	mov	[left], ecx
	mov	dword [total], SEED
.next:	cmp	dword [left], 0
	je	.check
	cmp	dword [run_left], 0
	jne	.have
	push	edi
	call	next_run
	pop	edi
	jc	.done
	cmp	dword [run_left], 0
	je	next_run.short
.have:	mov	eax, [left]
	add	eax, 511
	shr	eax, 9
	cmp	eax, [run_left]
	jbe	.run
	mov	eax, [run_left]
.run:	cmp	eax, 127
	jbe	.count
	mov	eax, 127
.count:	mov	[dap.count], ax
	mov	dword [dap.offset], 0x20000000	; 2000:0
	mov	edx, [run_lba]
	mov	[dap.lba], edx
	mov	edx, [run_lba + 4]
	mov	[dap.lba + 4], edx
	push	eax
	push	edi
	mov	ah, 0x42
	call	disk
	pop	edi
	pop	eax
	jc	.done
	add	[run_lba], eax
	adc	dword [run_lba + 4], 0
	sub	[run_left], eax
	call	copy
	jmp	.next
.check:	mov	eax, [total]
	cmp	eax, [want]
	je	.done
	mov	byte [failure], FAIL_SUM
	stc
.done:	ret

; copy moves eax sectors from 20000h to edi, which it advances, and sums as many
; of their bytes as are [left].
copy:	call	dot
	call	unreal
	mov	ecx, eax
	shl	ecx, 7
	mov	edx, ecx
	shl	edx, 2
	mov	ebp, edi
	mov	esi, 0x20000
	a32 rep movsd
	cmp	edx, [left]
	jbe	.whole
	mov	edx, [left]
.whole:	sub	[left], edx
	mov	esi, ebp
	mov	ecx, edx
	shr	ecx, 2
	mov	ebx, [total]
	call	sum_words
	and	dl, 3			; bytes of a last short word
	jz	.done
	mov	cl, dl
	shl	cl, 3
	mov	edx, -1
	shl	edx, cl
	not	edx
	a32 lodsd
	and	eax, edx
	step
.done:	mov	[total], ebx
	sti
	ret

; dot shows a dot for every 2 MiB, of which ax sectors are some.
dot:	add	[progress], ax
	test	byte [progress + 1], 0x10
	jz	.done
	and	word [progress], 0xfff
	pushad				; a screen's BIOS may use all of them
	mov	al, '.'
	call	putc
	popad
.done:	ret

; unreal makes all of 4 GiB addressable by 32-bit registers, with interrupts
; off: the BIOS may undo it whenever it runs. It keeps all but bx.
unreal:	cli
	push	eax
	lgdt	[gdtr]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp	short .on
.on:	mov	bx, 8
	mov	ds, bx
	mov	es, bx
	and	al, ~1
	mov	cr0, eax
	jmp	0:.off
.off:	xor	bx, bx
	mov	ds, bx
	mov	es, bx
	pop	eax
	ret

align 8, db 0
gdt:	dq	0
	dq	0x008f92000000ffff	; data, 4 GiB from 0
gdtr:	dw	$ - gdt - 1
	dd	gdt

; --------------------------------------------------------------------- A20 ---

; a20 sees to it that odd MiB are addressable; carry set if they can't be.
a20:	call	.test
	jnc	.done
	mov	ax, 0x2401
	int	0x15
	call	.test
	jnc	.done
	in	al, 0x92
	or	al, 2
	and	al, ~1			; that would be a reset
	out	0x92, al
	call	.test
.done:	ret
.test:	call	unreal
	mov	ecx, 0x10000		; it may take a while
	mov	edx, [0x500]
.again:	inc	edx
	mov	[0x500], edx
	cmp	edx, [dword 0x100500]
	loope	.again
	sti
	jne	.on
	stc
	ret
.on:	clc
	ret

; -------------------------------------------------------------------- main ---

main:	mov	di, variables
	mov	cx, variables_end - variables
	xor	al, al
	rep stosb
	mov	word [dap], 16
	say	"LO "
	mov	eax, [boot_header]
	mov	edx, [boot_header + 4]
	mov	di, header
	call	read_sealed
	jc	lost
	cmp	dword [header], "LILO"
	jne	lost
	cmp	dword [header + 4], "MAP2"
	jne	lost
	call	a20
	jc	old
	mov	si, header + header_overlay
	call	open_stream
	mov	ecx, [header + header_overlay + stream_size]
	cmp	ecx, OVERLAY_MAX
	ja	lost
	mov	eax, [header + header_overlay + stream_sum]
	mov	edi, overlay
	call	read_stream
	jnc	overlay

lost:	say	10, "The boot map "
	call	why
	say	10, "It was moved or damaged. Start a rescue system, mount the root file", 10, "system (and /boot) below /mnt and run: lilo -v -r /mnt", 10
restart:
	call	poll			; those that were pressed before don't count
	jnz	restart
	say	"Press a key to restart.", 10
	xor	ax, ax
	call	start_clock
	call	get_key
	mov	word [0x472], 0x1234	; warm
	jmp	0xffff:0

old:	say	10, "The A20 gate can't be opened: this machine can't start Linux.", 10
	jmp	restart

; why says what went wrong, as the end of a sentence.
why:	cmp	byte [failure], FAIL_DISK
	je	.disk
	cmp	byte [failure], FAIL_SUM
	je	.sum
	say	"isn't where lilo left it: sector "
	call	.sector
	mov	al, '.'
	jmp	putc
.sum:	say	"has changed since lilo ran (wrong sum)."
	ret
.disk:	say	"can't be "
	mov	si, .read
	cmp	byte [dap_function], 0x43
	jne	.act
	mov	si, .written
.act:	call	print
	say	": disk error "
	mov	edx, [disk_error - 3]
	mov	cl, 2
	call	hex
	say	" at sector "
	call	.sector
	mov	al, '.'
	call	putc
	cmp	dword [dap.lba + 4], 0
	je	.near
	say	10, "Beyond 2 TiB few BIOSes read any disk but one on virtio-blk: use that,", 10, "or move /boot to the front of the disk."
.near:	ret
.read:	db	"read", 0
.written: db	"written", 0
.sector:
	mov	edx, [dap.lba + 4]
	mov	cl, 4
	shl	edx, 16
	call	hex
	mov	edx, [dap.lba]
	mov	cl, 8
	call	hex
	mov	al, 'h'
	jmp	putc

%if $ - $$ > STAGE2_SIZE
%error stage 2 has no room left
%endif
	times STAGE2_SIZE - ($ - $$) db 0

overlay:
%include "overlay.inc"

	align	512, db 0
%if $ - overlay > OVERLAY_MAX
%error the overlay has no room left
%endif
