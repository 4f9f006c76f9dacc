package esxi

import (
	"bytes"
	"fmt"
	"net/http"
)

// repeated is how many bytes of an answer that broke off the next one must
// have again: two answers of which one was changed on the way don't fit.
const repeated = 4096

// reading is one ranged read. It takes nothing for the file's that an answer
// doesn't account for: an answer is as long as its range and ends there. The
// beginning of one that broke off counts if its Content-Length was right, and
// only together with a whole one that repeats its last bytes.
type reading struct {
	f    *File
	p    []byte
	off  int64 // of p in the file
	got  int   // bytes of p that are taken
	over int   // of them, the last, which the next answer repeats
	most int   // the most that got has been
}

func (r *reading) first() int64 { return r.off + int64(r.got-r.over) }
func (r *reading) last() int64  { return r.off + int64(len(r.p)) - 1 }

func (r *reading) request() request {
	return request{url: r.f.url, method: http.MethodGet, ranged: true, first: r.first(), last: r.last()}
}

// take implements exchange.
func (r *reading) take(res *http.Response, w *watch) (bool, error) {
	if err := r.f.check(res, r.first(), r.last()); err != nil {
		return false, err
	}
	again := make([]byte, r.over)
	n, err := w.fill(res.Body, again)
	if err != nil {
		return false, err
	}
	if old := r.p[r.got-r.over : r.got]; !bytes.Equal(again, old) {
		err := fmt.Errorf("%w: bytes %d to %d differ from the answer before", ErrProtocol, r.first(), r.first()+int64(r.over)-1)
		r.got, r.over = 0, 0
		return false, err
	}
	m, err := w.fill(res.Body, r.p[r.got:])
	if err == nil {
		err = w.ends(res.Body)
		if err == nil {
			r.got, r.over = len(r.p), 0
		}
		return err == nil, err
	}
	if n += m; res.ContentLength < 0 || n < enough {
		return false, err // nothing says how much of it is the file's, or it's too little to be worth it
	}
	r.got, r.over = r.got+m, repeated
	progress := r.got > r.most
	r.most = max(r.most, r.got)
	return progress, err
}
