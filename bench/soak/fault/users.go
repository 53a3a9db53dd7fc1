package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/coder/websocket"
)

// addUser adds a user with one or two devices, of all combinations of kinds.
func (w *world) addUser(i int) {
	user := fmt.Sprintf("user%d", i)
	kinds := [][]bool{{false}, {true}, {false, true}, {true, true}, {false}}[i%5]
	w.users = append(w.users, user)
	for k, v1 := range kinds {
		name := fmt.Sprintf("%s/%d", user, k+1)
		if v1 {
			name += " (v1)"
		}
		rnd := w.random()
		c := &client{
			device: w.history.device(user, name, v1),
			v1:     v1,
			ack:    func(uint64) bool { return rnd.IntN(10) < 7 },
		}
		w.devices.Go(func() { w.live(c, rnd) })
	}
}

// live is the life of a device: it connects to one node after another, and stays
// for a moment or for good. When calm has come it stays wherever it is.
func (w *world) live(c *client, rnd random) {
	for w.end.Err() == nil {
		ctx := w.connected() // ends when everybody is to connect again
		n := w.nodes[rnd.IntN(len(w.nodes))]
		conn, err := c.connect(ctx, n)
		if err != nil {
			w.pause(w.end, 50*time.Millisecond+rnd.upTo(300*time.Millisecond))
			continue
		}
		w.connects.Add(1)
		if !w.calm() {
			w.visit(ctx, c, conn, rnd)
		} else {
			c.read(ctx, conn)
		}
		conn.CloseNow()
		if !w.calm() && rnd.IntN(3) == 0 {
			w.pause(w.end, rnd.upTo(2*time.Second)) // away
		}
	}
}

// visit is one connection before calm.
func (w *world) visit(ctx context.Context, c *client, conn *websocket.Conn, rnd random) {
	switch rnd.IntN(10) {
	case 0, 1: // stays as long as it can
		c.read(ctx, conn)
		return
	case 2:
		// The machine sleeps: nothing is read or answered. When it wakes its
		// clock has jumped, and a client that goes by the clock gives up a
		// connection that another finds to be alive, or not.
		w.jumps.Add(1)
		w.pause(ctx, 500*time.Millisecond+rnd.upTo(5*time.Second))
		if rnd.IntN(2) == 0 {
			return
		}
	}
	stay := 100*time.Millisecond + rnd.upTo(1500*time.Millisecond)
	if rnd.IntN(3) == 0 {
		stay += rnd.upTo(4 * time.Second)
	}
	if rnd.IntN(2) == 0 {
		// It is gone without a word.
		ctx, cancel := context.WithTimeout(ctx, stay)
		defer cancel()
		c.read(ctx, conn)
		return
	}
	leave := time.AfterFunc(stay, func() { conn.Close(websocket.StatusGoingAway, "") })
	defer leave.Stop()
	c.read(ctx, conn)
}

// produce pushes to a user until calm: one message after another, the next one
// when the one before was accepted, each through another node.
func (w *world) produce(user string, rnd random) {
	for n := 1; !w.calm() && w.deliver(user, n, rnd); n++ {
		w.pause(w.end, rnd.upTo(2*w.pace))
	}
}

// deliver pushes one message until it is accepted.
func (w *world) deliver(user string, number int, rnd random) bool {
	w.history.try(user, number)
	message := text(user, number)
	for w.end.Err() == nil {
		// Most give up early, and do not know what became of it.
		patience := 300*time.Millisecond + rnd.upTo(time.Second)
		if rnd.IntN(4) == 0 {
			patience = 7 * time.Second
		}
		ctx, cancel := context.WithTimeout(w.end, patience)
		s, err := w.nodes[rnd.IntN(len(w.nodes))].push(ctx, user, message, message)
		cancel()
		if err == nil {
			w.history.accept(user, number, s.Offset)
			return true
		}
		w.retries.Add(1)
		w.pause(w.end, 20*time.Millisecond+rnd.upTo(200*time.Millisecond))
	}
	return false
}
