package inbox

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
)

// Config configures a Store. Zero is the safe default of every field but Dir and URL,
// exactly one of which is required.
type Config struct {
	// Dir is where the embedded NATS server stores its files. It belongs to one
	// process at a time.
	Dir string
	// AcceptLoss opens an embedded store although messages that were accepted are
	// missing from Dir. What is missing is logged, and readers get a gap.
	AcceptLoss bool

	// URL of an outside NATS cluster with JetStream: "nats://a:4222,nats://b:4222".
	URL string
	// Credentials is a credentials file for an outside NATS.
	Credentials string
	// CA, Cert and Key are PEM files for TLS with an outside NATS: CA verifies the
	// servers, Cert and Key authenticate this client.
	CA, Cert, Key string
	// Replicas of each message in an outside cluster; a stream that has more keeps
	// them. 0: 1.
	Replicas int

	// Messages and Bytes limit what is stored for one user or topic. 0: 1,000
	// messages, 1 MiB of payloads.
	Messages int
	Bytes    int64
	// MaxPayload is the longest payload, in bytes, that the program is going to append,
	// if it bounds them. Open logs if NATS does not accept that. 0: not known.
	MaxPayload int64
	// Age is how long a message is stored. 0: 7 days.
	Age time.Duration
	// Disk limits the messages of all users together, and those of all topics
	// together. A store in which more is stored does not open, unless DiskFull removes
	// the oldest. 0: 4 GiB.
	Disk int64
	// Positions limits all acknowledged positions together. Positions of topics
	// may use half of it. When it is reached, new positions are rejected with
	// ErrFull, and existing ones are still updated. 0: a sixteenth of Disk, at
	// least 1 MiB. A position takes about 100 bytes.
	Positions int64
	// UserFull says what happens when Messages or Bytes are reached; zero removes
	// the oldest messages of the box.
	UserFull WhenFull
	// DiskFull says what happens when Disk is reached; zero rejects.
	DiskFull WhenFull
	// Window is the time within which a repeated ID is recognized, at most Age.
	// 0: 2 minutes.
	Window time.Duration
	// Sync is how often the files of the embedded server are flushed to the disk,
	// and so what a power cut can cost; a process that is killed loses nothing.
	// 0: 1 s; otherwise 10 ms to an hour. Negative: before each append returns.
	Sync time.Duration

	// Timeout of one operation. 0: 5 s.
	Timeout time.Duration
	// StopTimeout is how long the embedded server may take to stop before Store.Hung
	// reports it: longer than a slow disk takes to flush what is in memory. 0: 20 s.
	StopTimeout time.Duration
	// FieldName returns what the program calls a field of Config, for log lines; see
	// server.Config.FieldName. nil: "Config." followed by the field's name.
	FieldName func(field string) string
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// WhenFull says what happens at a limit.
type WhenFull uint8

const (
	FullDefault    WhenFull = iota
	FullDropOldest          // the oldest messages are removed
	FullReject              // the append returns ErrFull
)

// ParseWhenFull reads "drop-oldest" or "reject".
func ParseWhenFull(s string) (WhenFull, error) {
	switch s {
	case "drop-oldest":
		return FullDropOldest, nil
	case "reject":
		return FullReject, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want drop-oldest or reject", s)
}

// minPositions is the least default of Config.Positions.
const minPositions = 1 << 20

// Validate returns the error with which Open would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	var errs []error
	switch {
	case cfg.Dir == "" && cfg.URL == "":
		errs = append(errs, errors.New("want Dir, for an embedded store, or URL, for an outside one"))
	case cfg.Dir != "" && cfg.URL != "":
		errs = append(errs, field.Errorf("Dir", "and URL are both set: want Dir, for an embedded store, or URL, for an outside one"))
	case cfg.URL != "":
		if err := natsconn.Validate(cfg.nats()); err != nil {
			errs = append(errs, err)
		}
		if cfg.AcceptLoss {
			errs = append(errs, field.Errorf("AcceptLoss", "concerns an embedded store only"))
		}
	case cfg.Credentials != "" || cfg.CA != "" || cfg.Cert != "" || cfg.Key != "" || cfg.Replicas > 1:
		errs = append(errs, field.Errorf("Credentials", "(and CA, Cert, Key and Replicas) concern an outside NATS only"))
	}
	if cfg.UserFull == FullReject && cfg.DiskFull == FullDropOldest {
		// JetStream has one policy for both limits if it is to reject at a user's.
		errs = append(errs, field.Errorf("UserFull", "reject does not go with DiskFull drop-oldest"))
	}
	cfg.setDefaults()
	for _, f := range []struct {
		name         string
		v, low, high int64
	}{
		{"Replicas", int64(cfg.Replicas), 1, 5},
		{"Messages", int64(cfg.Messages), 1, 1 << 30},
		{"Bytes", cfg.Bytes, 1 << 10, 1 << 40},
		{"MaxPayload", cfg.MaxPayload, 0, 1 << 40},
		{"Disk", cfg.Disk, 1 << 20, 1 << 50},
		{"Positions", cfg.Positions, 1 << 16, 1 << 50},
	} {
		if f.v < f.low || f.v > f.high {
			errs = append(errs, field.Errorf(f.name, "is %d: want %d to %d", f.v, f.low, f.high))
		}
	}
	for _, f := range []struct {
		name         string
		v, low, high time.Duration
	}{
		{"Age", cfg.Age, time.Second, 10 * 365 * 24 * time.Hour},
		{"Window", cfg.Window, 100 * time.Millisecond, 10 * 365 * 24 * time.Hour},
		{"Timeout", cfg.Timeout, 10 * time.Millisecond, time.Minute},
		{"StopTimeout", cfg.StopTimeout, 10 * time.Millisecond, time.Hour},
	} {
		if f.v < f.low || f.v > f.high {
			errs = append(errs, field.Errorf(f.name, "is %v: want %v to %v", f.v, f.low, f.high))
		}
	}
	if cfg.Window > cfg.Age {
		errs = append(errs, field.Errorf("Window", "is %v: want at most Age, which is %v", cfg.Window, cfg.Age))
	}
	if cfg.Sync >= 0 && (cfg.Sync < 10*time.Millisecond || cfg.Sync > time.Hour) {
		errs = append(errs, field.Errorf("Sync", "is %v: want 10ms to 1h, or less than 0 for each append", cfg.Sync))
	}
	if len(errs) > 0 {
		return field.Wrapf("inbox: %w", errors.Join(errs...))
	}
	return nil
}

func (cfg *Config) setDefaults() {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	setDefault(&cfg.UserFull, FullDropOldest)
	setDefault(&cfg.DiskFull, FullReject)
	setDefault(&cfg.Replicas, 1)
	setDefault(&cfg.Messages, 1000)
	setDefault(&cfg.Bytes, 1<<20)
	setDefault(&cfg.Age, 7*24*time.Hour)
	setDefault(&cfg.Disk, 4<<30)
	setDefault(&cfg.Positions, max(cfg.Disk/16, minPositions))
	setDefault(&cfg.Window, min(2*time.Minute, cfg.Age))
	setDefault(&cfg.Sync, time.Second)
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.StopTimeout, 20*time.Second)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// nats is the part of the configuration that concerns an outside NATS.
func (cfg *Config) nats() natsconn.Config {
	return natsconn.Config{URL: cfg.URL, Credentials: cfg.Credentials, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key,
		Name: "fanfare inbox", Role: "store", Logger: cfg.Logger}
}
