package inspect

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// faults notes which file systems are damaged already, so that nobody learns of
// it after the copy.
func (l *look) faults() {
	const most = 3
	for _, v := range l.volumes {
		if v.files == nil {
			continue
		}
		faults, refused, err := v.files.Faults()
		if err != nil {
			l.note("%s: not fully checked for damage: %v", v.where, err)
			continue
		}
		all := slices.Concat(refused, faults) // what is worse comes first
		if len(all) == 0 {
			continue
		}
		what := strings.Join(all[:min(len(all), most)], "; ")
		if n := len(all) - most; n > 0 {
			what += fmt.Sprintf("; and %d more", n)
		}
		l.guest.Faults = append(l.guest.Faults, guest.Fault{
			Volume: v.where, Content: v.content.Type, Mount: v.mount(), What: conf.Clean(what), Refused: len(refused) > 0,
		})
	}
}
