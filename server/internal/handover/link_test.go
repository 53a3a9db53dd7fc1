package handover

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"fanfare/server/internal/gate"
	"fanfare/server/node"
	"fanfare/server/store"
)

// linked returns two hosts whose links run.
func linked(t *testing.T) (x, y *fakeHost) {
	a, b := pair(t)
	x, y = newHost(t, a), newHost(t, b)
	x.background.Go(x.link.Run)
	y.background.Go(y.link.Run)
	return x, y
}

// TestCommands: commands are executed in their order, in both directions, and each is answered.
func TestCommands(t *testing.T) {
	x, y := linked(t)
	for _, ends := range [][2]*fakeHost{{x, y}, {y, x}} {
		var asked []Asked
		for i := range 50 {
			asked = append(asked, ends[0].link.Ask(&node.Command{Verb: node.VerbPush, User: fmt.Sprint(i)}))
		}
		for i, a := range asked {
			if r, ok := a.Wait(); !ok || r.Count != i+1 {
				t.Fatalf("reply %d is %+v, %t", i, r, ok)
			}
		}
		for i, c := range ends[1].commands() {
			if c.User != fmt.Sprint(i) {
				t.Fatalf("command %d is for user %s", i, c.User)
			}
		}
	}
	if _, ok := (Asked{}).Wait(); ok {
		t.Error("what was not asked has a reply")
	}
}

// TestStoreOfTheOtherProcess: results and errors of the store pass the link.
func TestStoreOfTheOtherProcess(t *testing.T) {
	x, _ := linked(t)
	box := store.Box{User: "alice"}
	for _, test := range []struct {
		payload string
		want    gate.Stored
		err     error
	}{
		{"four", gate.Stored{Moved: true, Receivers: 2, Epoch: "e", Receipt: store.Receipt{Offset: 4}}, nil},
		{"full", gate.Stored{Moved: true}, store.ErrFull},
		{"too big", gate.Stored{Moved: true}, errTooBig},
	} {
		st, err := x.link.Begin(box, store.Entry{Payload: []byte(test.payload)})()
		if st != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %+v, %v: want %+v, %v", test.payload, st, err, test.want, test.err)
		}
	}
	if n, err := x.link.Purge(box); n != 7 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
}

// TestOtherProcessEnds: what waits for an answer is told, and so is what is asked later.
func TestOtherProcessEnds(t *testing.T) {
	a, b := pair(t)
	x := newHost(t, a)
	x.background.Go(x.link.Run)
	asked := x.link.Ask(&node.Command{Verb: node.VerbBroadcast})
	finish := x.link.Begin(store.Box{Topic: "t"}, store.Entry{})
	b.Write(Failed, "out of luck")
	b.Close()
	for range 2 {
		if r, ok := asked.Wait(); ok {
			t.Errorf("reply %+v", r)
		}
		if _, err := finish(); !errors.Is(err, gate.ErrMoved) || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error %v: want ErrMoved", err)
		}
		if _, err := x.link.Purge(store.Box{Topic: "t"}); !errors.Is(err, gate.ErrMoved) {
			t.Errorf("error %v: want ErrMoved", err)
		}
		<-x.link.over
		asked = x.link.Ask(&node.Command{Verb: node.VerbBroadcast})
	}
	if err := x.link.ended(); err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("the link has ended with %v", err)
	}
}

// TestAnswerTimeout: a process that does not answer costs a push AnswerTimeout.
func TestAnswerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLink(nil, LinkConfig{})
		if _, ok := (Asked{l.over, make(chan answer)}).Wait(); ok {
			t.Error("an answer out of nothing")
		}
	})
}
