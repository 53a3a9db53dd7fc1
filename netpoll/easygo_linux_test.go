package netpoll

import (
	"testing"

	"golang.org/x/sys/unix"
)

// While no worker calls Wait, because handlers block all of them, each descriptor is in
// the list once, however many events it has.
func TestEasygoListIsBounded(t *testing.T) {
	p, err := newEasygo()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, b := &edge{fd: 1, gen: 10}, &edge{fd: 2, gen: 20}
	for range 1000 {
		p.collect(a, Writable)
		p.collect(b, Readable)
		p.collect(a, Readable|Hangup)
		p.collect(b, 0)
	}
	if n := len(p.ready); n != 2 {
		t.Fatalf("%d entries for two descriptors", n)
	}
	// Nothing of it is lost, and each comes once.
	var dst [1]Event
	for _, want := range []Event{{1, 10, Readable | Writable | Hangup}, {2, 20, Readable}} {
		if n, err := p.Wait(dst[:], true); n != 1 || err != nil || dst[0] != want {
			t.Errorf("Wait = %d, %v, %v, want %v", n, err, dst[0], want)
		}
	}
	if n, _ := p.Wait(dst[:], false); n != 0 {
		t.Errorf("Wait = %d, %v, want none", n, dst[0])
	}
	// An event that was taken is returned again when it recurs.
	p.collect(a, Readable)
	if n, _ := p.Wait(dst[:], false); n != 1 || dst[0] != (Event{1, 10, Readable}) {
		t.Errorf("Wait = %d, %v", n, dst[0])
	}
}

// The same with a peer that sends byte after byte.
func TestEasygoListIsBoundedByDescriptors(t *testing.T) {
	p, err := newEasygo()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := p.Add(pair[0], 7); err != nil {
		t.Fatal(err)
	}
	defer p.Remove(pair[0], true)
	for range 200 {
		if _, err := unix.Write(pair[1], []byte("x")); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		n := len(p.ready)
		p.mu.Unlock()
		if n > 1 {
			t.Fatalf("%d entries for one descriptor", n)
		}
	}
	var dst [8]Event
	for seen := Readiness(0); seen&Readable == 0; {
		n, err := p.Wait(dst[:], true)
		if err != nil || n > 1 {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		for _, ev := range dst[:n] {
			if ev.FD != int32(pair[0]) || ev.Gen != 7 {
				t.Fatalf("event %v", ev)
			}
			seen |= ev.Ready
		}
	}
}
