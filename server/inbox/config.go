package inbox

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Config of a Store. Zero is the safe default of every field but Dir and URL,
// of which exactly one is given.
type Config struct {
	// Dir is where the embedded NATS server keeps its files. One process has it.
	Dir string
	// URL of an outside NATS cluster with JetStream: "nats://a,nats://b".
	URL string
	// Credentials is a file for an outside NATS that wants one.
	Credentials string
	// CA, Cert and Key are PEM files for TLS with an outside NATS. CA alone
	// checks the server, Cert and Key present this client.
	CA, Cert, Key string
	// Replicas of each message in an outside cluster; streams that have more keep
	// them. 0: 1.
	Replicas int

	// Messages and Bytes bound what is kept for one user or topic. 0: 1,000
	// messages, 1 MiB of payloads.
	Messages int
	Bytes    int64
	// Age is how long anything is kept. 0: 7 days.
	Age time.Duration
	// Disk bounds all messages together. 0: 4 GiB.
	Disk int64
	// UserFull says what happens when Messages or Bytes are reached; zero drops
	// the user's oldest.
	UserFull WhenFull
	// DiskFull says what happens when Disk is reached; zero refuses.
	DiskFull WhenFull
	// Window is how long an Append with the same ID is recognized, at most Age.
	// 0: 2 minutes.
	Window time.Duration
	// Sync is how often files of the embedded server are flushed to the disk,
	// which is what a power cut can cost; a process that is killed loses
	// nothing. 0: 1 s. Negative: before every Append returns.
	Sync time.Duration

	// Timeout of one operation. 0: 5 s.
	Timeout time.Duration
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// WhenFull is what happens at a limit.
type WhenFull uint8

const (
	FullDefault    WhenFull = iota
	FullDropOldest          // the oldest make room
	FullRefuse              // Append returns ErrFull
)

// ParseWhenFull reads "drop-oldest" or "refuse".
func ParseWhenFull(s string) (WhenFull, error) {
	switch s {
	case "drop-oldest":
		return FullDropOldest, nil
	case "refuse":
		return FullRefuse, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want drop-oldest or refuse", s)
}

// schemes that the client of NATS speaks; it takes others for nats.
var schemes = []string{"nats", "tls", "ws", "wss"}

func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.UserFull == FullDefault {
		cfg.UserFull = FullDropOldest
	}
	if cfg.DiskFull == FullDefault {
		cfg.DiskFull = FullRefuse
	}
	var errs []error
	if (cfg.Dir == "") == (cfg.URL == "") {
		errs = append(errs, errors.New("want either Dir, for an embedded store, or URL, for an outside one"))
	}
	if cfg.UserFull == FullRefuse && cfg.DiskFull == FullDropOldest {
		// JetStream has one rule for both limits where a user's is to refuse.
		errs = append(errs, errors.New("UserFull refuse does not go with DiskFull drop-oldest"))
	}
	for at := range strings.SplitSeq(cfg.URL, ",") {
		if scheme, _, ok := strings.Cut(at, "://"); ok && !slices.Contains(schemes, strings.TrimSpace(scheme)) {
			errs = append(errs, fmt.Errorf("URL has the scheme %q: want one of %s, as in nats://host:4222", scheme, strings.Join(schemes, ", ")))
		}
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		errs = append(errs, errors.New("want both Cert and Key, or neither"))
	}
	def(&cfg.Replicas, 1)
	def(&cfg.Messages, 1000)
	def(&cfg.Bytes, 1<<20)
	def(&cfg.Age, 7*24*time.Hour)
	def(&cfg.Disk, 4<<30)
	def(&cfg.Window, min(2*time.Minute, cfg.Age))
	def(&cfg.Sync, time.Second)
	def(&cfg.Timeout, 5*time.Second)
	for _, f := range []struct {
		name         string
		v, low, high int64
	}{
		{"Replicas", int64(cfg.Replicas), 1, 5},
		{"Messages", int64(cfg.Messages), 1, 1 << 30},
		{"Bytes", cfg.Bytes, 1 << 10, 1 << 40},
		{"Disk", cfg.Disk, 1 << 20, 1 << 50},
	} {
		if f.v < f.low || f.v > f.high {
			errs = append(errs, fmt.Errorf("%s is %d: want %d to %d", f.name, f.v, f.low, f.high))
		}
	}
	for _, f := range []struct {
		name         string
		v, low, high time.Duration
	}{
		{"Age", cfg.Age, time.Second, 10 * 365 * 24 * time.Hour},
		{"Window", cfg.Window, 100 * time.Millisecond, cfg.Age},
		{"Timeout", cfg.Timeout, 10 * time.Millisecond, time.Minute},
	} {
		if f.v < f.low || f.v > f.high {
			errs = append(errs, fmt.Errorf("%s is %v: want %v to %v", f.name, f.v, f.low, f.high))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("inbox: %w", errors.Join(errs...))
	}
	return nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
