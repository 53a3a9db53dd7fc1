package netpoll

import (
	"sync"
	"testing"
)

func TestTable(t *testing.T) {
	var tab table
	fds := []int32{0, 7, pageSize - 1, pageSize, 5*pageSize + 3}
	conns := map[int32]*Conn{}
	for _, fd := range append(fds, -1, 1<<30) {
		if tab.get(fd) != nil {
			t.Errorf("an empty table has %d", fd)
		}
	}
	for _, fd := range fds {
		conns[fd] = new(Conn)
		tab.put(fd, conns[fd])
	}
	for _, fd := range fds {
		if tab.get(fd) != conns[fd] {
			t.Errorf("%d is another connection", fd)
		}
	}
	for _, fd := range []int32{-1, 1, 3 * pageSize, 6 * pageSize, 1<<31 - 1} {
		if tab.get(fd) != nil {
			t.Errorf("%d is in the table", fd)
		}
	}
	var all int
	tab.each(func(c *Conn) { all++ })
	if all != len(fds) || tab.count.Load() != int64(len(fds)) {
		t.Errorf("each saw %d, count is %d, want %d", all, tab.count.Load(), len(fds))
	}
	for _, fd := range fds {
		tab.drop(fd, conns[fd])
	}
	if tab.count.Load() != 0 || tab.get(7) != nil {
		t.Error("something is left")
	}
}

func TestTablePanics(t *testing.T) {
	panics := func(what string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("no panic: %s", what)
			}
		}()
		f()
	}
	var tab table
	a, b := new(Conn), new(Conn)
	tab.put(3, a)
	panics("a second connection of one descriptor", func() { tab.put(3, b) })
	panics("drop of a descriptor that is not in the table", func() { tab.drop(3, a) })
}

func TestTableGrowsUnderReaders(t *testing.T) {
	var tab table
	var wg sync.WaitGroup
	for g := range int32(4) {
		wg.Go(func() {
			for i := range int32(2000) {
				fd := i*40 + g
				c := new(Conn)
				tab.put(fd, c)
				if tab.get(fd) != c {
					t.Errorf("%d is not there", fd)
				}
				tab.drop(fd, c)
			}
		})
	}
	wg.Wait()
	if n := tab.count.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
}
