package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Config configures a Client. The zero value of each field but URL is a safe default.
type Config struct {
	// URL of the endpoint, wss://push.example.com/ws. Parameters in its query are sent
	// with each handshake: user=bob for a server with --auth none.
	URL string
	// Token returns the token for the next handshake, which sends it as Authorization:
	// Bearer. If a session ends with its token, and the server takes another one, Token is
	// called again before that, and the session goes on. It is not called for a handshake
	// with a resume ticket of the server. nil: no token.
	Token func(ctx context.Context) (string, error)
	// User is the user that the positions belong to, as the server knows it. It is
	// required with a Store. A session of another user ends Run with ErrUser.
	User string
	// Header is sent with each handshake.
	Header http.Header
	// HTTPClient makes the connections. nil: http.DefaultClient.
	HTTPClient *http.Client
	// Compress offers permessage-deflate without context takeover, RFC 7692.
	Compress bool

	// Inbox handles messages of the user's inbox, and live messages. nil: they are
	// dropped, and not acknowledged.
	Inbox Handler
	// Gap is called when messages of a topic, or of the inbox if topic is empty, are not
	// available any more: reload from your backend what they have changed. nil: it is
	// reported to Error as a *GapError.
	Gap func(ctx context.Context, topic string)
	// State is told the states of the connection. It must not block.
	State func(State)
	// Error is told the errors that Run recovers from: *CloseError, *HandshakeError,
	// *HandlerError, *RejectedError, *StoreError, *TokenError, *GapError and ErrPending.
	// It must not block. nil: they are dropped.
	Error func(error)

	// Store keeps positions over restarts of the program. nil: in memory.
	Store PositionStore
	// ManualAck leaves acknowledgements to Message.Ack.
	ManualAck bool

	// MinDelay bounds the first delay before a reconnect. 0: 1 s.
	MinDelay time.Duration
	// MaxDelay bounds all of them. 0: 30 s.
	MaxDelay time.Duration
	// StableAfter is how long a session is open until the delays begin again. 0: 10 s.
	StableAfter time.Duration
	// OpenTimeout bounds a handshake. 0: 15 s.
	OpenTimeout time.Duration
	// PingInterval is how long a connection is silent until it is pinged. 0: 60 s, of which
	// a server with its default heartbeat leaves nothing.
	PingInterval time.Duration
	// PingTimeout bounds the wait for the answer. 0: 10 s.
	PingTimeout time.Duration
	// MaxPending bounds the payloads that wait for their handlers, in bytes. 0: 4 MiB.
	MaxPending int
	// ReadLimit bounds a message of the server, in bytes of JSON. 0: 16 MiB.
	ReadLimit int64
	// Reconnect overrides whether to reconnect after a close code; ok false: as
	// documented.
	Reconnect func(code int, reason string) (again, ok bool)
}

// State is the state of the connection.
type State string

// The states, in the order in which a session passes them.
const (
	Connecting State = "connecting" // a handshake is under way
	Open       State = "open"       // messages arrive
	Waiting    State = "waiting"    // the next attempt follows after a delay
	Paused     State = "paused"     // disconnected until the handlers have caught up
	Closed     State = "closed"     // Run returns
)

func (cfg Config) validate() error {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return fmt.Errorf("client: Config.URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return fmt.Errorf("client: Config.URL is %q, want ws://HOST/PATH or wss://HOST/PATH", cfg.URL)
	}
	if u.Host == "" {
		return fmt.Errorf("client: Config.URL %q has no host", cfg.URL)
	}
	if cfg.Store != nil && cfg.User == "" {
		return errors.New("client: Config.Store needs Config.User, so that positions of several users are kept apart")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"MinDelay", cfg.MinDelay}, {"MaxDelay", cfg.MaxDelay}, {"StableAfter", cfg.StableAfter},
		{"OpenTimeout", cfg.OpenTimeout}, {"PingInterval", cfg.PingInterval}, {"PingTimeout", cfg.PingTimeout},
	} {
		if d.value < 0 {
			return fmt.Errorf("client: Config.%s is %v, want 0 for the default or more", d.name, d.value)
		}
	}
	if cfg.MaxPending < 0 || cfg.ReadLimit < 0 {
		return fmt.Errorf("client: Config.MaxPending is %d and ReadLimit %d, want 0 for the default or more", cfg.MaxPending, cfg.ReadLimit)
	}
	return nil
}

func (cfg *Config) setDefaults() {
	cfg.MinDelay = cmp.Or(cfg.MinDelay, time.Second)
	cfg.MaxDelay = cmp.Or(cfg.MaxDelay, 30*time.Second)
	cfg.StableAfter = cmp.Or(cfg.StableAfter, 10*time.Second)
	cfg.OpenTimeout = cmp.Or(cfg.OpenTimeout, 15*time.Second)
	cfg.PingInterval = cmp.Or(cfg.PingInterval, time.Minute)
	cfg.PingTimeout = cmp.Or(cfg.PingTimeout, 10*time.Second)
	cfg.MaxPending = cmp.Or(cfg.MaxPending, 4<<20)
	cfg.ReadLimit = cmp.Or(cfg.ReadLimit, 16<<20)
	if cfg.Store == nil {
		cfg.Store = NewMemoryStore()
	}
	if cfg.State == nil {
		cfg.State = func(State) {}
	}
	if cfg.Error == nil {
		cfg.Error = func(error) {}
	}
	if cfg.Gap == nil {
		report := cfg.Error
		cfg.Gap = func(_ context.Context, topic string) { report(&GapError{Topic: topic}) }
	}
}
