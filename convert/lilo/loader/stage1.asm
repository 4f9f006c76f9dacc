; Stage 1: sector 0. It loads the six sectors of stage 2 by the first list
; (sectors 2 to 7) or, if they can't be read or don't have the sum wanted, by
; the second one (in the map), and starts it. It says L, then I, and on failure
; instead of I: E the BIOS can't address the disk by LBA, R a sector can't be
; read, S stage 2 has the wrong sum.
;
; The parameters are filled in by BootSector (boot.go). Bytes 440 to 509 of the sector
; stay zero: see doc.go.

%include "boot.inc"

bits 16
org BOOT

	jmp	near code
	times 6 - ($ - $$) db 0
	db	"LILO"
	dw	FORMAT
	times boot_uart - BOOT - ($ - $$) db 0
	dw	0			; boot_uart
	db	0			; boot_drive

code:	cli
	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	sp, BOOT
	jmp	0:.here			; some BIOSes start it as 7c0:0
.here:	sti
	cld
	mov	[boot_drive], dl
	call	serial
	mov	al, 'L'
	call	putc

	mov	ah, 0x41		; EDD?
	mov	bx, 0x55aa
	mov	dl, [boot_drive]
	int	0x13
	mov	al, 'E'
	jc	stop
	cmp	bx, 0xaa55
	jne	stop
	test	cl, 1
	jz	stop

	mov	bp, boot_lists
	call	load
	je	start
	mov	bp, boot_lists + 6 * 8
	call	load
	jne	stop
start:	mov	al, 'I'
	call	putc
	jmp	0:STAGE2

; stop says why (al) and halts: going on to the next boot device might run an
; installer from the network.
stop:	call	putc
.halt:	hlt
	jmp	.halt

; load reads stage 2 by the list at bp. It returns with e if its sum is right,
; else with ne and a letter in al.
load:	mov	word [dap.offset], STAGE2
.next:	mov	si, bp
	mov	di, dap.lba
	movsd
	movsd
	mov	bp, si
	mov	si, dap
	mov	word [si + 2], 1	; a failure may have made it 0
	mov	ah, 0x42
	mov	dl, [boot_drive]
	push	bp
	int	0x13
	pop	bp
	mov	al, 'R'
	jc	.failed
	add	word [dap.offset], 512
	cmp	word [dap.offset], STAGE2 + STAGE2_SIZE
	jb	.next
	mov	si, STAGE2
	mov	cx, STAGE2_SIZE / 4
	mov	ebx, SEED
.sum:	lodsd
	step
	loop	.sum
	mov	al, 'S'
	cmp	ebx, [boot_sum]
	ret
.failed:
	or	al, al			; ne
	ret

; serial starts the serial port, if there shall be one and the BIOS knows it.
serial:	mov	bl, [boot_port]
	cmp	bl, 3
	ja	.none
	xor	bh, bh
	add	bx, bx
	mov	dx, [0x400 + bx]
	test	dx, dx
	jz	.none
	mov	[boot_uart], dx
	add	dx, 3			; line control: divisor next
	mov	al, [boot_lcr]
	or	al, 0x80
	out	dx, al
	sub	dx, 3
	mov	ax, [boot_divisor]
	out	dx, al
	inc	dx
	mov	al, ah
	out	dx, al
	add	dx, 2
	mov	al, [boot_lcr]
	out	dx, al
	inc	dx			; modem control: DTR, RTS
	mov	al, 3
	out	dx, al
	sub	dx, 2			; FIFOs on: keys aren't lost
	mov	al, 7
	out	dx, al
.none:	ret

; putc shows al.
putc:	pusha
	show

align 4, db 0
dap:	db	16, 0
	dw	0			; sectors
.offset: dw	0
	dw	0			; segment
.lba:	dq	0

	times 440 - ($ - $$) db 0
	times 510 - ($ - $$) db 0
	dw	0xaa55
