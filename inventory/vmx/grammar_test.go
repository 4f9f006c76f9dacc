package vmx

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestGrammar holds the lines that VMware's own reader (DictLL) takes, and what
// it takes from them.
func TestGrammar(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`k = "a.vmdk" # old "b.vmdk"`: "a.vmdk", `k = 262144  # 256GB`: "262144", `k = TRUE # yes`: "TRUE", `k = TRUE#yes`: "TRUE",
		`k="v"`: "v", "\tk\t=\t\"v\"\t": "v", `k = "v"# "w"`: "v", `k = ""`: "", `k = `: "", `k = # nothing`: "", `k =`: "",
		`k = "a # b"`: "a # b", `k = "a=b"`: "a=b", `k = a=b`: "a=b", `k = a"b`: `a"b`, `k = "a|22b|7C|23"`: `a"b|#`, `k = a|20b`: "a b",
		`K = "v"`: "v", `k = "|"`: "|", `k = "|2"`: "|2", `k = "|2g|41"`: "|2gA", `k = "||41"`: "|A", "k = \"v\"\r": "v", "k = v\r": "v",
		"# c\n\n   # d\nk = \"v\"": "v", "k = \"a\tb \"": "a\tb ",
		".encoding = \"Shift_JIS\"\nk = \"\x83|7C\x83\x5c\"":  "ポソ", // as VMware writes the second byte of ポ
		".encoding = GBK # Chinese\nk = \"\xd6\xd0\xce\xc4\"": "中文",
	} {
		f, err := Parse([]byte(in))
		if got, ok := f.Values["k"]; err != nil || !ok || got != want || len(f.Problems) > 0 {
			t.Errorf("%q = %q, %v, %v; want %q", in, got, err, f.Problems, want)
		}
	}
	for in, want := range map[string]string{
		`k = "a" b`: "after the closing quote", `k = a b`: "after the value", `k = "a""b"`: "after the closing quote", `k "v"`: "want key", `= "v"`: "want key",
		`k#x = "v"`: "want key", `k = "a`: "no closing quote", strings.Repeat("k", 1025) + ` = "v"`: "a key of 1025 bytes",
		strings.Repeat("k", 8<<20-8) + `="v"`: "a key of 8388600 bytes",
	} {
		if _, err := Parse([]byte(in)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) || len(err.Error()) > 200 {
			t.Errorf("%.40q: error %.200v; want %q", in, err, want)
		}
	}
}

// TestNoSecretInErrors: what is wrong with a line, or contradicts another, is
// told without the value of a secret.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"machine.id = \"root:\" EXAMPLE", "machine.id = \"root:EXAMPLE", "machine.id root:EXAMPLE", "machine.id = root: EXAMPLE",
		"config.version = 8\nmachine.id = \"root:EXAMPLE\"\nmachine.id = \"EXAMPLE\"", "config.version = 8\nguestinfo.userdata = a\nguestinfo.userdata = EXAMPLE",
	} {
		f, err := Parse([]byte(in))
		vm, _ := f.vm("")
		if all := fmt.Sprint(err, f.Problems, vm.Extra, vm.Problems, vm.Notes); strings.Contains(all, "EXAMPLE") {
			t.Errorf("%q: %s", in, all)
		}
	}
}

// TestCharsets has names of VMware's table, and what nobody knows.
func TestCharsets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string][2]string{
		"ibm-874": {"\xa1\xd2", "กา"}, "ibm-874_P100-1995": {"\xa1", "ก"}, "TIS-620": {"\xa1", "ก"}, "cp874": {"\xa1", "ก"}, "windows-874": {"\xa1", "ก"},
		"windows-936": {"\xd6\xd0", "中"}, "CP936": {"\xd6\xd0", "中"}, "MS936": {"\xd6\xd0", "中"}, "windows-936-2000": {"\xd6\xd0", "中"}, "ibm-1386": {"\xd6\xd0", "中"},
		"GB18030": {"\xd6\xd0", "中"}, "windows-950": {"\xa4\xa4", "中"}, "ibm-1373": {"\xa4\xa4", "中"}, "Big5": {"\xa4\xa4", "中"},
		"windows-949": {"\xc7\xd1", "한"}, "MS949": {"\xc7\xd1", "한"}, "windows-932": {"\x83\x5c", "ソ"}, "ibm-943_P15A-2003": {"\x83\x5c", "ソ"}, "MS_Kanji": {"\x83\x5c", "ソ"},
		"windows-1251": {"\xc6", "Ж"}, "CP1251": {"\xc6", "Ж"}, "ibm-5347_P100-1998": {"\xc6", "Ж"}, "IBM850": {"\x81", "ü"}, "cp850": {"\x81", "ü"}, "ibm-437": {"\x81", "ü"},
		"8859_15": {"\xa4", "€"}, "ibm-923": {"\xa4", "€"}, "ISO-8859-13": {"\xc0", "Ą"}, "latin1": {"\xe9", "é"}, "windows-28592": {"\xb1", "ą"}, "KOI8-R": {"\xc1", "а"},
		"US-ASCII": {"a", "a"}, "UTF8": {"é", "é"},
	} {
		f, err := Parse([]byte(".encoding = \"" + name + "\"\ndisplayName = \"" + tt[0] + "\""))
		if f.Values["displayname"] != tt[1] || err != nil || len(f.Notes) > 0 {
			t.Errorf("%s: %q, %v, notes %v; want %q", name, f.Values["displayname"], err, f.Notes, tt[1])
		}
	}
	for in, want := range map[string]string{"plain": "", "é": "read as UTF-8", "|C3|A9": "read as UTF-8"} {
		f, err := Parse([]byte(".encoding = \"klingon\"\ndisplayName = \"" + in + "\""))
		if err != nil || len(f.Problems) > 0 || (want == "") != (len(f.Notes) == 0) || !strings.Contains(strings.Join(f.Notes, ""), want) {
			t.Errorf("%q: %v, notes %q; want %q", in, err, f.Notes, want)
		}
	}
	for _, in := range []string{"\xff", "|ff"} {
		if _, err := Parse([]byte(".encoding = \"klingon\"\ndisplayName = \"" + in + "\"")); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v; want %v", in, err, ErrFormat)
		}
	}
}
