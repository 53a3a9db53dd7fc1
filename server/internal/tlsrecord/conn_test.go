package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"unsafe"
)

func TestRoundTrip(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		server, client := pair(t, suite)
		for _, n := range []int{1, 2, 125, MaxPlaintext - 1, MaxPlaintext, MaxPlaintext + 1, 3*MaxPlaintext + 7} {
			text := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
			for name, ends := range map[string][2]*Conn{"to the server": {client, server}, "to the client": {server, client}} {
				wire := ends[0].seal(text)
				if want := n + (n+MaxPlaintext-1)/MaxPlaintext*Overhead; len(wire) != want {
					t.Errorf("%d bytes %s become %d, want %d", n, name, len(wire), want)
				}
				plain, rest, err := ends[1].open(wire)
				if !bytes.Equal(plain, text) || len(rest) > 0 || err != nil {
					t.Fatalf("%d bytes %s: got %d, rest %d, %v", n, name, len(plain), len(rest), err)
				}
			}
		}
	})
}

// Records that are cut at any byte are opened when the rest comes.
func TestCutAnywhere(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		_, client := pair(t, suite)
		wire := client.seal([]byte("first"))
		wire = append(wire, client.seal([]byte("second"))...)
		wire = append(wire, client.sealKeyUpdate(noCache, noon, nil, updateRequested)...)
		wire = append(wire, client.seal([]byte("third"))...)
		for cut := range len(wire) + 1 {
			server, _ := pair(t, suite)
			first, rest, err := server.open(wire[:cut])
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			got := bytes.Clone(first)
			second, rest, err := server.open(append(bytes.Clone(rest), wire[cut:]...))
			if got = append(got, second...); string(got) != "firstsecondthird" || len(rest) > 0 || err != nil {
				t.Fatalf("cut at %d: %q, rest %d, %v", cut, got, len(rest), err)
			}
		}
		// Byte for byte.
		server, _ := pair(t, suite)
		var got, held []byte
		for _, b := range wire {
			plain, rest, err := server.Open(noCache, noon, append(held, b))
			if err != nil {
				t.Fatal(err)
			}
			got, held = append(got, plain...), bytes.Clone(rest)
		}
		if string(got) != "firstsecondthird" {
			t.Errorf("byte for byte: %q", got)
		}
	})
}

func TestInitRejects(t *testing.T) {
	secret := make([]byte, 32)
	for _, tt := range []struct {
		suite       uint16
		read, write []byte
		want        string
	}{
		{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, secret, secret, "TLS_RSA_WITH_AES_128_GCM_SHA256 is not a cipher suite of TLS 1.3"},
		{tls.TLS_AES_256_GCM_SHA384, secret, secret, "has 32 bytes: want 48"},
		{tls.TLS_AES_128_GCM_SHA256, secret, nil, "has 0 bytes: want 32"},
	} {
		if err := new(Conn).Init(tt.suite, tt.read, tt.write); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Init(%x, %d bytes, %d bytes) = %v, want %q", tt.suite, len(tt.read), len(tt.write), err, tt.want)
		}
	}
}

// After an error nothing is opened any more, and plaintext before it is returned.
func TestErrorsStay(t *testing.T) {
	server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
	good, bad, later := client.seal([]byte("good")), client.seal([]byte("bad")), client.seal([]byte("later"))
	bad[len(bad)-1] ^= 1
	plain, rest, err := server.open(append(append(good, bad...), later...))
	var e *Error
	if string(plain) != "good" || rest != nil || !errors.As(err, &e) || e.Alert != BadRecordMAC {
		t.Fatalf("Open = %q, %q, %v", plain, rest, err)
	}
	if plain, rest, again := server.open(later); len(plain)+len(rest) > 0 || !server.Over() || again.Error() != err.Error() {
		t.Errorf("Open afterwards = %q, %q, %v", plain, rest, again)
	}
}

func TestErase(t *testing.T) {
	server, _ := pair(t, tls.TLS_AES_256_GCM_SHA384)
	server.Erase()
	if len(bytes.Trim(server.secrets[:], "\x00")) > 0 || server.in.iv != [ivLen]byte{} || server.out.iv != [ivLen]byte{} {
		t.Error("secrets are left")
	}
}

// Skip finds the records that were sent with the application traffic secret.
func TestSkip(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		for tickets := range 3 {
			server, client := pair(t, suite)
			sender, _ := pair(t, suite)
			other, _ := pair(t, suite)
			other.update(&other.out) // stands for the handshake's key
			sent := []byte{typeHandshake, 3, 3, 0, 3, 1, 2, 3, typeChangeCipherSpec, 3, 3, 0, 1, 1}
			for _, n := range []int{6, 900, 5000, 100, 36} {
				sent = append(sent, other.sealType(typeHandshake, make([]byte, n))...)
			}
			var late []byte
			for range tickets {
				late = append(late, sender.sealType(typeHandshake, make([]byte, 120))...)
			}
			if n := server.Skip(append(sent, late...)); n != tickets {
				t.Errorf("Skip = %d, want %d", n, tickets)
			}
			client.in.seq = uint64(tickets)
			if plain, _, err := client.open(server.seal([]byte("hello"))); string(plain) != "hello" {
				t.Errorf("after %d tickets: %q, %v", tickets, plain, err)
			}
		}
	})
}

// TestSize pins what an idle connection keeps, with a reason for each field.
func TestSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are for 64 bits")
	}
	var c Conn
	for _, p := range []struct {
		name       string
		size, want uintptr
	}{
		{"in: sequence number 8, IV 12, when an AEAD was built 4", unsafe.Sizeof(c.in), 24},
		{"out: likewise", unsafe.Sizeof(c.out), 24},
		{"secrets: secret 32 and key 16 of AES-128, or secret 48 of AES-256, for each direction", unsafe.Sizeof(c.secrets), 96},
		{"suite 1, over 1, alert 1, useless 1, partial 1, updatesAt 4, owesUpdate 4", unsafe.Offsetof(c.in) - unsafe.Offsetof(c.suite), 16},
		{"kept: AEADs of a busy connection", unsafe.Sizeof(c.kept), 8},
		{"all", unsafe.Sizeof(c), 168},
	} {
		if p.size != p.want {
			t.Errorf("%s: %d bytes, want %d", p.name, p.size, p.want)
		}
	}
}

// The keys of AES-128 are stored, those of other suites are derived when they are needed.
func TestStoredKey(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		c, _ := pair(t, suite)
		stored := c.storedKey(&c.in)
		if (stored != nil) != (suite == tls.TLS_AES_128_GCM_SHA256) {
			t.Fatalf("%d bytes of key are stored", len(stored))
		}
		if stored != nil && !bytes.Equal(stored, c.deriveKey(&c.in)) {
			t.Error("the stored key is not the derived one")
		}
	})
}

func TestCloseNotifyEndsTheStream(t *testing.T) {
	server, client := pair(t, tls.TLS_CHACHA20_POLY1305_SHA256)
	wire := client.seal([]byte("last"))
	wire = client.SealAlert(noCache, noon, wire, CloseNotify)
	wire = append(wire, "ignored"...)
	plain, rest, err := server.open(wire)
	if string(plain) != "last" || rest != nil || err != io.EOF {
		t.Errorf("Open = %q, %q, %v", plain, rest, err)
	}
	// Section 6.1: the other direction goes on.
	if plain, _, err := client.open(server.seal([]byte("answer"))); string(plain) != "answer" || err != nil {
		t.Errorf("answer: %q, %v", plain, err)
	}
}
