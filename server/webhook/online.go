package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// onlineFile is a file that says which users webhooks were told are online, and how many
// events were dropped, so that a process that was killed continues where it was. It costs no
// memory for a user. Each line is one of
//
//	+USER       the user is online
//	-USER       the user is offline
//	!HOOK N     N events of the webhook were dropped and not reported yet
//	=           the events of the changes above are in the queue
//
// Names have no control characters. The last line may be incomplete after a power cut.
type onlineFile struct {
	path string // immutable

	// Owned by the recorder.
	f         *os.File
	size      int64 // of the file
	compacted int64 // its size when it was last written anew
}

// onlineState is what the file says.
type onlineState struct {
	users   map[string]struct{} // online
	pending []string            // of users: those whose event may not be in the queue
	dropped map[string]int64    // by webhook
}

// compactAbove is the size from which the file is written anew when it has grown by as much
// again.
const compactAbove = 1 << 20

// openOnline opens the file in a directory, and returns what it says.
func openOnline(dir string) (*onlineFile, *onlineState, error) {
	o := &onlineFile{path: filepath.Join(dir, "online")}
	state, err := o.read()
	if err == nil {
		err = o.replace(state)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("webhook: %w", err)
	}
	return o, state, nil
}

// read reads the file.
func (o *onlineFile) read() (*onlineState, error) {
	st := &onlineState{users: make(map[string]struct{}), dropped: make(map[string]int64)}
	f, err := os.Open(o.path)
	if errors.Is(err, os.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	changed := make(map[string]byte) // since the last =
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		kind, rest := line[0], strings.TrimSuffix(line[1:], "\n")
		switch kind {
		case '+', '-':
			changed[rest] = kind
			if kind == '+' {
				st.users[rest] = struct{}{}
			} else {
				delete(st.users, rest)
			}
		case '=':
			clear(changed)
		case '!':
			hook, count, _ := strings.Cut(rest, " ")
			if n, err := strconv.ParseInt(count, 10, 64); err == nil && n > 0 {
				st.dropped[hook] = n
			} else {
				delete(st.dropped, hook)
			}
		}
	}
	for user, kind := range changed {
		if kind == '+' {
			st.pending = append(st.pending, user)
		} else {
			st.users[user] = struct{}{} // UserOffline is due, unless the user comes back
		}
	}
	slices.Sort(st.pending)
	return st, nil
}

// replace writes the file anew.
func (o *onlineFile) replace(st *onlineState) error {
	var b bytes.Buffer
	for user := range st.users {
		b.WriteString("+" + user + "\n")
	}
	for hook, n := range st.dropped {
		fmt.Fprintf(&b, "!%s %d\n", hook, n)
	}
	b.WriteString("=\n")
	for _, user := range st.pending {
		b.WriteString("+" + user + "\n")
	}
	temp := o.path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, o.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	if o.f != nil {
		o.f.Close()
	}
	o.f, o.size, o.compacted = f, int64(b.Len()), int64(b.Len())
	return nil
}

// write appends lines.
func (o *onlineFile) write(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	n, err := o.f.Write(lines)
	if o.size += int64(n); err != nil {
		if o.f.Truncate(o.size-int64(n)) == nil { // no part of a line stays
			o.f.Seek(0, io.SeekEnd)
			o.size -= int64(n)
		}
		return err
	}
	return nil
}

// compact writes the file anew if most of it is out of date. All changes must be in the queue.
func (o *onlineFile) compact() error {
	if o.size < max(2*o.compacted, compactAbove) {
		return nil
	}
	st, err := o.read()
	if err != nil {
		return err
	}
	return o.replace(st)
}

func (o *onlineFile) close() { o.f.Close() }

// sortedUsers returns the users of the state, sorted.
func (st *onlineState) sortedUsers() []string { return slices.Sorted(maps.Keys(st.users)) }
