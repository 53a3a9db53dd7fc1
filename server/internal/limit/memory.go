package limit

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// Memory decides about memory while the process nears its limit (GOMEMLIMIT): it
// decides when new connections must be rejected, and bounds what requests and messages
// that have not ended may hold. The sessions that are open need the rest, and a
// process that is killed loses them all. Without a limit everything is permitted.
type Memory struct {
	short atomic.Bool
	held  atomic.Int64
	most  atomic.Int64 // that held may be; 0: no limit is known
}

// shortAbove is the part of the limit that belongs to connections. The rest is for
// queues, for messages under way, for what arrives between two observations, and for
// the collector, which would otherwise run all the time.
const shortAbove = 0.8

// heldAbove is the part of the limit that unfinished requests and messages may hold
// in sum. Peers that leave theirs unfinished could take everything else, faster than
// Observe is called.
const heldAbove = 0.25

// Allowance is what one connection may hold in any case.
type Allowance struct {
	full  int // while the sum is exhausted
	short int // while memory is short
}

// ForMessage returns the allowance of a session. While the sum is exhausted, the session may
// still finish a message of typical size. While memory is short it may not, because a lot can
// arrive between two observations.
func ForMessage() Allowance { return Allowance{full: 4 << 10, short: 1 << 10} }

// ForRequest returns the allowance of a client that has not finished its request, and is
// unknown: the bytes of one segment, in either case.
func ForRequest() Allowance { return Allowance{full: 1 << 10, short: 1 << 10} }

// Hold moves the account of one connection from before to after bytes, and reports
// whether the connection may keep them. If not, the caller gives them up, and says so
// with another Hold.
func (m *Memory) Hold(before, after int, a Allowance) bool {
	all := m.held.Add(int64(after) - int64(before))
	most := m.most.Load()
	return !(after > a.full && most > 0 && all > most || after > a.short && m.short.Load())
}

// Held returns the sum of all accounts.
func (m *Memory) Held() int64 { return m.held.Load() }

// Short reports whether new connections must be rejected.
func (m *Memory) Short() bool { return m.short.Load() }

// Observe takes the memory in use and its limit, in bytes, math.MaxInt64 for none, and
// reports whether memory is short.
func (m *Memory) Observe(used, limit int64) (short bool) {
	if limit == math.MaxInt64 {
		m.short.Store(false)
		m.most.Store(0)
		return false
	}
	short = float64(used) > shortAbove*float64(limit)
	m.short.Store(short)
	m.most.Store(max(int64(heldAbove*float64(limit)), 1))
	return short
}

// Usage reads the memory in use and its limit from the runtime. The zero value is
// ready; it belongs to one goroutine.
type Usage struct {
	samples [len(usageSamples)]metrics.Sample
}

// The limit is about total less released. Free memory is at hand as well.
var usageSamples = [...]string{"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}

// Read returns the bytes in use and the limit, math.MaxInt64 if there is none.
func (u *Usage) Read() (used, limit int64) {
	limit = debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0, limit
	}
	for i, name := range usageSamples {
		u.samples[i].Name = name
	}
	metrics.Read(u.samples[:])
	return int64(u.samples[0].Value.Uint64() - u.samples[1].Value.Uint64() - u.samples[2].Value.Uint64()), limit
}
