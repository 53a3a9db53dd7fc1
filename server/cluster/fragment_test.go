package cluster

import (
	"bytes"
	"slices"
	"testing"
)

// fragments returns the bodies of the fragments that carry m.
func fragments(t *testing.T, m []byte, limit int, from nodeID, number uint64) (bodies [][]byte) {
	t.Helper()
	for _, part := range split(m, limit, from, number) {
		if len(part) > limit {
			t.Fatalf("fragment of %d bytes, limit %d", len(part), limit)
		}
		e, err := open(part)
		if err != nil || e.kind != kindFragment || e.from != from {
			t.Fatalf("got %+v, %v", e, err)
		}
		bodies = append(bodies, e.body)
	}
	return bodies
}

func message(size int) []byte {
	m := appendHeader(nil, kindCommand, nodeID{1})
	for i := range size - len(m) {
		m = append(m, byte(i*7))
	}
	return m
}

func TestFragments(t *testing.T) {
	for _, size := range []int{1025, 2000, 1 << 20} {
		want := message(size)
		var r reassembler
		parts := fragments(t, want, 1024, nodeID{1}, 5)
		for i, body := range parts {
			got, err := r.add(nodeID{1}, body)
			if err != nil || (got != nil) != (i == len(parts)-1) || got != nil && !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, fragment %d: %d bytes, %v", size, i, len(got), err)
			}
		}
		if r.bytes != 0 || len(r.parts) != 0 {
			t.Errorf("%d bytes are kept", r.bytes)
		}
	}
	if parts := split(message(1024), 1024, nodeID{1}, 1); len(parts) != 1 {
		t.Errorf("what fits is sent in %d fragments", len(parts))
	}
}

// TestFragmentsOfTwo: messages of two nodes do not mix.
func TestFragmentsOfTwo(t *testing.T) {
	var r reassembler
	a, b := nodeID{1}, nodeID{2}
	wantA, wantB := message(3000), slices.Concat(message(2999), []byte("b"))
	partsA, partsB := fragments(t, wantA, 1024, a, 1), fragments(t, wantB, 1024, b, 1)
	for i := range partsA {
		gotA, errA := r.add(a, partsA[i])
		gotB, errB := r.add(b, partsB[i])
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if i == len(partsA)-1 && (!bytes.Equal(gotA, wantA) || !bytes.Equal(gotB, wantB)) {
			t.Error("messages differ")
		}
	}
}

// TestLostFragments: a message with a fragment missing is dropped, and the next
// one is complete.
func TestLostFragments(t *testing.T) {
	from := nodeID{1}
	for name, deliver := range map[string]func(a, b [][]byte) [][]byte{
		"first":        func(a, b [][]byte) [][]byte { return append(a[1:], b...) },
		"middle":       func(a, b [][]byte) [][]byte { return append(slices.Delete(a, 1, 2), b...) },
		"last":         func(a, b [][]byte) [][]byte { return append(a[:len(a)-1], b...) },
		"twice":        func(a, b [][]byte) [][]byte { return append(append([][]byte{a[0], a[1], a[1]}, a[2:]...), b...) },
		"other number": func(a, b [][]byte) [][]byte { return append([][]byte{a[0], b[1], a[1]}, b...) },
	} {
		a, want := message(4000), message(3500)
		var r reassembler
		var whole [][]byte
		failed := 0
		for _, body := range deliver(fragments(t, a, 1024, from, 1), fragments(t, want, 1024, from, 2)) {
			m, err := r.add(from, body)
			if err != nil {
				failed++
			}
			if m != nil {
				whole = append(whole, m)
			}
		}
		if len(whole) != 1 || !bytes.Equal(whole[0], want) {
			t.Errorf("%s: %d messages are complete", name, len(whole))
		}
		if failed == 0 && name != "last" { // the first fragment of the next shows it
			t.Errorf("%s: the loss is not noticed", name)
		}
		if r.bytes != 0 {
			t.Errorf("%s: %d bytes are kept", name, r.bytes)
		}
	}
}

// TestFragmentsBound: unfinished messages take a bounded amount of memory, and
// declared counts none.
func TestFragmentsBound(t *testing.T) {
	var r reassembler
	part := appendNumbers(nil, 1, 0, 1<<60)
	part = append(part, make([]byte, 1<<20)...)
	for i := range 200 {
		if m, err := r.add(nodeID{byte(i), 1}, part); m != nil || err != nil {
			t.Fatal(err)
		}
		if r.bytes > maxPartial {
			t.Fatalf("%d bytes are kept", r.bytes)
		}
	}
	if len(r.parts) != maxPartial>>20 {
		t.Errorf("%d messages are kept", len(r.parts))
	}
	// One sender cannot exceed the largest message.
	from := nodeID{0xff}
	var err error
	for i := uint64(0); err == nil && i < 100; i++ {
		_, err = r.add(from, append(appendNumbers(nil, 1, i, 1000), make([]byte, 1<<20)...))
	}
	if err == nil || r.parts[from] != nil {
		t.Errorf("got %v", err)
	}
	for _, bad := range [][]byte{nil, {1}, {1, 1, 1}, {1, 0, 0}} {
		if _, err := r.add(from, bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
