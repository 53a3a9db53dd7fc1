package natstest

import (
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/internal/leak"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, 10*time.Second, "nats-server/v2/server/ats.", "nats-server/v2/server/pse.")
}

// TestRestart: a server that is started again has its address, what it has stored, and options
// that were changed meanwhile.
func TestRestart(t *testing.T) {
	s := Start(t, natsserver.Options{JetStream: true})
	url := s.ClientURL()
	connect := func() jetstream.JetStream {
		t.Helper()
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	if _, err := connect().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if nc, err := nats.Connect(url); err == nil {
		nc.Close()
		t.Error("a stopped server accepts connections")
	}
	s.Opts.MaxPayload = 4 << 10
	s.Start()
	js := connect()
	if _, err := js.Stream(t.Context(), "S"); err != nil {
		t.Error(err)
	}
	if n := js.Conn().MaxPayload(); n != 4<<10 {
		t.Errorf("the payload is at most %d bytes", n)
	}
}
