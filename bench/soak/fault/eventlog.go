package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// hookPort is the port of the backend, at home.
const hookPort = 9090

// eventLog is a backend that records what it is told of users. It fails now and then after it has recorded what it was
// sent, so that events come again.
type eventLog struct {
	server  *http.Server
	serving sync.WaitGroup

	mu       sync.Mutex
	requests int             // guarded by mu
	seen     map[string]bool // identifiers; guarded by mu
	again    int             // events whose identifier had been seen; guarded by mu
	events   []presenceEvent // in the order of arrival, each once; guarded by mu
}

// presenceEvent is user.online or user.offline.
type presenceEvent struct {
	ID, Type, User, Node string
	at                   time.Time
}

func newEventLog(ip string) (*eventLog, error) {
	l := &eventLog{seen: make(map[string]bool)}
	ln, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, hookPort))
	if err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	l.server = &http.Server{Handler: http.HandlerFunc(l.serve), ReadTimeout: 10 * time.Second}
	l.serving.Go(func() { l.server.Serve(ln) })
	return l, nil
}

func (l *eventLog) close() {
	l.server.Close()
	l.serving.Wait()
}

func (l *eventLog) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the sender was cut off
	}
	var batch struct {
		Data struct{ Events []presenceEvent }
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	l.requests++
	fails := l.requests%10 == 0
	for _, e := range batch.Data.Events {
		e.at = time.Now()
		l.record(e)
	}
	l.mu.Unlock()
	if fails {
		http.Error(w, "recorded, and not accepted", http.StatusServiceUnavailable)
	}
}

// record is called with mu held.
func (l *eventLog) record(e presenceEvent) {
	if l.seen[e.ID] {
		l.again++
		return
	}
	l.seen[e.ID] = true
	l.events = append(l.events, e)
}

func (l *eventLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

func (l *eventLog) repeats() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.again
}

const (
	typeOnline  = "user.online"
	typeOffline = "user.offline"
)

// matches returns an error that names the users whose last event is not true. A user without events is offline.
func (l *eventLog) matches(online map[string]bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[string]string)
	for _, e := range l.events {
		last[e.User] = e.Type
	}
	var wrong []string
	for _, user := range slices.Sorted(maps.Keys(online)) {
		if reported := last[user] == typeOnline; reported != online[user] {
			wrong = append(wrong, fmt.Sprintf("%s is online: %v, and was reported %q last", user, online[user], last[user]))
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// check returns an error if the events of a user do not alternate, if another user was reported, or,
// with steady, if a user of the first node, who never left, was reported as offline.
func (l *eventLog) check(online map[string]bool, steady bool) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[string]string)
	for i, e := range l.events {
		_, known := online[e.User]
		switch {
		case !known || e.Type != typeOnline && e.Type != typeOffline:
			err = errors.Join(err, fmt.Errorf("event %d: %s %q", i, e.Type, e.User))
		case last[e.User] == e.Type:
			err = errors.Join(err, fmt.Errorf("event %d: %s %s twice", i, e.Type, e.User))
		case last[e.User] == "" && e.Type == typeOffline:
			err = errors.Join(err, fmt.Errorf("event %d: %s %s, who never was online", i, e.Type, e.User))
		case steady && e.Type == typeOffline && strings.HasPrefix(e.User, "steady"):
			err = errors.Join(err, fmt.Errorf("event %d: %s %s, who never left", i, e.Type, e.User))
		}
		last[e.User] = e.Type
	}
	return err
}

// dump writes the events to a file.
func (l *eventLog) dump(file string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for i, e := range l.events {
		fmt.Fprintf(&b, "%5d %s %-12s %-9s by %s, %s\n", i, e.at.Format("04:05.000"), e.Type, e.User, e.Node, e.ID)
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
