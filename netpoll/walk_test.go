package netpoll

import (
	"math/rand/v2"
	"testing"
)

// walkHandler is a Handler that is never called.
type walkHandler struct {
	Handler
	n int
}

// walkAll walks in steps of at most step connections, and returns what was visited.
func walkAll(t *testing.T, e *Engine, step int, between func()) (visited map[int]int) {
	t.Helper()
	visited = make(map[int]int)
	var at Cursor
	for more, calls := true, 0; more; calls++ {
		if calls > 10_000 {
			t.Fatal("the walk does not end")
		}
		left := step
		at, more = e.Walk(at, func(h Handler) bool {
			visited[h.(*walkHandler).n]++
			left--
			return left > 0
		})
		between()
	}
	return visited
}

func TestWalk(t *testing.T) {
	const descriptors, others = 3000, 500
	for _, step := range []int{1, 7, 5000} {
		e := new(Engine)
		e.streams.init()
		conns := make([]*Conn, descriptors+others)
		for i := range conns {
			conns[i] = &Conn{handler: &walkHandler{n: i}, gen: uint32(i + 1)}
		}
		for _, i := range rand.Perm(descriptors) {
			e.table.put(int32(i*3), conns[i]) // with gaps, and a page without any
		}
		for _, i := range rand.Perm(others) {
			e.streams.put(conns[descriptors+i])
		}
		visited := walkAll(t, e, step, func() {})
		for i := range conns {
			if visited[i] != 1 {
				t.Fatalf("step %d: connection %d was visited %d times", step, i, visited[i])
			}
		}
		// Half of the connections end during the walk: the others are visited once.
		gone := 0
		visited = walkAll(t, e, step, func() {
			for range 5 {
				if i := 2 * gone; i < len(conns) {
					if i < descriptors {
						e.table.drop(int32(i*3), conns[i])
					} else {
						e.streams.drop(conns[i])
					}
					gone++
				}
			}
		})
		for i := range conns {
			if n := visited[i]; i%2 == 1 && n != 1 || n > 1 {
				t.Fatalf("step %d: connection %d was visited %d times", step, i, n)
			}
		}
	}
}

func TestWalkWithoutConnections(t *testing.T) {
	e := new(Engine)
	e.streams.init()
	if visited := walkAll(t, e, 1, func() {}); len(visited) != 0 {
		t.Errorf("visited %v", visited)
	}
}

func TestWalkAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	e := new(Engine)
	e.streams.init()
	for i := range 200 {
		e.table.put(int32(i), &Conn{handler: &walkHandler{}, gen: uint32(i + 1)})
		e.streams.put(&Conn{handler: &walkHandler{}, gen: uint32(i + 1000)})
	}
	n := testing.AllocsPerRun(10, func() {
		var at Cursor
		for more := true; more; {
			at, more = e.Walk(at, func(Handler) bool { return true })
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
