package messagenats

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
)

// Answer is what a Subject waits for.
type Answer int

const (
	Reply     Answer = iota // of a program
	Stored                  // in a stream
	Published               // read by the NATS server
)

var answers = [...]string{"reply", "stored", "published"}

func (a Answer) String() string { return answers[a] }

// ParseAnswer returns the Answer with a name: reply, stored or published.
func ParseAnswer(name string) (Answer, error) {
	for a, n := range answers {
		if n == name {
			return Answer(a), nil
		}
	}
	return 0, errors.New("want reply, stored or published")
}

// Config configures a Subject. URL and Subject are required; the zero value of any other field
// selects its default.
type Config struct {
	// URL is a comma-separated list of servers of a NATS cluster.
	URL string
	// Credentials is a file with a user's JWT and seed.
	Credentials string
	// CA is a PEM file of the authorities that sign the certificates of servers. Cert and
	// Key are PEM files that authenticate this client.
	CA, Cert, Key string
	// Name of the connection in the monitoring of NATS.
	Name string
	// Subject that messages are published to, without wildcards.
	Subject string
	// Answer is what is waited for.
	Answer Answer
	// Timeout bounds the time for it. 0: 5 s.
	Timeout time.Duration
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

const (
	defaultTimeout = 5 * time.Second
	maxTimeout     = 5 * time.Minute
	maxSubject     = 256
)

// Validate returns the error with which Open would reject cfg. It neither reads files nor uses
// the network. An error in a field has a method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

// validate fills in defaults.
func (cfg *Config) validate() error {
	var errs []error
	if err := natsconn.Validate(cfg.nats()); err != nil {
		errs = append(errs, err)
	}
	if err := checkSubject(cfg.Subject); err != nil {
		errs = append(errs, err)
	}
	if cfg.Answer < Reply || cfg.Answer > Published {
		errs = append(errs, field.Errorf("Answer", "is %d: want Reply, Stored or Published", int(cfg.Answer)))
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Timeout < 0 || cfg.Timeout > maxTimeout {
		errs = append(errs, field.Errorf("Timeout", "is %v: want at most %v", cfg.Timeout, maxTimeout))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if len(errs) > 0 {
		return field.Wrapf("messagenats: %w", errors.Join(errs...))
	}
	return nil
}

// checkSubject rejects invalid subjects, and subjects of NATS and of this program, which messages
// of clients must not reach.
func checkSubject(s string) error {
	switch {
	case s == "":
		return field.Errorf("Subject", "is required")
	case len(s) > maxSubject:
		return field.Errorf("Subject", "has %d bytes: want at most %d", len(s), maxSubject)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '*' || r == '>' }):
		return field.Errorf("Subject", "is %q: want printable ASCII without spaces, * and >", s)
	case strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, ".."):
		return field.Errorf("Subject", "is %q: want words separated by single dots", s)
	}
	for _, prefix := range []string{"$", "_INBOX.", "fanfare."} {
		if strings.HasPrefix(s, prefix) {
			return field.Errorf("Subject", "is %q: subjects that begin with %s are not for messages of clients", s, prefix)
		}
	}
	return nil
}

func (cfg *Config) nats() natsconn.Config {
	return natsconn.Config{URL: cfg.URL, Credentials: cfg.Credentials, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key,
		Name: cfg.Name, Role: "messages", Logger: cfg.Logger}
}
