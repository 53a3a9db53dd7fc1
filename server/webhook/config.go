package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"fanfare/server"
	"fanfare/server/internal/callout"
	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
	"fanfare/server/store"
)

// Hook is a webhook: a URL of the operator that receives events.
type Hook struct {
	// URL that batches are posted to: https, or http on this machine.
	URL string
	// Events are names of server.EventKind, or a prefix such as "user.*". Empty: all but
	// message.received.
	Events []string
}

// Config configures a Service. Hooks, Secrets and Node are required.
type Config struct {
	Hooks []Hook
	// Secrets sign each request, see ParseSecrets. A receiver accepts a request that is
	// signed with one of the secrets that it knows, so a new secret is added before the old one is
	// removed.
	Secrets []Secret
	// CA is a file with the certificates, in PEM, of the authorities that webhooks are
	// verified with. Empty: those of the system.
	CA string
	// InsecureHTTP allows http for hosts other than loopback.
	InsecureHTTP bool
	// Node names this process in events.
	Node string
	// Dir is a directory for the queue, of this process alone, and for the list of users online.
	// Empty, and URL too: the queue is in memory.
	Dir string
	// URL, Credentials, CAs, Cert and Key say how to reach a NATS with JetStream that stores
	// the queue instead, in Replicas copies. Node must stay the same across restarts.
	URL, Credentials, CAs, Cert, Key string
	Replicas                         int
	// OfflineGrace is how long a user must have no session to be offline.
	OfflineGrace time.Duration
	// MaxBytes bounds the queue of all webhooks, and the dead letters. 0: 256 MiB.
	MaxBytes int64
	// MaxAge is after what time a batch that cannot be posted becomes a dead letter. 0: 24 h.
	MaxAge time.Duration
	// Timeout bounds one request. 0: 15 s.
	Timeout time.Duration
	// Store has the messages that Escalate is about. It needs Dir or URL. nil: no message is
	// escalated. The caller closes it, after Close.
	Store store.Store
	// MessageAge is how long Store keeps messages. 0: 7 days.
	MessageAge time.Duration
	// MaxEscalations bounds the messages that are to be escalated, in bytes: about 250 for
	// each. 0: 64 MiB.
	MaxEscalations int64
	// Logger; nil: slog.Default().
	Logger *slog.Logger

	transport http.RoundTripper // of tests; nil: the network
}

// maxGrace is far above the time that a client takes to reconnect.
const maxGrace = 24 * time.Hour

// Validate returns the error with which Open would reject cfg, without using the network. An
// error in a field has a method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error {
	_, err := cfg.validate()
	return err
}

// validate fills in defaults, and returns the webhooks, or what is wrong with cfg.
func (cfg *Config) validate() (hooks []*hook, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var errs []error
	if len(cfg.Secrets) == 0 {
		errs = append(errs, field.Errorf("Secrets", "is empty: requests must be signed"))
	}
	if cfg.Node == "" {
		errs = append(errs, field.Errorf("Node", "is empty"))
	}
	if cfg.OfflineGrace < 0 || cfg.OfflineGrace > maxGrace {
		errs = append(errs, field.Errorf("OfflineGrace", "is %v: want 0s to %v", cfg.OfflineGrace, maxGrace))
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.MaxBytes < 1<<20 || cfg.MaxBytes > 1<<40 {
		errs = append(errs, field.Errorf("MaxBytes", "is %d: want 1 MiB to 1 TiB", cfg.MaxBytes))
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 24 * time.Hour
	}
	if cfg.MaxAge < time.Minute {
		errs = append(errs, field.Errorf("MaxAge", "is %v: want at least 1m", cfg.MaxAge))
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.Timeout < 100*time.Millisecond || cfg.Timeout > 5*time.Minute {
		errs = append(errs, field.Errorf("Timeout", "is %v: want 100ms to 5m", cfg.Timeout))
	}
	if cfg.MessageAge == 0 {
		cfg.MessageAge = 7 * 24 * time.Hour
	}
	if cfg.MaxEscalations == 0 {
		cfg.MaxEscalations = 64 << 20
	}
	if cfg.MaxEscalations < 1<<10 {
		errs = append(errs, field.Errorf("MaxEscalations", "is %d: want at least 1 KiB", cfg.MaxEscalations))
	}
	if cfg.Store != nil && cfg.Dir == "" && cfg.URL == "" {
		errs = append(errs, field.Errorf("Store", "needs Dir or URL, which store what is to be escalated"))
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	switch {
	case cfg.URL != "" && cfg.Dir != "":
		errs = append(errs, field.Errorf("Dir", "and URL exclude each other"))
	case cfg.URL != "":
		if err := natsconn.Validate(cfg.nats()); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.CA != "" {
		if _, err := os.Stat(cfg.CA); err != nil {
			errs = append(errs, field.Errorf("CA", "cannot be read: %w", err))
			cfg.CA = ""
		}
	}
	for _, h := range cfg.Hooks {
		made, err := cfg.hook(h)
		switch {
		case err != nil:
			errs = append(errs, err)
		case slices.ContainsFunc(hooks, func(other *hook) bool { return other.id == made.id }):
			errs = append(errs, field.Errorf("Hooks", "has %s twice: give its events together", h.shown()))
		default:
			hooks = append(hooks, made)
		}
	}
	if len(errs) > 0 {
		return nil, field.Wrapf("webhook: %w", errors.Join(errs...))
	}
	return hooks, nil
}

func (cfg *Config) nats() natsconn.Config {
	return natsconn.Config{URL: cfg.URL, Credentials: cfg.Credentials, CA: cfg.CAs, Cert: cfg.Cert, Key: cfg.Key,
		Name: "fanfare webhooks " + cfg.Node, Role: "webhook", Logger: cfg.Logger}
}

// shown is the URL without what may be secret: paths and queries of webhooks may have tokens.
func (h Hook) shown() string {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" {
		return "a URL without a host"
	}
	return u.Scheme + "://" + u.Host
}

// Kinds returns the kinds of events that the webhook is told of.
func (h Hook) Kinds() ([]server.EventKind, error) {
	if len(h.Events) == 0 {
		return slices.DeleteFunc(server.EventKinds(), func(k server.EventKind) bool { return k == server.MessageReceived }), nil
	}
	var kinds []server.EventKind
	for _, name := range h.Events {
		prefix, many := strings.CutSuffix(name, "*")
		found := false
		for _, k := range server.EventKinds() {
			if k.String() == name || many && strings.HasPrefix(k.String(), prefix) {
				kinds, found = append(kinds, k), true
			}
		}
		if !found {
			var names []string
			for _, k := range server.EventKinds() {
				names = append(names, k.String())
			}
			return nil, field.Errorf("Hooks", "has the unknown event %q: want %s, or a prefix such as user.*", name, strings.Join(names, ", "))
		}
	}
	return kinds, nil
}

// hook is a Hook in use.
type hook struct {
	id     string // of the URL: names the queue
	name   string // for logs and metrics
	url    string
	kinds  uint32 // a bit for each server.EventKind
	client *http.Client
}

// hook checks a webhook.
func (cfg *Config) hook(h Hook) (*hook, error) {
	target := callout.Target{URL: h.URL, CA: cfg.CA, InsecureHTTP: cfg.InsecureHTTP}
	if strings.HasPrefix(h.URL, "http:") {
		target.CA = "" // is for the other webhooks
	}
	client, err := target.Client(1)
	if errors.Is(err, callout.ErrPlain) {
		return nil, field.Errorf("InsecureHTTP", "is not set, and the webhook %s is not on this machine: events have names of users; want https", h.shown())
	}
	if err != nil {
		return nil, field.Errorf("Hooks", "has %s: %w", h.shown(), err)
	}
	kinds, err := h.Kinds()
	if err != nil {
		return nil, err
	}
	if cfg.transport != nil {
		client.Transport = cfg.transport
	}
	sum := sha256.Sum256([]byte(h.URL))
	u, _ := url.Parse(h.URL) // Client has parsed it
	made := &hook{id: hex.EncodeToString(sum[:6]), url: h.URL, client: client}
	made.name = u.Host + "-" + made.id
	for _, k := range kinds {
		made.kinds |= 1 << k
	}
	return made, nil
}

func (h *hook) wants(k server.EventKind) bool { return h.kinds>>k&1 != 0 }
