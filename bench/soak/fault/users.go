package fault

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// addUser adds a user with one or two devices, in all combinations of kinds.
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
		absent := w.absent(i)
		c := &client{
			device: w.history.device(user, name, v1),
			v1:     v1,
			steady: w.steady && i == 0,
			ack:    func(uint64) bool { return rnd.IntN(10) < 7 },
		}
		w.devices.Go(func() {
			if absent {
				select {
				case <-w.quiet:
				case <-w.end.Done():
				}
			}
			w.live(c, rnd)
		})
	}
}

// live runs a device: it connects to one node after another, for a short or a long
// time. After the faults it stays connected.
func (w *world) live(c *client, rnd random) {
	for w.end.Err() == nil {
		ctx := w.connected() // ends when all devices reconnect
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

// absent reports whether all devices of a user are away until the end of the faults. A third of the users of a trial is.
func (w *world) absent(i int) bool { return w.away && i%3 == 2 }

// absentUser is one of them.
const absentUser = "user5"

// visit is one connection during the faults.
func (w *world) visit(ctx context.Context, c *client, conn *websocket.Conn, rnd random) {
	choice := rnd.IntN(10)
	if c.steady {
		choice = 0
	}
	switch choice {
	case 0, 1: // stays connected
		c.read(ctx, conn)
		return
	case 2:
		// The client sleeps and neither reads nor answers. When it wakes, its
		// clock has jumped. Some clients then close the connection, others
		// go on with it.
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
		// It leaves without a close frame.
		ctx, cancel := context.WithTimeout(ctx, stay)
		defer cancel()
		c.read(ctx, conn)
		return
	}
	leave := time.AfterFunc(stay, func() { conn.Close(websocket.StatusGoingAway, "") })
	defer leave.Stop()
	c.read(ctx, conn)
}

// produce pushes to a user during the faults: one message after another, each once
// the previous one was accepted, through random nodes.
func (w *world) produce(user string, rnd random) {
	for n := 1; !w.calm() && w.deliver(user, n, rnd); n++ {
		w.pause(w.end, rnd.upTo(2*w.pace))
	}
}

// deliver repeats a push until it is accepted, or rejected as too large.
func (w *world) deliver(user string, number int, rnd random) bool {
	padding := 0
	if w.padding > 0 && rnd.IntN(10) == 0 {
		padding = rnd.IntN(w.padding)
	}
	w.history.tryPadded(user, number, padding)
	message, id := padded(user, number, padding), text(user, number)
	for w.end.Err() == nil {
		// Most pushes time out early, and their result is unknown.
		patience := 300*time.Millisecond + rnd.upTo(time.Second)
		if rnd.IntN(4) == 0 {
			patience = 7 * time.Second
		}
		ctx, cancel := context.WithTimeout(w.end, patience)
		s, err := w.nodes[rnd.IntN(len(w.nodes))].push(ctx, user, id, message)
		cancel()
		if err == nil {
			w.history.accept(user, number, s)
			return true
		}
		if padding > 0 && status(err) == http.StatusRequestEntityTooLarge {
			return true // it is not stored, and the next one follows
		}
		w.retries.Add(1)
		w.pause(w.end, 20*time.Millisecond+rnd.upTo(200*time.Millisecond))
	}
	return false
}
