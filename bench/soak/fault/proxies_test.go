package fault

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestProxies checks that what is sent into a cut link arrives in order after it is
// healed, and that new connections hang meanwhile.
func TestProxies(t *testing.T) {
	n := newProxies(loopback())
	defer n.close()
	a, err := n.add("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.add("b")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", b.ip+":4222")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, err := n.via(a, b, 4222)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.via(a, b, 4222); again != addr || err != nil {
		t.Errorf("the same link is at %s and at %s, %v", addr, again, err)
	}
	dial := func(limit time.Duration) (here, there net.Conn) {
		here, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { here.Close() })
		l.(*net.TCPListener).SetDeadline(time.Now().Add(limit))
		if there, err = l.Accept(); err != nil {
			return here, nil
		}
		t.Cleanup(func() { there.Close() })
		return here, there
	}
	const soon, late = 100 * time.Millisecond, time.Minute
	here, there := dial(late)
	say := func(to net.Conn, text string) {
		if _, err := io.WriteString(to, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(from net.Conn, want string, limit time.Duration) error {
		from.SetReadDeadline(time.Now().Add(limit))
		buf := make([]byte, len(want))
		_, err := io.ReadFull(from, buf)
		if err == nil && string(buf) != want {
			t.Errorf("heard %q, want %q", buf, want)
		}
		return err
	}

	say(here, "one")
	if err := hear(there, "one", late); err != nil {
		t.Fatal(err)
	}
	n.cut(b, a, false)
	say(here, "two")
	say(there, "three")
	if hear(there, "two", soon) == nil || hear(here, "three", soon) == nil {
		t.Error("a cut link passes bytes")
	}
	if _, there := dial(soon); there != nil {
		t.Error("a cut link accepts connections")
	}
	n.heal(a, b)
	if err := hear(there, "two", late); err != nil {
		t.Error(err)
	}
	if err := hear(here, "three", late); err != nil {
		t.Error(err)
	}
	there.Close()
	if err := hear(here, "x", late); err != io.EOF {
		t.Errorf("the other end is closed: %v", err)
	}
}
