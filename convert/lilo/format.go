package lilo

// Sectors of the map file by their number.
const (
	headerIndex = 0
	// OneShotIndex is the map file's sector that holds the one-shot command
	// line. The loader erases it.
	OneShotIndex = 1
	stage2Index  = 2
)

// Stage2Sectors is how many sectors stage 2 takes on the disk, from
// Stage2Sector on, and in the map.
const (
	Stage2Sectors = 6
	Stage2Sector  = 2
)

// Offsets in sector 0, which hold what stage 1 and 2 need. The code of stage 1
// lies around them; loader/stage1.asm has the same numbers.
const (
	bootMagicAt  = 6  // "LILO"
	bootFormatAt = 10 // u16
	bootIDAt     = 12 // u32
	bootHeaderAt = 16 // u64, LBA
	bootSumAt    = 24 // u32, of stage 2
	bootSerialAt = 28 // as in the header
	bootListsAt  = 32 // 2 lists of 6 u64: sectors of stage 2; 0 for no list
	bootCodeEnd  = 440
	bootTableAt  = 446
)

const (
	bootMagic  = "LILO"
	bootFormat = 0x102
)

// Offsets in the header.
const (
	headerMagic     = "LILOMAP2" // the digit is the format's number
	headerIDAt      = 8          // u32
	headerImagesAt  = 12         // u16
	headerDefaultAt = 14         // u16
	headerFlagsAt   = 16         // u16
	headerSectorsAt = 18         // u32: of the whole map
	headerTimeoutAt = 24         // u16, tenths
	headerDelayAt   = 26         // u16, tenths
	headerSerialAt  = 28         // u8 port or 255, u8 line control, u16 divisor
	headerOneShotAt = 32         // u64
	headerSelfAt    = 40         // u32: first sector of the map's own list; u32: sectors of it
	headerMessageAt = 48         // stream
	headerOverlayAt = 64         // stream
	headerImageAt   = 80         // 32 u64

	flagPrompt = 1
)

// Offsets in a stream: the LBA of the first list, 0 for none.
const (
	streamSizeAt = 8  // u32
	streamSumAt  = 12 // u32
)

// Offsets in an image's descriptor.
const (
	imageMagic      = "IMAG"
	imageFlagsAt    = 4 // u16
	imageVideoAt    = 6 // u16
	imageLabelAt    = 8
	imageAliasAt    = 24
	imageKernelAt   = 40 // stream; its sum is that of the real-mode part
	imageSetupAt    = 56 // u32: size of that part
	imageRestSumAt  = 60 // u32: sum of what follows
	imageInitrdAt   = 64 // stream
	imageCmdlineAt  = 80 // stream
	imageSaltAt     = 96
	imageHashAt     = 112
	imageRoundsAt   = 144 // u32
	imageFallbackAt = 148 // u16 length, text, NUL

	imageVideo      = 1
	imagePassword   = 2
	imageRestricted = 4
	imageSingleKey  = 8
	imageLock       = 16
)

// Offsets in the one-shot sector.
const (
	oneShotMagic   = "ONCE"
	oneShotFlagsAt = 4 // u16
	oneShotAt      = 6 // u16 length, text, NUL

	oneShotRoot = 1 // root left the line, and no password is asked for
)

// Offsets in a list sector.
const (
	listNextAt  = 0 // u64, 0 in the last one
	listCountAt = 8 // u32
	listRunsAt  = 12
	listRunSize = 12 // u64, u32
	listRuns    = (sealAt - listRunsAt) / listRunSize
)
