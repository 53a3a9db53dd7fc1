package inbox

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanfare/server/store"
)

// cpu is the time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLogin looks for messages of users without any.
func BenchmarkLogin(b *testing.B) {
	for _, parallel := range []int{1, 16} {
		b.Run(fmt.Sprint(parallel), func(b *testing.B) {
			s := open(b, Config{})
			for i := range 1000 {
				put(b, s, user("other"+strconv.Itoa(i)), "x")
			}
			begun := cpu()
			b.ResetTimer()
			eachOf(parallel, b.N, func(i int) {
				if last, err := s.Last(ctx, user("user"+strconv.Itoa(i))); last != 0 || err != nil {
					b.Error(last, err)
				}
			})
			b.ReportMetric(float64((cpu()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkAppend is durable messages of 128 bytes.
func BenchmarkAppend(b *testing.B) {
	for _, users := range []int{1, 1000, 1_000_000} {
		for _, flush := range []time.Duration{0, -1} {
			b.Run(fmt.Sprintf("users=%d/sync=%v", users, flush < 0), func(b *testing.B) {
				s := open(b, Config{Sync: flush})
				payload := make([]byte, 128)
				begun := cpu()
				b.ResetTimer()
				eachOf(256, b.N, func(i int) {
					if _, err := add(s, user(strconv.Itoa(i%users)), store.Entry{Payload: payload}); err != nil {
						b.Error(err)
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
				b.ReportMetric(float64((cpu()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkRead is the replay of ten messages.
func BenchmarkRead(b *testing.B) {
	s := open(b, Config{})
	for range 10 {
		for i := range 100 {
			put(b, s, user(strconv.Itoa(i)), strings.Repeat("x", 128))
		}
	}
	begun := cpu()
	b.ResetTimer()
	for i := range b.N {
		if u, err := s.Read(ctx, user(strconv.Itoa(i%100)), 0, 1<<20); len(u.Messages) != 10 || err != nil {
			b.Fatal(len(u.Messages), err)
		}
	}
	b.ReportMetric(float64((cpu()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func eachOf(parallel, n int, f func(i int)) {
	var all sync.WaitGroup
	for p := range parallel {
		all.Go(func() {
			for i := p; i < n; i += parallel {
				f(i)
			}
		})
	}
	all.Wait()
}
