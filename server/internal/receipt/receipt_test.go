package receipt

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func (r *Receipt) ping(session uint64, now time.Duration) []byte {
	r.Written(1, true)
	return r.AppendPing(nil, session, now)
}

func TestPong(t *testing.T) {
	b := NewBook()
	r := b.Open("a", time.Second, 0)
	first, second := r.ping(1, time.Second), r.ping(2, time.Second)
	stranger := NewBook().Open("a", time.Second, 0).ping(1, time.Second)
	if len(first) != PayloadSize || len(first) > 125 || !IsPing(first) || string(first) == string(second) {
		t.Fatalf("payloads %q, %q", first, second)
	}
	changed := func(at int) []byte {
		c := []byte(string(second))
		if c[at]++; c[at] > 'z' {
			c[at] = 'a'
		}
		return c
	}
	for _, tt := range []struct {
		name    string
		session uint64
		payload []byte
		want    bool
	}{
		{"the pong", 1, first, true},
		{"a second time", 1, first, false},
		{"of another session", 1, second, false},
		{"of another process", 1, stranger, false},
		{"another number of the ping", 2, changed(1 + 15), false},
		{"another time", 2, changed(1 + 20), false},
		{"another tag", 2, changed(PayloadSize - 3), false},
		{"another prefix", 2, changed(0), false},
		{"cut", 2, second[:PayloadSize-1], false},
		{"empty", 2, nil, false},
		{"no base64", 2, []byte("r" + strings.Repeat("!", PayloadSize-1)), false},
		{"the pong of the other one", 2, second, true},
	} {
		if got := b.Pong(tt.session, tt.payload, time.Second+10*ms); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	r.Written(1, false)
	r.Written(1, true)
	r.Written(-1, true) // it was not written after all
	c, ok := b.Find("a")
	if !ok || c.Written != 3 || c.Confirmed != 2 || c.Silent != 1 || c.Final {
		t.Errorf("%+v, %t", c, ok)
	}
	if q := Quantile(c.Trips, 0.5); q < 10*ms || q > 11*ms {
		t.Errorf("round trips of 10ms: the median is %v", q)
	}
}

// Pongs count for a minute after the last delivery, a receipt is kept for ten more, and its
// bits go with the minute.
func TestSweep(t *testing.T) {
	b := NewBook()
	r := b.Open("a", 0, time.Hour)
	late, later := r.ping(1, 0), r.ping(2, 0)
	end := time.Hour + Window
	b.Sweep(end - 1)
	if !b.Pong(1, late, end-1) || len(r.seen) != 1 {
		t.Error("a pong in time does not count")
	}
	b.Sweep(end)
	if b.Pong(2, later, end) || r.seen != nil {
		t.Error("a late pong counts, or its bits are kept")
	}
	b.Sweep(end + Keep - 1)
	if c, ok := b.Find("a"); !ok || !c.Final || c.Confirmed != 1 {
		t.Errorf("%+v, %t", c, ok)
	}
	if b.Open("a", end+Keep-1, 0) != r {
		t.Error("a second receipt with the ID")
	}
	b.Sweep(end + Keep)
	if _, ok := b.Find("a"); ok || len(b.byID)+len(b.byNumber)+len(b.all) != 0 {
		t.Error("the receipt is kept")
	}
}

func TestMax(t *testing.T) {
	b := NewBook()
	payload := b.Open("0", 0, 0).ping(1, 0)
	for i := range Max + 1 {
		b.Open(fmt.Sprint(i), 0, 0)
	}
	if _, ok := b.Find("0"); ok || b.Pong(1, payload, 0) {
		t.Error("the oldest is kept")
	}
	if _, ok := b.Find("1"); !ok || len(b.byID) != Max || len(b.byNumber) != Max || len(b.all) != Max {
		t.Errorf("%d receipts, want the last %d", len(b.byID), Max)
	}
}

// A bit for each ping: pages of them, which pongs in any order use.
func TestBits(t *testing.T) {
	b := NewBook()
	r := b.Open("a", 0, 0)
	const n = 2*pageBits + 100
	payloads := make([][]byte, n)
	for i := range n {
		payloads[i] = r.ping(uint64(i), 0)
	}
	for range 2 {
		for i := n - 1; i >= 0; i-- {
			b.Pong(uint64(i), payloads[i], ms)
		}
	}
	if c, _ := b.Find("a"); c.Confirmed != n || c.Written != n || len(r.seen) != 3 {
		t.Errorf("%d confirmed of %d, %d pages", c.Confirmed, n, len(r.seen))
	}
}

func TestQuantile(t *testing.T) {
	var trips [Buckets]uint32
	for i := range 100 { // 1 to 100 ms
		trips[bucketOf(time.Duration(i+1)*ms)]++
	}
	for _, tt := range []struct {
		q    float64
		want time.Duration
	}{{0.01, ms}, {0.5, 50 * ms}, {0.95, 95 * ms}, {0.99, 99 * ms}, {1, 100 * ms}} {
		if got := Quantile(trips[:], tt.q); got < tt.want || got > tt.want*110/100 {
			t.Errorf("%v is %v, want %v to 9 %%", tt.q, got, tt.want)
		}
	}
	if got := Quantile(nil, 0.5); got != 0 {
		t.Errorf("nothing has the median %v", got)
	}
	for _, d := range []time.Duration{-1, 0, firstBucket, firstBucket + 1, time.Second, time.Minute, time.Hour} {
		i := bucketOf(d)
		if i > 0 && i < Buckets-1 && (d > boundOf(i)+1 || d <= boundOf(i-1)) {
			t.Errorf("%v is in the bucket from %v to %v", d, boundOf(i-1), boundOf(i))
		}
	}
}
