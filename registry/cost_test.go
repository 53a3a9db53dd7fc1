package registry

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"
)

// TestSizes pins the sizes of what exists for each session: a byte more is a megabyte for a million.
func TestSizes(t *testing.T) {
	wide := 1 // column of want: pointers of 64 bits
	if unsafe.Sizeof(uintptr(0)) == 4 {
		wide = 0
	}
	for _, test := range []struct {
		name string
		got  uintptr
		want [2]uintptr // with pointers of 32 and 64 bits
		why  string     // for 64 bits
	}{
		{"Entry", unsafe.Sizeof(Entry[*session]{}), [2]uintptr{16, 32}, "16 user, 8 next session of the user, 8 list of memberships"},
		{"Timer", unsafe.Sizeof(Timer[*session]{}), [2]uintptr{16, 24}, "8 next, 8 link, 8 tick"},
		{"membership", unsafe.Sizeof(membership[*session]{}), [2]uintptr{12, 24}, "8 topic, 8 next, 4 index, 4 unused"},
		{"member", unsafe.Sizeof(member[*session]{}), [2]uintptr{8, 16}, "8 session, 8 membership"},
		{"topic", unsafe.Sizeof(topic[*session]{}), [2]uintptr{32, 56}, "16 name, 8 hash, 24 members, 4 refs, 4 unused"},
		{"userShard", unsafe.Sizeof(userShard[*session]{}), [2]uintptr{64, 64}, "one cache line: 8 lock, 32 table, 4 sessions"},
		{"topicShard", unsafe.Sizeof(topicShard[*session]{}), [2]uintptr{64, 64}, "one cache line: 8 lock, 32 table"},
		{"group of the table", unsafe.Sizeof(group[*session]{}), [2]uintptr{64, 96}, "8 times: 4 mark, 8 session"},
		{"slot", unsafe.Sizeof(slot[*session]{}), [2]uintptr{20, 32}, "8 lock, 16 lists, 8 armed"},
	} {
		if want := test.want[wide]; test.got != want {
			t.Errorf("%s is %d bytes, want %d: %s", test.name, test.got, want, test.why)
		}
	}
}

func TestAllocs(t *testing.T) {
	r := newRegistry(Limits{})
	w := newWheel(tick, 16)
	for i := range 1000 {
		s := join(t, r, fmt.Sprint("user", i))
		if _, err := r.Subscribe(s, "x"); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]*session, 0, 1000)
	names := make([]string, 0, 10)
	s := r.AppendUser(buf, "user0")[0]
	now := time.Duration(0)
	fire := func(s *session) { w.Schedule(s, now+tick) }
	for _, test := range []struct {
		name string
		want float64
		do   func()
	}{
		{"AppendUser", 0, func() { buf = r.AppendUser(buf[:0], "user500") }},
		{"AppendUser, unknown user", 0, func() { buf = r.AppendUser(buf[:0], "unknown") }},
		{"AppendTopic", 0, func() { buf = r.AppendTopic(buf[:0], "x") }},
		{"AppendTopics", 0, func() { names = r.AppendTopics(names[:0], s) }},
		{"CheckName", 0, func() { _ = CheckName("alice") }},
		{"Subscribe, already subscribed", 0, func() { _, _ = r.Subscribe(s, "x") }},
		{"Subscribe and Unsubscribe: the membership", 1, func() {
			_, _ = r.Subscribe(s, "x")
			r.Unsubscribe(s, "x")
			_, _ = r.Subscribe(s, "x")
		}},
		{"Join and Leave: the session and its name", 2, func() {
			s := &session{}
			_ = r.Join("one more", s)
			r.Leave(s)
		}},
		{"Schedule and Stop", 0, func() {
			w.Schedule(s, now+time.Second)
			w.Schedule(s, now+2*time.Second)
			w.Stop(s)
		}},
		{"Advance and fire", 0, func() {
			w.Schedule(s, now)
			now += tick
			w.Advance(now, fire)
		}},
	} {
		if got := testing.AllocsPerRun(100, test.do); got != test.want {
			t.Errorf("%s: %v allocations, want %v", test.name, got, test.want)
		}
	}
}

// heap returns the size of the live heap.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestBytesPerUser measures the memory of a user in addition to the name and the Entry.
func TestBytesPerUser(t *testing.T) {
	withoutRace(t)
	for _, test := range []struct {
		users int
		limit float64
	}{{15_000, 20}, {1_000_000, 20}} {
		t.Run(fmt.Sprint(test.users), func(t *testing.T) {
			if testing.Short() && test.users > 100_000 {
				t.Skip("a million users in short mode")
			}
			sessions := make([]session, test.users)
			before := heap()
			r := newRegistry(Limits{})
			name := []byte("user-01234567890") // 16 bytes, a size class of the allocator, so nothing is rounded up
			for i := range sessions {
				strconv.AppendInt(name[:5], 10_000_000_000+int64(i), 10)
				if err := r.Join(unsafe.String(&name[0], len(name)), &sessions[i]); err != nil {
					t.Fatal(err)
				}
			}
			per := func() float64 { return float64(heap()-before)/float64(r.Users()) - float64(len(name)) }
			if got := per(); got > test.limit {
				t.Errorf("%.1f bytes per user, want at most %v", got, test.limit)
			} else {
				t.Logf("%.1f bytes per user", got)
			}
			runtime.KeepAlive(sessions)
		})
	}
}

// TestBytesPerMembership measures the memory of a subscription.
func TestBytesPerMembership(t *testing.T) {
	withoutRace(t)
	const users, topics = 10_000, 10
	r := newRegistry(Limits{})
	all := make([]*session, users)
	for i := range all {
		all[i] = join(t, r, fmt.Sprint(i))
	}
	before := heap()
	for i := range topics {
		name := fmt.Sprint("topic", i)
		for _, s := range all {
			if _, err := r.Subscribe(s, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := float64(heap()-before) / (users * topics); got > 24+16*1.25+1 {
		t.Errorf("%.1f bytes per membership, want at most 45: a membership of 24, a member of 16 with a quarter to grow, and 1", got)
	} else {
		t.Logf("%.1f bytes per membership", got)
	}
	runtime.KeepAlive(all)
}
