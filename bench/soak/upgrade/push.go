package upgrade

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// pusher publishes numbered messages to topics at fixed times, whether or not earlier ones were answered. One
// goroutine serves each topic, so that the messages of a topic have an order.
type pusher struct {
	api    string
	every  time.Duration // between two messages of a topic
	quit   chan struct{}
	topics sync.WaitGroup

	mu     sync.Mutex
	counts []int    // messages answered, by topic. guarded by mu
	faults []string // guarded by mu
}

func newPusher(api string, topics int, every time.Duration, receivers []int) *pusher {
	p := &pusher{api: api, every: every, quit: make(chan struct{}), counts: make([]int, topics)}
	for topic := range topics {
		p.topics.Go(func() { p.run(topic, receivers[topic]) })
	}
	return p
}

func (p *pusher) run(topic, receivers int) {
	web := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer web.CloseIdleConnections()
	due := time.Now().Add(p.every * time.Duration(topic) / time.Duration(len(p.counts)))
	for n := 0; ; n++ {
		due = due.Add(p.every)
		select {
		case <-p.quit:
			return
		case <-time.After(time.Until(due)):
		}
		resp, err := web.Post(fmt.Sprintf("http://%s/v1/topics/t%d/push", p.api, topic), "text/plain", strings.NewReader(fmt.Sprintf("%d %d", n, due.UnixNano())))
		if err != nil {
			p.fail("push %d to topic %d: %v", n, topic, err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprintf(`{"receivers":%d}`, receivers); resp.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != want {
			p.fail("push %d to topic %d: status %d, %s, and expected %s", n, topic, resp.StatusCode, body, want)
		}
		p.mu.Lock()
		p.counts[topic] = n + 1
		p.mu.Unlock()
	}
}

func (p *pusher) fail(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// stop ends the pushes, and returns how many messages each topic got.
func (p *pusher) stop() (counts []int, faults []string) {
	close(p.quit)
	p.topics.Wait()
	return p.counts, p.faults
}
