package manual

import (
	"strings"
	"testing"
	"time"
)

const text = `# A title

A paragraph of ` + "`code here`" + ` and **bold** words with a
[link](x.md).

- one
  goes on
- .two

| flag | does | not |
|---|---|---|
| -x | this | that |
| ` + "`--long-as-it-is`" + ` | it's | |

    verbatim  \n
      deeper
`

// TestText: what a terminal of 24 columns shows.
func TestText(t *testing.T) {
	t.Parallel()
	want := "A TITLE\n\nA paragraph of\n`code here` and bold\nwords with a link.\n\n- one goes on\n- .two\n\n" +
		"  -x\n      does: this. not:\n      that\n  --long-as-it-is\n      does: it's\n\n  verbatim  \\n\n    deeper\n"
	if got := Text(Parse(text), 24); got != want {
		t.Errorf("Text = %q; want %q", got, want)
	}
}

// TestRoff: what man(7) reads; no text becomes a request.
func TestRoff(t *testing.T) {
	t.Parallel()
	p := Page{Name: "a-b", Section: 7, Brief: "it's", Date: time.Unix(0, 0), Parts: []Part{{"description", Parse(text)}, {"empty", nil}}, SeeAlso: []string{"**c**(1)"}}
	want := `.TH A\-B 7 1970-01-01 esxodus
.SH NAME
a\-b \- it\(aqs
.SH DESCRIPTION
.SS A title
A paragraph of \fBcode here\fP and \fBbold\fP words with a link.
.IP \(bu 2
one goes on
.IP \(bu 2
\&.two
.TP
.B \-x
does: this. not: that
.TP
.B \-\-long\-as\-it\-is
does: it\(aqs
.PP
.nf
.RS 2
verbatim  \en
  deeper
.RE
.fi
.SH SEE ALSO
\fBc\fP(1)
`
	if got := p.Roff(); got != want {
		t.Errorf("Roff = %s\nwant %s", got, want)
	}
	if strings.Contains(p.Roff(), "EMPTY") {
		t.Error("a part without text has a heading")
	}
}
