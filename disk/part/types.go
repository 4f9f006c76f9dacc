package part

const (
	guidUnused = "00000000-0000-0000-0000-000000000000"

	// TypeESP is the GPT type of an EFI system partition.
	TypeESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	// TypeBIOSBoot is the GPT type of GRUB's own space on a BIOS machine.
	TypeBIOSBoot = "21686148-6449-6E6F-744E-656564454649"
	// TypeLDMData is the GPT type of a Windows dynamic disk's volumes.
	TypeLDMData = "AF9B60A0-1431-4F62-BC68-3311714A69AD"
	// TypeLDMMetadata is the GPT type of a Windows dynamic disk's database.
	TypeLDMMetadata = "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3"
	// MBRTypeLDM is the MBR type of Windows dynamic disks.
	MBRTypeLDM = "42"
	// MBRTypeESP is the MBR type of an EFI system partition.
	MBRTypeESP = "ef"
)

func mbrTypeName(t byte) string {
	return map[byte]string{
		0x00: "no type", 0x01: "FAT12", 0x04: "FAT16 up to 32 MiB", 0x05: "extended", 0x06: "FAT16", 0x07: "NTFS, exFAT or HPFS",
		0x0b: "FAT32", 0x0c: "FAT32 (LBA)", 0x0e: "FAT16 (LBA)", 0x0f: "extended (LBA)",
		0x11: "hidden FAT12", 0x12: "vendor diagnostics", 0x17: "hidden NTFS", 0x1b: "hidden FAT32", 0x1c: "hidden FAT32 (LBA)",
		0x27: "Windows recovery", 0x42: "Windows dynamic disk", 0x63: "GNU HURD or UNIX SysV", 0x80: "old Minix",
		0x81: "Minix or old Linux", 0x82: "Linux swap or Solaris", 0x83: "Linux", 0x85: "Linux extended", 0x8e: "Linux LVM",
		0xa5: "FreeBSD", 0xa6: "OpenBSD", 0xa8: "Darwin UFS", 0xa9: "NetBSD", 0xab: "Darwin boot", 0xaf: "HFS or HFS+",
		0xbe: "Solaris boot", 0xbf: "Solaris", 0xda: "data without file system", 0xde: "Dell utility", 0xea: "Linux extended boot",
		0xeb: "BeOS", 0xee: "GPT protective", 0xef: "EFI system", 0xfb: "VMware VMFS", 0xfc: "VMware VMKCORE", 0xfd: "Linux RAID autodetect",
	}[t]
}

func gptTypeName(t string) string {
	return map[string]string{
		TypeESP:                                "EFI system",
		TypeBIOSBoot:                           "BIOS boot",
		TypeLDMData:                            "Windows dynamic disk data",
		TypeLDMMetadata:                        "Windows dynamic disk metadata",
		"E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "Microsoft reserved",
		"EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Microsoft basic data",
		"DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": "Windows recovery",
		"0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux",
		"0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "Linux swap",
		"E6D6D379-F507-44C2-A23C-238F2A3DF928": "Linux LVM",
		"A19D880F-05FC-4D3B-A006-743F0F84911E": "Linux RAID",
		"BC13C2FF-59E6-4262-A352-B275FD6F7172": "Linux extended boot",
		"933AC7E1-2EB4-4F13-B844-0E14E2AEF915": "Linux home",
		"3B8F8425-20E0-4F3B-907F-1A25A76F98E8": "Linux server data",
		"44479540-F297-41B2-9AF7-D131D5F0458A": "Linux root (x86)",
		"4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "Linux root (x86-64)",
		"4D21B016-B534-45C2-A9FB-5C16E091FD2D": "Linux variable data",
		"8484680C-9521-48C6-9C11-B0720656F69E": "Linux /usr (x86-64)",
		"CA7D7CCB-63ED-4C53-861C-1742536059CC": "LUKS",
		"83BD6B9D-7F41-11DC-BE0B-001560B84F0F": "FreeBSD boot",
		"516E7CB4-6ECF-11D6-8FF8-00022D09712B": "FreeBSD data",
		"516E7CB5-6ECF-11D6-8FF8-00022D09712B": "FreeBSD swap",
		"516E7CB6-6ECF-11D6-8FF8-00022D09712B": "FreeBSD UFS",
		"516E7CBA-6ECF-11D6-8FF8-00022D09712B": "FreeBSD ZFS",
		"824CC7A0-36A8-11E3-890A-952519AD3F61": "OpenBSD data",
		"49F48D5A-B10E-11DC-B99B-0019D1879648": "NetBSD FFS",
		"6A898CC3-1DD2-11B2-99A6-080020736631": "ZFS or Apple ZFS",
		"48465300-0000-11AA-AA11-00306543ECAC": "Apple HFS+",
		"7C3457EF-0000-11AA-AA11-00306543ECAC": "Apple APFS",
		"AA31E02A-400F-11DB-9590-000C2911D1B8": "VMware VMFS",
		"9D275380-40AD-11DB-BF97-000C2911D1B8": "VMware vmkcore",
	}[t]
}
