package act

import "io/fs"

// memo is a tree that is asked once for each answer: programs that follow
// links one by one ask the same again and again, and each question goes to
// the appliance. It holds while nothing of what is asked for changes.
type memo struct {
	fs.ReadLinkFS
	infos map[string]answer[fs.FileInfo]
	links map[string]answer[string]
}

// answer is what a tree said.
type answer[T any] struct {
	value T
	err   error
}

func newMemo(tree fs.ReadLinkFS) *memo {
	return &memo{ReadLinkFS: tree, infos: map[string]answer[fs.FileInfo]{}, links: map[string]answer[string]{}}
}

// maxMemo bounds what is kept, in answers.
const maxMemo = 100_000

// ask returns what is known, or asks and keeps the answer.
func ask[T any](known map[string]answer[T], name string, question func(string) (T, error)) (T, error) {
	if a, ok := known[name]; ok {
		return a.value, a.err
	}
	value, err := question(name)
	if len(known) < maxMemo {
		known[name] = answer[T]{value, err}
	}
	return value, err
}

// Lstat implements [fs.ReadLinkFS].
func (m *memo) Lstat(name string) (fs.FileInfo, error) {
	return ask(m.infos, name, m.ReadLinkFS.Lstat)
}

// ReadLink implements [fs.ReadLinkFS].
func (m *memo) ReadLink(name string) (string, error) {
	return ask(m.links, name, m.ReadLinkFS.ReadLink)
}
