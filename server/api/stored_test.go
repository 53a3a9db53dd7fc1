package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

func TestAPIDurableStatus(t *testing.T) {
	cfg := withInbox(t, inbox.Config{Messages: 2, Bytes: 2000, UserFull: inbox.FullReject})
	cfg.DurableTopics = []string{"news.*"}
	escalator := new(noteEscalations)
	cfg.Escalator = escalator
	s := newAPIServer(t, cfg, Config{}, nil)
	for range 2 {
		s.pushStored("full", "x")
	}
	const push = "/v1/users/alice/push?durable="
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"stored", "POST", push + "true&ttl=1h&id=7", "x", 200, ""},
		{"seconds", "POST", push + "1&ttl=90", "x", 200, ""},
		{"no durable", "POST", push + "false", "x", 200, ""},
		{"unknown", "POST", push + "maybe", "x", 400, "bad_query"},
		{"ttl alone", "POST", push + "&ttl=1h", "x", 400, "bad_query"},
		{"bad ttl", "POST", push + "true&ttl=soon", "x", 400, "bad_ttl"},
		{"negative ttl", "POST", push + "true&ttl=-1s", "x", 400, "bad_ttl"},
		{"long id", "POST", push + "true&id=" + strings.Repeat("x", 257), "x", 400, "bad_id"},
		{"full", "POST", "/v1/users/full/push?durable=true", "x", 507, "inbox_full"},
		{"too big for an inbox", "POST", push + "true", strings.Repeat("x", 2001), 413, "too_big"},
		{"document", "POST", "/v1/push", `{"users":["bob"],"durable":true,"ttl":"1h","id":"7","data":1}`, 200, ""},
		{"document for several", "POST", "/v1/push", `{"users":["bob","carol","bob"],"durable":true,"data":1}`, 200, ""},
		{"document for a user whose inbox is full", "POST", "/v1/push", `{"users":["dave","full"],"durable":true,"data":1}`, 507, "inbox_full"},
		{"document for a topic", "POST", "/v1/push", `{"users":["erin"],"topics":["news.a"],"durable":true,"data":1}`, 200, ""},
		{"document for a topic that is not durable", "POST", "/v1/push", `{"topics":["t"],"durable":true,"data":1}`, 409, "not_durable"},
		{"document with an id for such a topic", "POST", "/v1/push", `{"topics":["t"],"id":"7","data":1}`, 400, "bad_document"},
		{"topic", "POST", "/v1/topics/news.a/push?ttl=1h&id=8", "x", 200, ""},
		{"topic with a bad ttl", "POST", "/v1/topics/news.a/push?ttl=x", "x", 400, "bad_ttl"},
		{"topic that is not durable", "POST", "/v1/topics/t/push?durable=true", "x", 409, "not_durable"},
		{"durable broadcast", "POST", "/v1/push", `{"broadcast":true,"durable":true,"data":1}`, 400, "bad_document"},
		{"document with an id alone", "POST", "/v1/push", `{"users":["bob"],"id":"7","data":1}`, 400, "bad_document"},
		{"document with a bad ttl", "POST", "/v1/push", `{"users":["bob"],"durable":true,"ttl":"x","data":1}`, 400, "bad_ttl"},
		{"ttl as long as messages are stored", "POST", "/v1/users/offline2/push?durable=" + "true&ttl=168h", "x", 200, ""},
		{"longer ttl", "POST", push + "true&ttl=168h1s", "x", 400, "bad_ttl"},
		{"longer ttl of a topic", "POST", "/v1/topics/news.a/push?ttl=169h", "x", 400, "bad_ttl"},
		{"document with a longer ttl", "POST", "/v1/push", `{"users":["bob"],"durable":true,"ttl":"169h","data":1}`, 400, "bad_ttl"},
		{"id", "POST", "/v1/users/ida/push?durable=true&id=used", "x", 200, ""},
		{"id, repeated", "POST", "/v1/users/ida/push?durable=true&id=used", "x", 200, ""},
		{"id of another user", "POST", "/v1/users/offline2/push?durable=true&id=used", "y", 200, ""},
		{"id with another message", "POST", "/v1/users/ida/push?durable=true&id=used", "y", 422, "id_reused"},
		{"id with a document that is the same message", "POST", "/v1/push", `{"users":["ida"],"durable":true,"id":"used","text":"x"}`, 200, ""},
		{"id with another document", "POST", "/v1/push", `{"users":["ida"],"durable":true,"id":"used","base64":"eA=="}`, 422, "id_reused"},
		{"document that is not durable, with a ttl", "POST", "/v1/push", `{"users":["bob"],"durable":false,"ttl":"1h","data":1}`, 400, "bad_document"},
		{"document that is not durable, with an id, for a topic", "POST", "/v1/push", `{"topics":["t"],"durable":false,"id":"7","data":1}`, 400, "bad_document"},
		{"document that is not durable, escalated", "POST", "/v1/push", `{"users":["bob"],"durable":false,"escalate":"30s","data":1}`, 400, "bad_document"},
		{"document that is not durable, for a durable topic", "POST", "/v1/push", `{"topics":["news.a"],"durable":false,"data":1}`, 409, "durable"},
		{"document that is not durable, for a durable topic among others", "POST", "/v1/push", `{"topics":["t","news.a"],"durable":false,"data":1}`, 409, "durable"},
		{"document that is not durable", "POST", "/v1/push", `{"users":["bob"],"topics":["t"],"durable":false,"data":1}`, 200, ""},
		{"document with a durable of null", "POST", "/v1/push", `{"topics":["news.a"],"durable":null,"id":"9","data":1}`, 200, ""},
		{"document with a ttl for a user who stores nothing", "POST", "/v1/push", `{"users":["bob"],"topics":["news.a"],"ttl":"1h","data":1}`, 400, "bad_document"},
		{"document with an id for a topic that stores nothing", "POST", "/v1/push", `{"topics":["t","news.a"],"id":"10","data":1}`, 400, "bad_document"},
		{"inbox", "GET", "/v1/users/alice/inbox", "", 200, ""},
		{"inbox after an offset", "GET", "/v1/users/alice/inbox?after=1", "", 200, ""},
		{"inbox after nothing", "GET", "/v1/users/alice/inbox?after=x", "", 400, "bad_query"},
		{"empty inbox", "DELETE", "/v1/users/offline/inbox", "", 200, ""},
		{"escalated", "POST", "/v1/users/ann/push?durable=true&escalate=30s&id=9", "x", 200, ""},
		{"escalated after seconds", "POST", "/v1/users/ann/push?durable=true&escalate=60", "x", 200, ""},
		{"escalated, not durable", "POST", push + "false&escalate=30s", "x", 400, "bad_query"},
		{"escalated, empty", "POST", push + "true&escalate=", "x", 400, "bad_escalate"},
		{"escalated, malformed", "POST", push + "true&escalate=soon", "x", 400, "bad_escalate"},
		{"escalated too soon", "POST", push + "true&escalate=999ms", "x", 400, "bad_escalate"},
		{"escalated after it expires", "POST", push + "true&escalate=2h&ttl=1h", "x", 400, "bad_escalate"},
		{"escalated after messages are removed", "POST", push + "true&escalate=25h", "x", 400, "bad_escalate"},
		{"nothing to escalate to", "POST", push + "true&escalate=13h", "x", 501, "no_escalation"},
		{"no room for the escalation", "POST", "/v1/users/crowded/push?durable=true&escalate=1h", "x", 507, "inbox_full"},
		{"escalated topic", "POST", "/v1/topics/news.a/push?escalate=30s", "x", 400, "bad_escalate"},
		{"escalated topic that is not durable", "POST", "/v1/topics/t/push?escalate=30s", "x", 400, "bad_escalate"},
		{"escalated broadcast", "POST", "/v1/broadcast?escalate=30s", "x", 400, "bad_query"},
		{"escalated document", "POST", "/v1/push", `{"users":["ben","cat"],"durable":true,"escalate":"5m","id":"10","data":1}`, 200, ""},
		{"escalated document, not durable", "POST", "/v1/push", `{"users":["bob"],"escalate":"5m","data":1}`, 400, "bad_document"},
		{"escalated document for a topic", "POST", "/v1/push", `{"topics":["news.a"],"durable":true,"escalate":"5m","data":1}`, 400, "bad_document"},
		{"escalated document, malformed", "POST", "/v1/push", `{"users":["bob"],"durable":true,"escalate":"x","data":1}`, 400, "bad_escalate"},
		{"ready", "GET", "/readyz", "", 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := s.call(test.method, test.path, test.body); got.status != test.status || got.errorCode() != test.code {
				t.Errorf("got %v, want %d %s", got, test.status, test.code)
			}
		})
	}
	batch := `{"users":["dave"],"durable":true,"escalate":"5m","data":1}` + "\n" + `{"topics":["news.a"],"durable":true,"escalate":"5m","data":1}` + "\n"
	if got := s.call("POST", "/v1/batch", batch); !strings.HasPrefix(got.body, `{"offset":`) || !strings.Contains(got.body, `"bad_document"`) {
		t.Errorf("batch: %v", got)
	}
	want := []string{"ann 9 30s", "ann  1m0s", "ben 10 5m0s", "cat 10 5m0s", "dave  5m0s"}
	if got := escalator.noted(); len(got) != len(want) || slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) }) {
		t.Errorf("escalations: %q, want %q", got, want)
	}
	if got := s.call("GET", "/metrics", ""); !strings.Contains(got.body, "fanfare_store_ready 1") || !strings.Contains(got.body, "fanfare_store_rejected_total") {
		t.Error("the metrics lack the inbox")
	}
}

// noteEscalations notes escalations, of messages that are stored for a day, and has no room for
// those of the user crowded.
type noteEscalations struct {
	mu  sync.Mutex
	all []string
}

func (n *noteEscalations) CheckEscalation(after time.Duration) error {
	switch {
	case after > 24*time.Hour:
		return fmt.Errorf("%w: too late", server.ErrEscalation)
	case after == 13*time.Hour:
		return server.ErrNoEscalator
	}
	return nil
}

func (n *noteEscalations) Escalate(_ context.Context, e server.Escalation) error {
	if e.User == "crowded" {
		return store.ErrFull
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.Offset == 0 || e.Epoch == "" {
		return errors.New("an escalation without a position")
	}
	n.all = append(n.all, fmt.Sprint(e.User, " ", e.ID, " ", (time.Until(e.Due)+30*time.Second).Truncate(30*time.Second)))
	return nil
}

func (n *noteEscalations) noted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all
}

func TestAPIWithoutInbox(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	for _, test := range []struct{ method, path, body string }{
		{"POST", "/v1/users/alice/push?durable=true", "x"},
		{"POST", "/v1/users/alice/push?durable=true&escalate=1m", "x"},
		{"POST", "/v1/topics/t/push?durable=true", "x"},
		{"POST", "/v1/push", `{"users":["a"],"durable":true,"data":1}`},
		{"GET", "/v1/users/alice/inbox", ""},
		{"GET", "/v1/topics/t/messages", ""},
		{"DELETE", "/v1/users/alice/inbox", ""},
	} {
		if got := s.call(test.method, test.path, test.body); got.status != 501 || got.errorCode() != "no_inbox" {
			t.Errorf("%s %s: %v", test.method, test.path, got)
		}
	}
}

func TestAPIInbox(t *testing.T) {
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, nil)
	if got := s.call("POST", "/v1/users/alice/push?durable=true&ttl=1h", "hello", "Content-Type", "text/plain"); !strings.HasPrefix(got.body, `{"offset":1,"epoch":"`) || !strings.HasSuffix(got.body, `","receivers":0}`+"\n") {
		t.Errorf("got %v", got)
	}
	s.call("POST", "/v1/users/alice/push?durable=true", "\x00\xff")
	if got := s.call("POST", "/v1/push", `{"users":["bob","alice"],"durable":true,"text":"both"}`); got.body != `{"offsets":{"alice":3,"bob":4},"receivers":0}`+"\n" &&
		got.body != `{"offsets":{"alice":4,"bob":3},"receivers":0}`+"\n" {
		t.Errorf("got %v", got)
	}
	var in struct {
		Acked    uint64
		More     int
		Messages []struct {
			Offset       uint64
			Text, Base64 *string
			Expires      *string
		}
	}
	got := s.call("GET", "/v1/users/alice/inbox", "")
	if err := json.Unmarshal([]byte(got.body), &in); err != nil {
		t.Fatal(err)
	}
	if len(in.Messages) != 3 || *in.Messages[0].Text != "hello" || in.Messages[0].Expires == nil || *in.Messages[1].Base64 != "AP8=" || in.Messages[1].Expires != nil {
		t.Errorf("got %v", got)
	}
	s.Config().Store.Ack(store.Box{User: "alice"}, "alice", 2)
	if got := s.call("GET", "/v1/users/alice/inbox", ""); !strings.Contains(got.body, `"acked":2`) || strings.Contains(got.body, "hello") {
		t.Errorf("got %v", got)
	}
	if got := s.call("DELETE", "/v1/users/alice/inbox", ""); got.body != `{"deleted":3}`+"\n" {
		t.Errorf("got %v", got)
	}
}

// TestAPIBatchDurable: answers are in order, errors and live pushes between them,
// and so are the messages of one user.
func TestAPIBatchDurable(t *testing.T) {
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, nil)
	var lines strings.Builder
	const n = 500
	for i := range n {
		switch i % 5 {
		case 3:
			lines.WriteString(`{"users":["u"],"data":1}` + "\n")
		case 4:
			lines.WriteString("nonsense\n")
		default:
			fmt.Fprintf(&lines, `{"users":["u%d"],"durable":true,"text":"%d"}`+"\n", i%2, i)
		}
	}
	answers := strings.Split(strings.TrimSpace(s.call("POST", "/v1/batch", lines.String()).body), "\n")
	if len(answers) != n {
		t.Fatalf("%d answers to %d lines", len(answers), n)
	}
	offsets := make(map[string]uint64)
	for i, answer := range answers {
		var a struct {
			Offset    uint64
			Receivers *int
			Error     *struct{ Code string }
		}
		if err := json.Unmarshal([]byte(answer), &a); err != nil {
			t.Fatalf("%d: %s: %v", i, answer, err)
		}
		if (a.Error != nil) != (i%5 == 4) || (a.Offset > 0) != (i%5 < 3) {
			t.Fatalf("%d: %s", i, answer)
		}
		if a.Offset > 0 {
			user := "u" + strconv.Itoa(i%2)
			if a.Offset <= offsets[user] {
				t.Errorf("line %d: offset %d does not exceed %d", i, a.Offset, offsets[user])
			}
			offsets[user] = a.Offset
		}
	}
}

// usedCPU returns the CPU time that this process has used.
func usedCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAPIBatchDurable stores messages of 128 bytes for many users over several
// connections. The client's share of the work is included.
func BenchmarkAPIBatchDurable(b *testing.B) {
	text := strings.Repeat("x", 128)
	for _, connections := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s := newAPIServer(b, withInbox(b, inbox.Config{}), Config{}, nil)
			lines := make([]strings.Builder, connections)
			for i := range b.N {
				fmt.Fprintf(&lines[i%connections], `{"users":["user%d"],"durable":true,"text":"%s"}`+"\n", i%10_000, text)
			}
			var stored atomic.Int64
			var all sync.WaitGroup
			begun := usedCPU()
			b.ResetTimer()
			for i := range lines {
				all.Go(func() {
					got := s.call("POST", "/v1/batch", lines[i].String())
					stored.Add(int64(strings.Count(got.body, "offset")))
				})
			}
			all.Wait()
			b.StopTimer()
			if n := stored.Load(); n != int64(b.N) {
				b.Errorf("%d of %d are stored", n, b.N)
			}
			b.ReportMetric(float64((usedCPU()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
		})
	}
}

// TestAPIInboxClock: what has expired by the clock of the API is not listed.
func TestAPIInboxClock(t *testing.T) {
	var later atomic.Int64
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, func(a *API) {
		a.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	s.call("POST", "/v1/users/bob/push?durable=true&ttl=1h", "for an hour")
	s.call("POST", "/v1/users/bob/push?durable=true&ttl=3h", "for three")
	for _, test := range []struct {
		later time.Duration
		want  []string
	}{
		{0, []string{"for an hour", "for three"}}, {2 * time.Hour, []string{"for three"}}, {4 * time.Hour, nil},
	} {
		later.Store(int64(test.later))
		var in struct{ Messages []struct{ Text string } }
		got := s.call("GET", "/v1/users/bob/inbox", "")
		if err := json.Unmarshal([]byte(got.body), &in); err != nil {
			t.Fatalf("%v, %v", got, err)
		}
		var texts []string
		for _, m := range in.Messages {
			texts = append(texts, m.Text)
		}
		if !slices.Equal(texts, test.want) {
			t.Errorf("after %v: %q, want %q", test.later, texts, test.want)
		}
	}
}
