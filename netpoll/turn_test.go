package netpoll

import (
	"sync"
	"sync/atomic"
	"testing"
)

// The whole state machine: each move in each state.
func TestTurnSteps(t *testing.T) {
	const (
		r    = uint32(Readable) << turnShift
		w    = uint32(Writable) << turnShift
		none = ^uint32(0) // the move panics
	)
	states := map[uint32]string{turnIdle: "idle", turnQueued: "queued", turnRunning: "running", turnAgain: "again", turnClosed: "closed"}
	moves := map[move]string{moveReady: "ready", moveTake: "take", moveGive: "give", moveYield: "yield", moveEnd: "end"}
	type result struct {
		next uint32
		ok   bool
	}
	// From each state with Readable pending, moved with Writable.
	want := map[uint32]map[move]result{
		turnIdle: {
			moveReady: {turnQueued | r | w, true},
			moveTake:  {none, false}, moveGive: {none, false}, moveYield: {none, false}, moveEnd: {none, false},
		},
		turnQueued: {
			moveReady: {turnQueued | r | w, false},
			moveTake:  {turnRunning, true},
			moveGive:  {none, false}, moveYield: {none, false}, moveEnd: {none, false},
		},
		turnRunning: {
			moveReady: {turnAgain | r | w, false},
			moveTake:  {none, false},
			moveGive:  {turnIdle | r, false},
			moveYield: {turnQueued | r | w, true},
			moveEnd:   {turnClosed, true},
		},
		turnAgain: {
			moveReady: {turnAgain | r | w, false},
			moveTake:  {none, false},
			moveGive:  {turnRunning, true},
			moveYield: {turnQueued | r | w, true},
			moveEnd:   {turnClosed, true},
		},
		turnClosed: {
			moveReady: {turnClosed, false}, moveTake: {turnClosed, false}, moveGive: {turnClosed, false},
			moveYield: {turnClosed, false}, moveEnd: {turnClosed, false},
		},
	}
	for state, stateName := range states {
		for m, moveName := range moves {
			t.Run(stateName+"/"+moveName, func(t *testing.T) {
				want := want[state][m]
				defer func() {
					if v := recover(); (v != nil) != (want.next == none) {
						t.Errorf("panic %v", v)
					}
				}()
				next, ok := step(state|r, m, Writable)
				if next != want.next || ok != want.ok {
					t.Errorf("to %s with bits %b, %v; want %s with bits %b, %v", states[next&turnMask], next>>turnShift, ok,
						states[want.next&turnMask], want.next>>turnShift, want.ok)
				}
			})
		}
	}
}

func TestTurnReturnsReadiness(t *testing.T) {
	var turn turn
	check := func(m move, bits, want Readiness, wantOK bool) {
		t.Helper()
		if ready, ok := turn.move(m, bits); ok != wantOK || ok && m != moveReady && ready != want {
			t.Fatalf("move %d: %b, %v; want %b, %v", m, ready, ok, want, wantOK)
		}
	}
	check(moveReady, Readable, 0, true)
	check(moveReady, Hangup, 0, false)
	check(moveTake, 0, Readable|Hangup, true)
	check(moveReady, Writable, 0, false)
	check(moveGive, 0, Writable, true)
	check(moveGive, 0, 0, false)
	check(moveReady, 0, 0, true)
	check(moveTake, 0, 0, true)
}

// One goroutine at a time holds the turn, whatever events arrive, and a turn follows the
// last event.
func TestTurnIsExclusive(t *testing.T) {
	var (
		turn    turn
		queue   = make(chan struct{}, 1) // queued at most once, or this blocks
		inside  atomic.Int32
		sent    atomic.Int32
		seen    int32
		senders sync.WaitGroup
		workers sync.WaitGroup
	)
	for range 4 {
		senders.Go(func() {
			for range 5000 {
				sent.Add(1)
				if _, ok := turn.move(moveReady, Readable); ok {
					select {
					case queue <- struct{}{}:
					default:
						t.Error("queued twice")
					}
				}
			}
		})
	}
	for range 3 {
		workers.Go(func() {
			for range queue {
				_, ok := turn.move(moveTake, 0)
				for ok {
					if inside.Add(1) != 1 {
						t.Error("two goroutines hold the turn")
					}
					seen = sent.Load()
					inside.Add(-1)
					_, ok = turn.move(moveGive, 0)
				}
			}
		})
	}
	senders.Wait()
	eventually(t, "the turn is given back", func() bool { return turn.word.Load() == turnIdle })
	close(queue)
	workers.Wait()
	if seen != 4*5000 {
		t.Errorf("the last turn saw %d events of %d", seen, 4*5000)
	}
}

func TestHold(t *testing.T) {
	var turn turn
	turn.hold()
	if _, ok := turn.move(moveReady, Readable); ok {
		t.Error("a held turn was queued")
	}
	if ready, ok := turn.move(moveGive, 0); !ok || ready != Readable {
		t.Errorf("give: %v, %v", ready, ok)
	}
}
