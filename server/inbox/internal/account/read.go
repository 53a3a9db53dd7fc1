package account

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"fanfare/server/inbox/internal/subject"
)

// Entry is one entry of the account. Name is borrowed until the next one is read.
type Entry struct {
	What   byte
	kind   subject.Kind
	offset uint64
	ms     int64
	size   uint64
	Name   []byte
	mark   Mark
	Limits Limits
	epoch  Epoch
	covers [2]uint64
	frame  int64 // where its frame begins
}

// accountReader reads the entries of an account from a file that is not written.
type accountReader struct {
	f    *os.File
	size int64

	window []byte // of the file
	from   int64  // where it begins
}

const accountWindow = 1 << 20

// readAccount calls f for each entry within the first limit bytes, or all if limit is
// negative. valid is how much of the file is made of
// complete frames, and what is damaged within; an incomplete frame at the end is
// not damage. A file that does not exist has size -1.
func Read(file string, limit int64, f func(*Entry)) (valid int64, damaged []damage, err error) {
	in, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer in.Close()
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, nil, err
	}
	if limit >= 0 {
		size = min(size, limit)
	}
	r := &accountReader{f: in, size: size}
	var e Entry
	for at := int64(0); at < size; {
		entries, ok, err := r.frame(at)
		if err != nil {
			return 0, nil, err
		}
		if ok {
			next := at + frameHeader + int64(len(entries))
			if !decodeEntries(entries, at, &e, f) {
				damaged = append(damaged, damage{file, int(at), int(next - at)})
			}
			at, valid = next, next
			continue
		}
		begin := at
		for at++; at < size; at++ {
			if _, ok, err = r.frame(at); ok || err != nil {
				break
			}
		}
		if err != nil {
			return 0, nil, err
		}
		if at < size {
			damaged = append(damaged, damage{file, int(begin), int(at - begin)})
		}
	}
	return valid, damaged, nil
}

// frame returns the entries of the frame at an offset, if there is a valid one.
func (r *accountReader) frame(at int64) (entries []byte, ok bool, err error) {
	if at+frameHeader >= r.size {
		return nil, false, nil
	}
	head, err := r.bytes(at, frameHeader+1)
	if err != nil {
		return nil, false, err
	}
	n := int64(binary.LittleEndian.Uint32(head))
	if n == 0 || n > maxFrame || at+frameHeader+n > r.size || strings.IndexByte("itxpemlc", head[frameHeader]) < 0 {
		return nil, false, nil
	}
	all, err := r.bytes(at, frameHeader+int(n))
	if err != nil {
		return nil, false, err
	}
	entries, ok = frameContent(all)
	return entries, ok, nil
}

// bytes returns n bytes of the file, which has them.
func (r *accountReader) bytes(at int64, n int) ([]byte, error) {
	if at < r.from || at+int64(n) > r.from+int64(len(r.window)) {
		want := int(min(int64(max(n, accountWindow)), r.size-at))
		if cap(r.window) < want {
			r.window = make([]byte, want)
		}
		r.window = r.window[:want]
		if _, err := r.f.ReadAt(r.window, at); err != nil {
			r.window = r.window[:0]
			return nil, err
		}
		r.from = at
	}
	return r.window[at-r.from:][:n], nil
}

// decodeEntries calls f for each entry of a frame, and reports false if one is
// malformed.
func decodeEntries(b []byte, frame int64, e *Entry, f func(*Entry)) bool {
	d := decoder{b: b}
	for len(d.b) > 0 {
		*e = Entry{What: d.b[0], frame: frame}
		d.b = d.b[1:]
		switch e.What {
		case entryInbox, entryTopic:
			if e.What == entryTopic {
				e.kind = subject.Topic
			}
			e.offset, e.ms, e.size, e.Name = d.number(), int64(d.number()), d.number(), d.name()
		case entryPurge:
			k := d.number()
			e.offset, e.ms, e.Name = d.number(), int64(d.number()), d.name()
			if e.kind = subject.Kind(k); k > uint64(subject.Topic) {
				return false
			}
		case EntryPosition:
			e.ms, e.Name = int64(d.number()), d.name()
		case entryEpoch:
			e.epoch.Ms = int64(d.number())
			e.epoch.Began = [2]uint64{d.number(), d.number()}
			e.epoch.ID, e.epoch.Boot = string(d.name()), string(d.name())
		case entryMark:
			m := &e.mark
			m.Ms = int64(d.number())
			m.First[subject.Inbox], m.Last[subject.Inbox] = d.number(), d.number()
			m.First[subject.Topic], m.Last[subject.Topic] = d.number(), d.number()
			m.lag = d.number()
		case EntryLimits:
			e.Limits = Limits{Messages: d.number(), Age: time.Duration(d.number()) * time.Millisecond,
				Disk: d.number(), DropOldest: d.number() != 0, Flush: d.number() != 0}
		case entryCovers:
			e.covers = [2]uint64{d.number(), d.number()}
		default:
			return false
		}
		if d.bad {
			return false
		}
		f(e)
	}
	return true
}

// decoder takes numbers and names from an entry.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) name() []byte {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	name := d.b[:n]
	d.b = d.b[n:]
	return name
}
