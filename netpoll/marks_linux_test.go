package netpoll

import (
	"testing"
	"time"
)

// newMarkedRig is newRig with marks.
func newMarkedRig(t *testing.T, network string, data func(*session, []byte)) (*rig, Marks) {
	t.Helper()
	e, err := New(Config{QueueBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	marks := MarksIn(make([]byte, 4096*MarkSize))
	e.UseMarks(marks)
	return newRigOn(t, e, network, func() *session { return newSession(t, data) }), marks
}

// becomes waits until a connection is found as want.
func (m Marks) becomes(t *testing.T, fd int, id uint64, version uint32, want Found) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := m.Look(fd, id, version)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("found %d: want %d", got, want)
		}
	}
}

func TestMarks(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			entered, leave := make(chan struct{}), make(chan struct{})
			r, marks := newMarkedRig(t, network, func(s *session, b []byte) {
				entered <- struct{}{}
				<-leave
				s.WriteBorrowed(b, CloseOnFull)
			})
			nc := r.dial()
			must(t, nc, "x")
			s := <-r.sessions
			<-entered
			fd, id := s.FD(), s.ID()
			if got := marks.Look(fd, id, 0); got != FoundEnded {
				t.Errorf("found %d before another process knows the connection: want %d", got, FoundEnded)
			}
			s.NoteKnown()
			if got := marks.Look(fd, id, 0); got != FoundBusy {
				t.Errorf("found %d in Data: want %d", got, FoundBusy)
			}
			leave <- struct{}{}
			expect(t, nc, "x")
			marks.becomes(t, fd, id, 0, FoundAtRest)

			// A message of the peer that is incomplete.
			s.partial.Store(true)
			must(t, nc, "y")
			<-entered
			leave <- struct{}{}
			expect(t, nc, "y")
			marks.becomes(t, fd, id, 0, FoundBusy)
			if !r.inspect(s) || marks.Look(fd, id, 0) != FoundBusy {
				t.Error("Inspect settles an incomplete message")
			}
			s.partial.Store(false)
			if !r.inspect(s) || marks.Look(fd, id, 0) != FoundAtRest {
				t.Error("Inspect does not settle")
			}

			// Another version.
			if !s.Touch() || s.Touch() {
				t.Error("the first Touch is not told from the second")
			}
			if got := marks.Look(fd, id, 0); got != FoundBusy {
				t.Errorf("found %d after Touch: want %d", got, FoundBusy)
			}
			version, known, ok := s.Version()
			if version != 2 || !known || !ok || marks.Look(fd, id, version) != FoundAtRest {
				t.Errorf("version %d, %v, %v", version, known, ok)
			}
			if s.Touch() || s.Described(version) || !s.Described(version+1) || !s.Touch() {
				t.Error("a Touch that follows Described is not the first")
			}
			version, _, _ = s.Version()

			// Gathered and unsent bytes.
			s.Cork()
			s.Write(make([]byte, 32<<10), CloseOnFull) // is sent at once
			s.Write([]byte("small"), CloseOnFull)
			if got := marks.Look(fd, id, version); got != FoundUnsent {
				t.Errorf("found %d with gathered bytes: want %d", got, FoundUnsent)
			}
			s.Uncork()
			long := make([]byte, 16<<20)
			if o := s.Write(long, CloseOnFull); o != Queued {
				t.Fatalf("outcome %v: the message was not queued", o)
			}
			if got := marks.Look(fd, id, version); got != FoundUnsent {
				t.Errorf("found %d with a queue: want %d", got, FoundUnsent)
			}
			expectN(t, nc, 32<<10+5+len(long))
			marks.becomes(t, fd, id, version, FoundAtRest)

			// Nothing may follow a last message.
			s.Seal([]byte("end"), false, KeepOpen)
			expect(t, nc, "end")
			if got := marks.Look(fd, id, version); got != FoundUnsent {
				t.Errorf("found %d after Seal: want %d", got, FoundUnsent)
			}
			nc.Close()
			await(t, s.closed)
			if got := marks.Look(fd, id, version); got != FoundEnded {
				t.Errorf("found %d after the end: want %d", got, FoundEnded)
			}
			if _, _, ok := s.Version(); ok || s.Touch() {
				t.Error("a connection that has ended has a version")
			}
			if r.inspect(s) {
				t.Error("Inspect of a connection that has ended")
			}
		})
	}
}

// inspect calls Inspect until the turn is free.
func (r *rig) inspect(s *session) bool {
	for range 1000 {
		if s.Inspect(func() {}) {
			return true
		}
		time.Sleep(time.Millisecond)
		if s.ended.Load() {
			return false
		}
	}
	return false
}

func expectN(t *testing.T, nc interface{ Read([]byte) (int, error) }, n int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for n > 0 {
		m, err := nc.Read(buf[:min(n, len(buf))])
		if err != nil {
			t.Fatal(err)
		}
		n -= m
	}
}

// The descriptor of a connection that has ended is used by the next one.
func TestMarksOfTheNextConnection(t *testing.T) {
	r, marks := newMarkedRig(t, "tcp", nil)
	nc, s := r.connect()
	s.NoteKnown()
	fd, id := s.FD(), s.ID()
	marks.becomes(t, fd, id, 0, FoundAtRest)
	nc.Close()
	await(t, s.closed)
	for range 100 {
		nc, next := r.connect()
		if marks.Look(fd, id, 0) != FoundEnded {
			t.Fatal("a later connection is taken for an earlier one")
		}
		next.NoteKnown()
		version, _, _ := next.Version()
		marks.becomes(t, next.FD(), next.ID(), version, FoundAtRest)
		nc.Close()
		await(t, next.closed)
	}
}
