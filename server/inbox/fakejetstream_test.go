package inbox

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/subject"
)

// fakeJetStream answers for JetStream, on a NATS without it, so that a test decides
// what a leader that is partitioned says, and when.
type fakeJetStream struct {
	t   *testing.T
	url string

	mu          sync.Mutex
	streams     map[string]*fakeStream // guarded by mu
	partitioned bool                   // from the majority, so that nothing is written; guarded by mu
	writes      int                    // messages stored; guarded by mu
}

type fakeStream struct {
	config jetstream.StreamConfig
	last   uint64 // that a write continues after
	stale  uint64 // that the leader knows of
}

func startFakeJetStream(t *testing.T) *fakeJetStream {
	t.Helper()
	f := &fakeJetStream{t: t, url: "nats://" + startNATS(t, natsserver.Options{}), streams: make(map[string]*fakeStream)}
	nc, err := nats.Connect(f.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for _, subject := range []string{"$JS.API.>", "fanfare.>"} {
		if _, err := nc.Subscribe(subject, f.answer); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

// set sets what a stream says, and where it continues.
func (f *fakeJetStream) set(k subject.Kind, stale, last uint64, partitioned bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.partitioned = partitioned
	f.streams[k.Stream()].stale, f.streams[k.Stream()].last = stale, last
}

func (f *fakeJetStream) written() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

func (f *fakeJetStream) answer(m *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Reply == "" {
		return
	}
	var out any
	api, name := "", ""
	if rest, ok := strings.CutPrefix(m.Subject, "$JS.API.STREAM."); ok {
		dot := strings.LastIndexByte(rest, '.')
		api, name = rest[:dot], rest[dot+1:]
	}
	s := f.streams[name]
	failed := func(code int) any {
		return map[string]any{"error": map[string]any{"code": 404, "err_code": code, "description": "not found"}}
	}
	switch {
	case api == "INFO" && s == nil:
		out = failed(codeStreamNotFound)
	case api == "INFO":
		out = s.info()
	case api == "MSG.GET":
		out = failed(codeNoMessage)
	case f.partitioned:
		return
	case api == "CREATE", api == "UPDATE":
		if s == nil {
			s = new(fakeStream)
			f.streams[name] = s
		}
		s.config = jetstream.StreamConfig{}
		if err := json.Unmarshal(m.Data, &s.config); err != nil {
			f.t.Error(err)
		}
		out = s.info()
	case api == "PURGE":
		out = map[string]any{"success": true}
	case api == "":
		for k := range subject.Kinds {
			if strings.HasPrefix(m.Subject, k.Prefix()) {
				s = f.streams[k.Stream()]
			}
		}
		s.last++
		s.stale = s.last
		f.writes++
		out = map[string]any{"stream": s.config.Name, "seq": s.last}
	default:
		f.t.Errorf("unexpected request %s", m.Subject)
		return
	}
	b, err := json.Marshal(out)
	if err != nil {
		f.t.Error(err)
	}
	m.Respond(b)
}

func (s *fakeStream) info() any {
	return map[string]any{"config": s.config, "state": map[string]any{"first_seq": 1, "last_seq": s.stale}}
}
