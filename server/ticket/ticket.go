package ticket

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"fanfare/server"
	"fanfare/server/internal/field"
)

// Config configures Tickets.
type Config struct {
	// Keys are secrets that all nodes share, each of at least MinKey bytes, at most MaxKeys. Empty: a random one,
	// which no other process knows.
	Keys [][]byte
	// Age bounds the time from the proof of an identity to the end of its tickets. 0: DefaultAge.
	Age time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

const (
	// MinKey is the least length of a key, in bytes: as many as the derived key has.
	MinKey = 32
	// MaxKeys bounds the keys: a ticket that no key opens is tried with all of them.
	MaxKeys = 4
	// MaxLength bounds a ticket, in bytes. It leaves room for the rest of a handshake in a request of 8 KiB, and
	// for topics in a URL of 4,000 bytes.
	MaxLength = 2 << 10

	// DefaultAge is how long tickets are valid without Config.Age.
	DefaultAge = time.Hour
	// MaxAge bounds Config.Age: a ticket is a credential.
	MaxAge = 30 * 24 * time.Hour
)

// Validate returns the error with which New would reject cfg. It contains no key.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	if cfg.Age == 0 {
		cfg.Age = DefaultAge
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Age < time.Second || cfg.Age > MaxAge {
		return field.Wrapf("ticket: %w", field.Errorf("Age", "is %v: want 1s to %v", cfg.Age, MaxAge))
	}
	return checkKeys(cfg.Keys)
}

func checkKeys(keys [][]byte) error {
	if len(keys) > MaxKeys {
		return field.Wrapf("ticket: %w", field.Errorf("Keys", "has %d keys: want at most %d", len(keys), MaxKeys))
	}
	for i, key := range keys {
		if len(key) < MinKey {
			return field.Wrapf("ticket: %w", field.Errorf("Keys", "has %d bytes in its key %d: want at least %d", len(key), i+1, MinKey))
		}
	}
	return nil
}

// Tickets issues and opens tickets. It implements server.Tickets, and is safe for concurrent
// use.
type Tickets struct {
	now   func() time.Time
	age   atomic.Int64 // nanoseconds
	seals atomic.Pointer[[]cipher.AEAD]

	issued, unfit                    atomic.Int64
	accepted, expired, other, opaque atomic.Int64
}

var _ server.Tickets = (*Tickets)(nil)

// New returns Tickets.
func New(cfg Config) (*Tickets, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Tickets{now: cfg.Now}
	if len(cfg.Keys) == 0 {
		key := make([]byte, MinKey)
		rand.Read(key)
		cfg.Keys = [][]byte{key}
	}
	t.age.Store(int64(cfg.Age))
	return t, t.useKeys(cfg.Keys)
}

// SetConfig replaces keys and age for tickets from now on. Without Keys those in force stay.
func (t *Tickets) SetConfig(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	if len(cfg.Keys) > 0 {
		if err := t.useKeys(cfg.Keys); err != nil {
			return err
		}
	}
	t.age.Store(int64(cfg.Age))
	return nil
}

func (t *Tickets) useKeys(keys [][]byte) error {
	var seals []cipher.AEAD
	for _, key := range keys {
		derived, err := hkdf.Key(sha256.New, key, nil, "fanfare resume ticket v1", chacha20poly1305.KeySize)
		if err != nil {
			return fmt.Errorf("ticket: derive a key: %w", err)
		}
		seal, err := chacha20poly1305.NewX(derived)
		if err != nil {
			return fmt.Errorf("ticket: use a key: %w", err)
		}
		seals = append(seals, seal)
	}
	t.seals.Store(&seals)
	return nil
}

// version is the first byte of a ticket, and changes with the encoding.
const version = 1

// encoding is for URLs. It is strict, so that a ticket has one spelling.
var encoding = base64.RawURLEncoding.Strict()

const overhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// Issue implements server.Tickets.
func (t *Tickets) Issue(path string, id *server.Identity) string {
	now := t.now()
	until := now.Add(time.Duration(t.age.Load()))
	for _, end := range []time.Time{id.Expires, id.ValidUntil} {
		if !end.IsZero() && end.Before(until) {
			until = end
		}
	}
	if !until.After(now) {
		return ""
	}
	plain, ok := encode(id, now, until)
	if !ok || encoding.EncodedLen(overhead+len(plain)) > MaxLength {
		t.unfit.Add(1)
		return ""
	}
	b := make([]byte, 1+chacha20poly1305.NonceSizeX, overhead+len(plain))
	b[0] = version
	nonce := b[1:]
	rand.Read(nonce)
	b = (*t.seals.Load())[0].Seal(b, nonce, plain, bound(path))
	t.issued.Add(1)
	return encoding.EncodeToString(b)
}

// bound is what is authenticated beside the contents.
func bound(path string) []byte { return append([]byte{version}, path...) }

// Restore implements server.Tickets.
func (t *Tickets) Restore(path, ticket string) (id server.Identity, ok bool) {
	plain, ok := t.open(path, ticket)
	if !ok {
		t.opaque.Add(1)
		return id, false
	}
	id, ok = decode(plain)
	switch {
	case !ok:
		t.other.Add(1)
		return server.Identity{}, false
	case !t.now().Before(id.ValidUntil):
		t.expired.Add(1)
		return server.Identity{}, false
	}
	t.accepted.Add(1)
	return id, true
}

// open returns the contents of a ticket.
func (t *Tickets) open(path, ticket string) (plain []byte, ok bool) {
	if len(ticket) > MaxLength || strings.ContainsAny(ticket, "\r\n") { // which base64 ignores
		return nil, false
	}
	b, err := encoding.DecodeString(ticket)
	if err != nil || len(b) < overhead || b[0] != version {
		return nil, false
	}
	nonce, sealed := b[1:1+chacha20poly1305.NonceSizeX], b[1+chacha20poly1305.NonceSizeX:]
	for _, seal := range *t.seals.Load() {
		if plain, err := seal.Open(nil, nonce, sealed, bound(path)); err == nil {
			return plain, true
		}
	}
	return nil, false
}

// EachMetric calls f for each metric, see api.Measured.
func (t *Tickets) EachMetric(f func(name, help, label, value string, n int64)) {
	f("tickets_issued_total", "Resume tickets sent to clients.", "", "", t.issued.Load())
	f("tickets_unfit_total", "Sessions without a resume ticket because it would be too long, or their data is not JSON.", "", "", t.unfit.Load())
	for _, o := range []struct {
		result string
		n      int64
	}{
		{"accepted", t.accepted.Load()}, {"expired", t.expired.Load()}, {"unreadable", t.opaque.Load()}, {"unknown", t.other.Load()},
	} {
		f("tickets_total", "Handshakes with a resume ticket, by result.", "result", o.result, o.n)
	}
}
