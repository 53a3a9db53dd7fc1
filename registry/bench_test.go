package registry

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

const million = 1_000_000

// millionUsers returns a registry with a million users, and their names in an order that does not follow
// the order of the sessions in memory.
func millionUsers(b *testing.B) (*Registry[*session], []string) {
	r := newRegistry(Limits{})
	names := make([]string, million)
	sessions := make([]session, million)
	for i := range sessions {
		names[i] = fmt.Sprintf("user-%011d", i*7919%million)
		if err := r.Join(names[i], &sessions[i*104729%million]); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	return r, names
}

func BenchmarkAppendUser(b *testing.B) {
	r, names := millionUsers(b)
	b.ReportAllocs()
	buf := make([]*session, 0, 16)
	for i := range b.N {
		buf = r.AppendUser(buf[:0], names[i*15485863%million])
	}
	if len(buf) != 1 {
		b.Fatal("user not found")
	}
}

func BenchmarkAppendUserParallel(b *testing.B) {
	r, names := millionUsers(b)
	b.ReportAllocs()
	var seed atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]*session, 0, 16)
		for i := int(seed.Add(1)) * 1000; pb.Next(); i++ {
			buf = r.AppendUser(buf[:0], names[i*15485863%million])
		}
	})
}

// BenchmarkMapLookup does the same with a map, to compare memory and time.
func BenchmarkMapLookup(b *testing.B) {
	names := make([]string, million)
	sessions := make([]session, million)
	before := heap()
	m := map[string]*session{}
	for i := range sessions {
		m[fmt.Sprintf("user-%011d", i*7919%million)] = &sessions[i*104729%million]
	}
	perUser := float64(heap()-before)/million - 16
	for i := range names { // other strings than the map has, which would be equal by their address
		names[i] = fmt.Sprintf("user-%011d", i*7919%million)
	}
	b.ResetTimer()
	found := 0
	for i := range b.N {
		if m[names[i*15485863%million]] != nil {
			found++
		}
	}
	b.ReportMetric(perUser, "B/user")
	runtime.KeepAlive(sessions)
}

// One operation is a Join and a Leave in a registry of a million users.
func BenchmarkChurn(b *testing.B) {
	for _, cores := range []int{1, runtime.GOMAXPROCS(0)} {
		b.Run(fmt.Sprint("cores=", cores), func(b *testing.B) {
			r, _ := millionUsers(b)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			var id atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				me := id.Add(1)
				var names [256]string
				for i := range names {
					names[i] = fmt.Sprint("churn", me, "-", i)
				}
				sessions := make([]session, len(names))
				for i := 0; pb.Next(); i++ {
					s := &sessions[i%len(names)]
					*s = session{}
					if err := r.Join(names[i%len(names)], s); err != nil {
						b.Error(err)
						return
					}
					r.Leave(s)
				}
			})
		})
	}
}

// One operation is one Join while a registry grows to a million users.
func BenchmarkFill(b *testing.B) {
	names := make([]string, million)
	for i := range names {
		names[i] = fmt.Sprintf("user-%011d", i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += million {
		b.StopTimer()
		r := newRegistry(Limits{})
		sessions := make([]session, min(million, b.N-done))
		b.StartTimer()
		for i := range sessions {
			if err := r.Join(names[i], &sessions[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// One operation is one subscriber of a topic with 100,000.
func BenchmarkAppendTopic(b *testing.B) {
	const subscribers = 100_000
	r := newRegistry(Limits{})
	for i := range subscribers {
		s := join(b, r, fmt.Sprint(i))
		if _, err := r.Subscribe(s, "x"); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]*session, 0, subscribers)
	b.ResetTimer()
	for n := 0; n < b.N; n += subscribers {
		buf = r.AppendTopic(buf[:0], "x")
	}
}

// One operation is a Subscribe and an Unsubscribe.
func BenchmarkSubscribe(b *testing.B) {
	r := newRegistry(Limits{})
	for i := range 100_000 {
		s := join(b, r, fmt.Sprint(i))
		if _, err := r.Subscribe(s, fmt.Sprint("topic", i%1000)); err != nil {
			b.Fatal(err)
		}
	}
	var id atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		s := join(b, r, fmt.Sprint("me", id.Add(1)))
		var topics [1000]string
		for i := range topics {
			topics[i] = fmt.Sprint("topic", i)
		}
		for i := 0; pb.Next(); i++ {
			if _, err := r.Subscribe(s, topics[i%1000]); err != nil {
				b.Error(err)
				return
			}
			r.Unsubscribe(s, topics[i%1000])
		}
	})
}

// One operation is one simulated second of a million timers with an interval of 25 s and a tick of 100 ms,
// each scheduled again when it fires. 10 ms are 1 % of a core.
func BenchmarkWheel(b *testing.B) {
	for _, test := range []struct {
		name   string
		stride int // distance in memory from one due timer to the next, in sessions
	}{{"as allocated", 1}, {"scattered", 104729}} {
		b.Run(test.name, func(b *testing.B) {
			const interval = 25 * time.Second
			w := newWheel(tick, 512)
			sessions := make([]session, million)
			for i := range sessions {
				w.Schedule(&sessions[i*test.stride%million], time.Duration(i)*interval/million)
			}
			var now time.Duration
			fired := 0
			fire := func(s *session) {
				fired++
				w.Schedule(s, now+interval)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				for range time.Second / tick {
					now += tick
					w.Advance(now, fire)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e7, "%core")
			b.ReportMetric(float64(fired)/float64(b.N), "fired/op")
			if n := w.Armed(); n != million {
				b.Fatalf("%d timers are armed", n)
			}
		})
	}
}

// One operation moves one of a million timers.
func BenchmarkSchedule(b *testing.B) {
	w := newWheel(tick, 512)
	sessions := make([]session, million)
	for i := range sessions {
		w.Schedule(&sessions[i], time.Duration(i)*25*time.Microsecond)
	}
	var id atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(id.Add(1)) * 7919; pb.Next(); i++ {
			w.Schedule(&sessions[i*15485863%million], time.Duration(i%25_000)*time.Millisecond)
		}
	})
}

// One operation is a page of 1,000 of 100,000 users.
func BenchmarkAppendUsersAfter(b *testing.B) {
	r := newRegistry(Limits{})
	for i := range 100_000 {
		join(b, r, fmt.Sprintf("user-%011d", i*7919%100_000))
	}
	var page []string
	for b.Loop() {
		page = r.AppendUsersAfter(page[:0], "user-00000050000", "user", 1000)
	}
}
