package handover

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func pair(t testing.TB) (a, b *Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Skip(err)
	}
	var ends [2]*Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = New(c.(*net.UnixConn))
		t.Cleanup(func() { c.Close() })
	}
	return ends[0], ends[1]
}

func TestMessages(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	long := strings.Repeat("x", 1<<20)
	go func() {
		a.Write(Sync, nil)
		a.Write(Failed, long)
		a.Write(Descriptors, []int{1, 2}, int(r.Fd()), int(w.Fd()))
		a.Write(Descriptors, []int{3}, int(w.Fd()))
		a.Write(Done, nil)
		a.Close()
	}()
	m, err := b.Read()
	if err != nil || m.Kind != Sync || len(m.Payload) > 0 {
		t.Fatal(m, err)
	}
	var text string
	if m, err = b.Read(); err != nil || m.Decode(&text) != nil || text != long {
		t.Fatalf("%v of %d bytes, %v", m.Kind, len(m.Payload), err)
	}
	for _, want := range []int{2, 1} {
		if m, err = b.Read(); err != nil || m.Kind != Descriptors || len(m.FDs) != want {
			t.Fatalf("%v with %d descriptors, %v: want %d", m.Kind, len(m.FDs), err, want)
		}
		if want == 2 {
			in := os.NewFile(uintptr(m.FDs[1]), "in")
			in.WriteString("through")
			in.Close()
			var buf [7]byte
			if io.ReadFull(os.NewFile(uintptr(m.FDs[0]), "out"), buf[:]); string(buf[:]) != "through" {
				t.Fatalf("read %q through the descriptors", buf)
			}
			m.FDs = m.FDs[:0:0]
		}
		m.CloseFDs()
	}
	if m, err = b.Read(); err != nil || m.Kind != Done {
		t.Fatal(m, err)
	}
	if _, err = b.Read(); err != io.EOF {
		t.Fatalf("error %v: want io.EOF", err)
	}
}

func TestMalformedMessages(t *testing.T) {
	for name, text := range map[string]string{
		"kind 0":            "\x00\x00\x00\x00\x00\x00\x00\x00",
		"unknown kind":      "\x00\x00\x00\x00\xff\x00\x00\x00",
		"too long":          "\xff\xff\xff\xff\x01\x00\x00\x00",
		"descriptors":       "\x00\x00\x00\x00\x03\x00\x01\x00",
		"many descriptors":  "\x00\x00\x00\x00\x03\xff\xff\x00",
		"reserved":          "\x00\x00\x00\x00\x01\x00\x00\x01",
		"cut in the header": "\x00\x00",
		"cut":               "\x00\x00\x00\x09\x01\x00\x00\x00x",
	} {
		a, b := pair(t)
		a.unix.Write([]byte(text))
		a.Close()
		if m, err := b.Read(); err == nil || errors.Is(err, io.EOF) && err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %v, %v: want an error", name, m.Kind, err)
		}
	}
	a, _ := pair(t)
	if err := a.Write(Descriptors, nil, make([]int, MaxDescriptors+1)...); err == nil {
		t.Error("too many descriptors were sent")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02\x01\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Conn{in: b}
		for {
			m, ok, err := c.next()
			if !ok || err != nil {
				return
			}
			if len(m.FDs) > 0 {
				t.Fatal("descriptors out of nothing")
			}
		}
	})
}
