package registry

import (
	"slices"
	"strings"
)

// AppendUsersAfter appends to dst the first names of users in byte order that are greater than after and begin
// with prefix, at most n. It looks at every user, and keeps 2n names meanwhile. A user who has sessions from
// the call to its return is among them if it is one of the first.
func (r *Registry[S]) AppendUsersAfter(dst []string, after, prefix string, n int) []string {
	page := firstNames{after: after, prefix: prefix, most: n}
	var all []S
	for i := range r.users {
		sh := &r.users[i]
		sh.mu.Lock()
		all = sh.users.appendAll(all[:0])
		sh.mu.Unlock()
		// A name is written before its session is in a table, and never again, so that the shard is not locked
		// while the processor waits for the memory of each session.
		for _, s := range all {
			page.add(r.userName(s))
		}
	}
	return append(dst, page.names()...)
}

// AppendTopicsAfter is AppendUsersAfter for topics.
func (r *Registry[S]) AppendTopicsAfter(dst []string, after, prefix string, n int) []string {
	page := firstNames{after: after, prefix: prefix, most: n}
	var all []*topic[S]
	for i := range r.topics {
		sh := &r.topics[i]
		sh.mu.Lock()
		all = sh.topics.appendAll(all[:0])
		sh.mu.Unlock()
		for _, t := range all {
			page.add(t.name)
		}
	}
	return append(dst, page.names()...)
}

// firstNames keeps the first of the names that are added, in byte order.
type firstNames struct {
	after, prefix string
	most          int

	list  []string // at most 2 * most
	bound string   // if not empty, later names are not among the first
}

func (f *firstNames) add(name string) {
	if name <= f.after || f.bound != "" && name >= f.bound || !strings.HasPrefix(name, f.prefix) {
		return
	}
	if f.list = append(f.list, name); len(f.list) >= 2*f.most {
		f.list = f.names()
		f.bound = f.list[len(f.list)-1]
	}
}

// names returns the first names, sorted.
func (f *firstNames) names() []string {
	slices.Sort(f.list)
	return f.list[:min(len(f.list), f.most)]
}
