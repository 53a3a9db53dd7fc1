package attack

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies counts messages by latency: ascending pairs of microseconds and the number of messages.
type Latencies [][2]int

// latencies keeps three digits of each value, as the histogram does.
func latencies(h *hdrhistogram.Histogram) (l Latencies) {
	if h == nil {
		return nil
	}
	for _, bar := range h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		micros := int(math.Round(float64(bar.From+bar.To) / 2 / 1000))
		if n := len(l); n > 0 && l[n-1][0] == micros {
			l[n-1][1] += int(bar.Count)
		} else {
			l = append(l, [2]int{micros, int(bar.Count)})
		}
	}
	return l
}

// Count returns the number of messages.
func (l Latencies) Count() (n int) {
	for _, bucket := range l {
		n += bucket[1]
	}
	return n
}

// Healthy has the measurements of the healthy clients of one server in one second.
type Healthy struct {
	Echo Latencies `json:"echo"`
	Push Latencies `json:"push"`
}

// A Second is one second on both servers.
type Second struct {
	Attacked Healthy `json:"attacked"`
	Twin     Healthy `json:"twin"`
}

// pool is the latencies of several seconds, descending, each with the second that it belongs to.
type pool struct {
	values []pooled
	counts []int // messages per second
}

type pooled struct {
	ms            float64
	second, count int
}

// second is the p99 of one second.
func (p *pool) second(i int) float64 {
	weights := make([]int, len(p.counts))
	weights[i] = 1
	return p.quantile(0.99, weights)
}

// quantile returns the latency in milliseconds that the share of the messages does not exceed, when second i
// counts weights[i] times.
func (p *pool) quantile(share float64, weights []int) float64 {
	total := 0
	for i, n := range p.counts {
		total += n * weights[i]
	}
	above := (1 - share) * float64(total)
	seen := 0 // messages, from the slowest
	for _, v := range p.values {
		if seen += v.count * weights[v.second]; float64(seen) > above {
			return v.ms
		}
	}
	return 0
}
