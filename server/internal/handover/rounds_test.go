package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRounds moves sessions in several rounds, with a session that the other process rejects and
// one that cannot be described.
func TestRounds(t *testing.T) {
	a, b := pair(t)
	from, to := newHost(t, a), newHost(t, b)
	from.add(70, true)
	from.add(3, false)
	all := slices.Clone(from.sessions)
	fixed, gone := all[4], all[6]
	fixed.fixed, gone.ended = true, true
	from.counters = Counters{Tick: 1, LastID: 2, LastPing: 3}
	to.reject = 6
	timing := patient
	timing.First, timing.Patience = 3, 0

	r, taken, giveErr, takeErr := hand(t, from, to, timing)
	if giveErr != nil || takeErr != nil {
		t.Fatal(giveErr, takeErr)
	}
	// 70 + 3, without the one that is fixed, the one that is rejected, and the one that has no descriptor.
	if want := 70; r.Sessions != want || taken != want || len(to.adopted) != want || r.Rounds < 3 {
		t.Errorf("%+v, %d taken, %d adopted: want %d in several rounds", r, taken, len(to.adopted), want)
	}
	if len(from.rounds[0]) != 3 || len(from.rounds[1]) > 64 {
		t.Errorf("the first rounds have %v, %v: want three sessions, and at most 64", from.rounds[0], from.rounds[1])
	}
	if to.counters != from.counters {
		t.Errorf("the taker continues %+v", to.counters)
	}
	if from.listening || !from.connected || !to.connected || from.locked != 0 {
		t.Errorf("listening %t, connected %t and %t, locked %d", from.listening, from.connected, to.connected, from.locked)
	}
	for s, want := range map[*fakeSession]string{
		all[0]:  "frozen exported abandoned",
		all[72]: "frozen exported abandoned",
		fixed:   "frozen thawed",
		all[5]:  "frozen exported taken back",
		gone:    "frozen exported taken back",
	} {
		if got := strings.Join(s.history, " "); got != want {
			t.Errorf("session %d: %s, want %s", s.id, got, want)
		}
	}
	slices.Sort(from.refused)
	if !slices.Equal(from.refused, []uint64{6, 7}) {
		t.Errorf("refused are %v", from.refused)
	}
}

// TestMessagesOfAHandover: what the giver sends, in its order. Descriptors that are a part of a round need no
// Sync.
func TestMessagesOfAHandover(t *testing.T) {
	a, b := pair(t)
	from := newHost(t, a)
	from.add(2, true)
	from.add(2, false)
	from.background.Go(from.link.Run)
	sent := make(chan []Kind, 1)
	go func() { sent <- answerAll(b) }()
	r, err := Give(context.Background(), from, from.link, patient)
	a.Close()
	want := []Kind{Begin, Descriptors, Sync, Descriptors, Sessions, Prepare, Commit, Done}
	if got := <-sent; err != nil || r.Sessions != 4 || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; the giver sends %v, want %v", r, err, got, want)
	}
}

// answerAll answers like a taker, and returns the kinds of the messages that it was sent.
func answerAll(w *Conn) (kinds []Kind) {
	for {
		m, err := w.Read()
		if err != nil {
			return kinds
		}
		m.CloseFDs()
		kinds = append(kinds, m.Kind)
		answerTo(w, m.Kind)
	}
}

func answerTo(w *Conn, k Kind) {
	switch k {
	case Begin:
		w.Write(Ready, &beginning{Version: Version})
	case Sync:
		w.Write(Synced, nil)
	case Prepare:
		w.Write(Prepared, &prepared{})
	case Done:
		w.Write(Finished, nil)
	}
}

// TestBusy: Give looks again for connections that were busy, and gives up after its patience.
func TestBusy(t *testing.T) {
	a, b := pair(t)
	from, to := newHost(t, a), newHost(t, b)
	from.busy = 3
	if r, _, giveErr, takeErr := hand(t, from, to, patient); giveErr != nil || takeErr != nil || r.Rounds != 0 || from.busy >= 0 {
		t.Fatal(r, giveErr, takeErr, from.busy)
	}
}

// scriptedTaker answers like a taker until a message of some kind, and then leaves or hangs.
func scriptedTaker(w *Conn, until Kind, nth int, hang func()) {
	defer w.Close()
	defer w.Drop()
	for {
		m, err := w.Read()
		if err != nil {
			return
		}
		m.CloseFDs()
		if m.Kind == until {
			if nth--; nth == 0 {
				hang()
				return
			}
		}
		answerTo(w, m.Kind)
	}
}

// TestTakerFails: whatever the step in which the taker fails, the giver serves what was not
// confirmed, exactly once.
func TestTakerFails(t *testing.T) {
	for _, test := range []struct {
		until Kind
		nth   int
		hang  bool
		moved int
	}{
		{Begin, 1, false, 0}, {Begin, 1, true, 0},
		{Descriptors, 1, false, 0},
		{Sync, 1, false, 0}, {Sync, 1, true, 0},
		{Sessions, 1, false, 0},
		{Prepare, 1, false, 0}, {Prepare, 1, true, 0},
		{Prepare, 2, false, 3}, {Prepare, 2, true, 3},
		{Done, 1, false, 5}, {Done, 1, true, 5},
	} {
		t.Run(fmt.Sprint(test.until, test.nth, test.hang), func(t *testing.T) {
			a, b := pair(t)
			from := newHost(t, a)
			from.add(5, true)
			all := slices.Clone(from.sessions)
			timing := patient
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			over, ended := make(chan struct{}), make(chan struct{})
			hang := func() {}
			switch {
			case test.hang && test.moved == 0: // a timeout that strikes too early changes nothing
				timing = quick
				hang = func() { <-over }
			case test.hang:
				hang = func() { cancel(); <-over }
			}
			timing.First = 3
			go func() {
				defer close(ended)
				scriptedTaker(b, test.until, test.nth, hang)
			}()
			from.background.Go(from.link.Run)
			_, err := Give(ctx, from, from.link, timing)
			close(over)
			<-ended
			if !errors.Is(err, ErrFailed) {
				t.Fatalf("error %v: want ErrFailed", err)
			}
			if !from.listening || from.locked != 0 {
				t.Errorf("listening %t, locked %d", from.listening, from.locked)
			}
			for i, s := range all {
				history := strings.Join(s.history, " ")
				served := history == "" || strings.HasSuffix(history, "taken back")
				if want := i >= test.moved; served != want {
					t.Errorf("session %d is served: %t, want %t; %s", s.id, served, want, history)
				}
			}
		})
	}
}

// TestGiverFails: whatever the step in which the giver fails, the taker serves what was
// committed and nothing else.
func TestGiverFails(t *testing.T) {
	state := func(id uint64) []*State {
		s := &fakeSession{host: &fakeHost{t: t, locked: 1}, id: id, opened: true}
		st, _ := s.Export()
		return []*State{st}
	}
	steps := []func(w *Conn, fd int){
		func(w *Conn, fd int) { w.Write(Begin, &beginning{Version: Version}); w.Read() },
		func(w *Conn, fd int) { w.Write(Descriptors, &descriptors{[]uint64{1, 2}}, fd, fd) },
		func(w *Conn, fd int) { w.Write(Sync, nil); w.Read() },
		func(w *Conn, fd int) { w.Write(Sessions, state(1)) },
		func(w *Conn, fd int) { w.Write(Prepare, nil); w.Read() },
		func(w *Conn, fd int) { w.Write(Commit, &committed{}) },
		func(w *Conn, fd int) { w.Write(Sessions, state(2)) },
		func(w *Conn, fd int) { w.Write(Prepare, nil); w.Read() },
	}
	for n := range len(steps) + 1 {
		a, b := pair(t)
		to := newHost(t, b)
		from := newHost(t, a)
		from.add(1, true)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for _, step := range steps[:n] {
				step(a, int(from.sessions[0].file.Fd()))
			}
			a.Close()
		}()
		taken, err := Take(context.Background(), to, to.link, to.Connect)
		<-ended
		want := 0
		if n >= 6 {
			want = 1
		}
		if err == nil || taken != want || len(to.adopted) != want || to.connected {
			t.Errorf("after %d steps: %d taken, %d adopted, %v: want %d and an error", n, taken, len(to.adopted), err, want)
		}
		if left := len(to.prepared) - len(to.adopted); left != len(to.discarded) {
			t.Errorf("after %d steps: %d sessions are prepared, and %d discarded", n, left, len(to.discarded))
		}
	}
}

// TestMalformedHandover: what a giver must not send ends the stream with a reason.
func TestMalformedHandover(t *testing.T) {
	for name, test := range map[string]struct {
		send func(w *Conn)
		want string
	}{
		"version":     {func(w *Conn) { w.Write(Begin, &beginning{Version: Version + 1}) }, "version"},
		"null":        {func(w *Conn) { w.Write(Sessions, []*State{nil}) }, "without a state"},
		"phase":       {func(w *Conn) { w.Write(Sessions, []map[string]any{{"phase": "on fire"}}) }, `unknown phase "on fire"`},
		"descriptors": {func(w *Conn) { w.Write(Descriptors, &descriptors{[]uint64{1}}) }, "0 descriptors for 1 connections"},
		"kind":        {func(w *Conn) { w.Write(Ready, nil) }, "unexpected ready"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			to := newHost(t, b)
			go test.send(a)
			if _, err := Take(context.Background(), to, to.link, to.Connect); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v: want one about %s", err, test.want)
			}
			if m, err := a.Read(); err != nil || m.Kind != Failed || !strings.Contains(string(m.Payload), strings.Split(test.want, `"`)[0]) {
				t.Errorf("the giver is told %v %q %v", m.Kind, m.Payload, err)
			}
		})
	}
}

// TestCanceled: a context ends both sides.
func TestCanceled(t *testing.T) {
	a, b := pair(t)
	from, to := newHost(t, a), newHost(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	from.background.Go(from.link.Run)
	if _, err := Give(ctx, from, from.link, patient); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrFailed) || !from.listening {
		t.Errorf("Give: %v", err)
	}
	if _, err := Take(ctx, to, to.link, to.Connect); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrFailed) {
		t.Errorf("Take: %v", err)
	}
}
