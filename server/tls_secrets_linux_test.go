package server

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fanfare/netpoll"
)

// TestTLSSecretsInHeap: after a busy session has been closed, no object that is in use has one of its secrets or keys, nor has
// the log.
func TestTLSSecretsInHeap(t *testing.T) {
	if raceEnabled {
		t.Skip("a dump of the heap takes seconds with the race detector")
	}
	t.Run("TLS 1.3", func(t *testing.T) { secretsInHeap(t, tls.VersionTLS13) })
	t.Run("TLS 1.2", func(t *testing.T) { secretsInHeap(t, tls.VersionTLS12) })
}

func secretsInHeap(t *testing.T, version uint16) {
	log := new(logBuffer)
	srv := start(t, Config{Transport: netpoll.Epoll, TLS: NewTLS(serverTLS(t)), Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	var secrets inverted
	// The end of the subtest releases the client, which has the same secrets.
	t.Run("session", func(t *testing.T) {
		lines := new(bytes.Buffer)
		cfg := clientTLS(version)
		cfg.KeyLogWriter = lines
		c := dialTLS(t, srv, cfg, "/echo")
		for range 5 { // so that the server keeps the keys
			c.send(Text, "echo")
			c.want(Text, "echo")
		}
		suite := c.Conn.(*tls.Conn).ConnectionState().CipherSuite
		for line := range strings.Lines(lines.String()) {
			f := strings.Fields(line)
			secret, err := hex.DecodeString(f[len(f)-1])
			if err != nil || len(secret) < 32 {
				t.Fatalf("a line of the key log has a secret of %d bytes, %v", len(secret), err)
			}
			if key := trafficKey(t, suite, f[0], secret); key != nil {
				secrets.add(f[0]+"'s key", key)
			}
			secrets.add(strings.Clone(f[0]), secret) // a part of the line would keep all of it
		}
		if found := secrets.in(heap(t)); len(found) == 0 {
			t.Fatal("no secret of an open session is found: the test looks at the wrong place")
		}
	})
	await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
	runtime.GC()
	runtime.GC() // which ends the sweep of the first one
	if found := secrets.in(heap(t)); len(found) > 0 {
		t.Errorf("after the session has been closed, the heap has %q", found)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if found := secrets.in(log.buf.Bytes()); len(found) > 0 {
		t.Errorf("the log has %q", found)
	}
}

// trafficKey returns the key of TLS 1.3 that belongs to a traffic secret of the application, RFC 8446 section 7.3; nil:
// label is that of another secret.
func trafficKey(t *testing.T, suite uint16, label string, secret []byte) []byte {
	t.Helper()
	if !strings.HasSuffix(label, "_TRAFFIC_SECRET_0") {
		return nil
	}
	newHash, n := sha256.New, 16
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384:
		newHash, n = sha512.New384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		n = 32
	}
	key, err := hkdf.Expand(newHash, secret, string([]byte{0, byte(n), 9})+"tls13 key\x00", n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// heap dumps the objects of the heap that are in use, globals and stacks.
func heap(t *testing.T) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// Not in the heap, where the next dump would find it.
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return b
}

// inverted are secrets by name, which are in memory only with all bits inverted.
type inverted map[string][]byte

// add takes a secret, and overwrites it.
func (s *inverted) add(name string, secret []byte) {
	if *s == nil {
		*s = inverted{}
	}
	(*s)[name] = flip(bytes.Clone(secret))
	clear(secret)
}

// in returns the names of the secrets that b has, as bytes or in hexadecimal.
func (s inverted) in(b []byte) (found []string) {
	for name, secret := range s {
		flip(secret)
		text := []byte(hex.EncodeToString(secret))
		if bytes.Contains(b, secret) || bytes.Contains(b, text) || bytes.Contains(b, bytes.ToUpper(text)) {
			found = append(found, name)
		}
		clear(text)
		flip(secret)
	}
	return found
}

// flip inverts b in place.
func flip(b []byte) []byte {
	for i := range b {
		b[i] ^= 0xff
	}
	return b
}
