package vmx

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// charset is what a .vmx's bytes are in.
type charset struct {
	name string
	encoding.Encoding
	note string // what was assumed
}

// charsetOf returns the file's character set. Without .encoding it is UTF-8 if
// all values are valid as that, else windows-1252. A name that nobody knows
// matters only where values aren't ASCII, and is UTF-8 if they are valid so.
func charsetOf(lines []line) (charset, error) {
	name, ascii, valid := "", true, true
	for _, l := range lines {
		if l.key == ".encoding" && name == "" {
			name = string(l.value)
		}
		valid = valid && utf8.Valid(l.value)
		ascii = ascii && !strings.ContainsFunc(string(l.value), func(r rune) bool { return r >= utf8.RuneSelf })
	}
	switch {
	case name == "" && valid:
		return charset{name: "UTF-8", Encoding: encoding.Nop}, nil
	case name == "":
		return charset{name: "windows-1252", Encoding: charmap.Windows1252}, nil
	case strings.HasPrefix(strings.ToLower(name), "utf-16"), strings.HasPrefix(strings.ToLower(name), "utf-32"):
		return charset{}, fmt.Errorf("%w: .encoding %.80q: the file is not in it", ErrFormat, name)
	}
	if e := byName(name); e != nil {
		return charset{name: name, Encoding: e}, nil
	}
	cs := charset{name: name, Encoding: encoding.Nop}
	switch {
	case ascii:
		return cs, nil
	case valid:
		cs.note = fmt.Sprintf(".encoding is %.80q, which is not a known character set: the file was read as UTF-8", name)
		return cs, nil
	}
	return charset{}, fmt.Errorf("%w: .encoding %.80q: not a known character set; convert the file to UTF-8 and say so in .encoding", ErrFormat, name)
}

// decode turns bytes of the file's character set into UTF-8, with U+FFFD for
// what is none.
func (c charset) decode(b []byte) string {
	if out, err := c.NewDecoder().Bytes(b); err == nil {
		b = out
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// pageName are the names of code pages in their many spellings: CP936,
// windows-936, ibm-874_P100-1995, MS949, 1252.
var pageName = regexp.MustCompile(`^(?:x-)?(?:cp|ms|ibm|windows|win|dos|csibm|cspc)?[-_ ]?([0-9]{3,5})(?:[_-].*)?$`)

// byName finds a character set by a name that VMware, whose table is ICU's,
// knows it by; nil for none.
func byName(name string) encoding.Encoding {
	plain := strings.ToLower(strings.TrimSpace(name))
	if len(plain) > 64 {
		return nil
	}
	switch plain {
	case "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "646", "iso646-us":
		return encoding.Nop
	case "tis-620", "tis620", "tis620.2533", "eucth", "iso-8859-11":
		return charmap.Windows874
	case "sjis", "shiftjis", "x-sjis", "windows-31j", "cswindows31j":
		return japanese.ShiftJIS
	case "ks_c_5601-1987", "ksc_5601", "uhc", "windows-949-2000":
		return korean.EUCKR
	}
	if e, err := htmlindex.Get(plain); err == nil {
		return e
	}
	if m := pageName.FindStringSubmatch(plain); m != nil {
		if e := codePage(m[1]); e != nil {
			return e
		}
	}
	if rest, ok := strings.CutPrefix(strings.ReplaceAll(plain, "_", "-"), "8859-"); ok {
		plain = "iso-8859-" + rest
	}
	for _, index := range []*ianaindex.Index{ianaindex.IANA, ianaindex.MIME} {
		if e, err := index.Encoding(plain); err == nil && e != nil {
			return e
		}
	}
	return nil
}

// codePage returns the character set of a code page of Windows or IBM.
func codePage(number string) encoding.Encoding {
	switch number {
	case "367", "20127", "1208", "65001":
		return encoding.Nop
	case "874", "1162", "9066":
		return charmap.Windows874
	case "932", "943", "942":
		return japanese.ShiftJIS
	case "936", "1386":
		return simplifiedchinese.GBK
	case "54936", "1392":
		return simplifiedchinese.GB18030
	case "949", "1363", "970", "51949":
		return korean.EUCKR
	case "950", "1370", "1373", "1375", "5471":
		return traditionalchinese.Big5
	case "954", "33722", "51932", "5050":
		return japanese.EUCJP
	case "20866", "878":
		return charmap.KOI8R
	case "21866", "1168":
		return charmap.KOI8U
	case "10000":
		return charmap.Macintosh
	}
	if e := westernPage(number); e != nil {
		return e
	}
	return isoPage(number)
}

// westernPage has the pages of one byte: of DOS, and Windows' with those of
// IBM's that are the same.
func westernPage(number string) encoding.Encoding {
	return map[string]encoding.Encoding{
		"437": charmap.CodePage437, "850": charmap.CodePage850, "852": charmap.CodePage852, "855": charmap.CodePage855, "858": charmap.CodePage858,
		"860": charmap.CodePage860, "862": charmap.CodePage862, "863": charmap.CodePage863, "865": charmap.CodePage865, "866": charmap.CodePage866,
		"1250": charmap.Windows1250, "5346": charmap.Windows1250, "1251": charmap.Windows1251, "5347": charmap.Windows1251,
		"1252": charmap.Windows1252, "5348": charmap.Windows1252, "1253": charmap.Windows1253, "5349": charmap.Windows1253,
		"1254": charmap.Windows1254, "5350": charmap.Windows1254, "1255": charmap.Windows1255, "9447": charmap.Windows1255,
		"1256": charmap.Windows1256, "9448": charmap.Windows1256, "1257": charmap.Windows1257, "9449": charmap.Windows1257,
		"1258": charmap.Windows1258, "5354": charmap.Windows1258,
	}[number]
}

// isoPage has ISO 8859 by the numbers of Windows and IBM.
func isoPage(number string) encoding.Encoding {
	return map[string]encoding.Encoding{
		"28591": charmap.ISO8859_1, "819": charmap.ISO8859_1, "28592": charmap.ISO8859_2, "912": charmap.ISO8859_2,
		"28593": charmap.ISO8859_3, "913": charmap.ISO8859_3, "28594": charmap.ISO8859_4, "914": charmap.ISO8859_4,
		"28595": charmap.ISO8859_5, "915": charmap.ISO8859_5, "28596": charmap.ISO8859_6, "1089": charmap.ISO8859_6,
		"28597": charmap.ISO8859_7, "813": charmap.ISO8859_7, "9005": charmap.ISO8859_7, "28598": charmap.ISO8859_8, "916": charmap.ISO8859_8,
		"5012": charmap.ISO8859_8, "28599": charmap.ISO8859_9, "920": charmap.ISO8859_9, "919": charmap.ISO8859_10,
		"28603": charmap.ISO8859_13, "921": charmap.ISO8859_13, "28605": charmap.ISO8859_15, "923": charmap.ISO8859_15,
	}[number]
}
