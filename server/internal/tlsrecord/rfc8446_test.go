package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"testing"
)

// The rules of RFC 8446 for received records, each with its section and the alert that
// answers a violation. 0 with io.EOF and nil are what is permitted.
func TestRFC8446Received(t *testing.T) {
	zeros := func(n int) []byte { return make([]byte, n) }
	data := func(n int) []byte { return append(zeros(n), typeApplicationData) }
	update := func(request byte) []byte { return []byte{handshakeKeyUpdate, 0, 0, 1, request} }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		rule string
		wire func(c *Conn) []byte
		want any // Alert, error or nil
	}{
		{"5 change_cipher_spec after the handshake", func(c *Conn) []byte { return []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1} }, UnexpectedMessage},
		{"5 a protected change_cipher_spec", func(c *Conn) []byte { return c.sealType(typeChangeCipherSpec, []byte{1}) }, UnexpectedMessage},
		{"5 an unexpected record type", func(c *Conn) []byte { return c.sealType(24, []byte{1}) }, UnexpectedMessage},
		{"5 an unprotected alert", func(c *Conn) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, UnexpectedMessage},
		{"5 an unprotected handshake message", func(c *Conn) []byte { return []byte{typeHandshake, 3, 3, 0, 5, 24, 0, 0, 1, 0} }, UnexpectedMessage},
		{"5 not TLS, found out at the first byte", func(c *Conn) []byte { return []byte("G") }, UnexpectedMessage},
		{"5.1 an empty record of application data", func(c *Conn) []byte { return c.sealType(typeApplicationData, nil) }, nil},
		{"5.1 an empty handshake fragment", func(c *Conn) []byte { return c.sealType(typeHandshake, nil) }, UnexpectedMessage},
		{"5.1 two alerts in a record", func(c *Conn) []byte { return c.sealType(typeAlert, []byte{1, 90, 1, 0}) }, DecodeError},
		{"5.1 a part of an alert", func(c *Conn) []byte { return c.sealType(typeAlert, []byte{1}) }, DecodeError},
		{"5.1 a handshake message in fragments", func(c *Conn) []byte {
			return join(c.sealType(typeHandshake, update(0)[:2]), c.sealType(typeHandshake, update(0)[2:]))
		}, nil},
		{"5.1 another type between fragments", func(c *Conn) []byte {
			return join(c.sealType(typeHandshake, update(0)[:2]), c.seal([]byte("x")))
		}, UnexpectedMessage},
		{"5.1 an alert between fragments", func(c *Conn) []byte {
			return join(c.sealType(typeHandshake, update(0)[:2]), c.sealType(typeAlert, []byte{1, 0}))
		}, UnexpectedMessage},
		{"5.1 a message that follows a key change in its record", func(c *Conn) []byte {
			return c.sealType(typeHandshake, append(update(0), update(0)...))
		}, UnexpectedMessage},
		{"5.1 legacy_record_version is ignored", func(c *Conn) []byte { return c.sealInner([3]byte{typeApplicationData, 9, 9}, data(1)) }, nil},
		{"5.2 the header is authenticated", func(c *Conn) []byte {
			b := c.seal([]byte("x"))
			b[1]++
			return b
		}, BadRecordMAC},
		{"5.2 a record that does not decrypt", func(c *Conn) []byte {
			b := c.seal([]byte("x"))
			b[headerLen] ^= 1
			return b
		}, BadRecordMAC},
		{"5.2 a wrong tag", func(c *Conn) []byte {
			b := c.seal([]byte("x"))
			b[len(b)-1] ^= 1
			return b
		}, BadRecordMAC},
		{"5.2 no ciphertext", func(c *Conn) []byte { return []byte{typeApplicationData, 3, 3, 0, 0} }, BadRecordMAC},
		{"5.2 shorter than a tag and a type", func(c *Conn) []byte {
			return append([]byte{typeApplicationData, 3, 3, 0, 16}, zeros(16)...)
		}, BadRecordMAC},
		{"5.2 longer than 2^14+256, found out by the header", func(c *Conn) []byte { return []byte{typeApplicationData, 3, 3, 0x41, 1} }, RecordOverflow},
		{"5.3 a record twice", func(c *Conn) []byte {
			b := c.seal([]byte("x"))
			return join(b, b)
		}, BadRecordMAC},
		{"5.3 a record left out", func(c *Conn) []byte {
			c.seal([]byte("x"))
			return c.seal([]byte("y"))
		}, BadRecordMAC},
		{"5.4 the longest plaintext", func(c *Conn) []byte { return c.sealInner(ordinary, data(MaxPlaintext)) }, nil},
		{"5.4 a longer plaintext", func(c *Conn) []byte { return c.sealInner(ordinary, data(MaxPlaintext+1)) }, RecordOverflow},
		{"5.4 padding up to the longest plaintext", func(c *Conn) []byte {
			return c.sealInner(ordinary, append(data(1), zeros(MaxPlaintext-1)...))
		}, nil},
		{"5.4 padding beyond the longest plaintext", func(c *Conn) []byte {
			return c.sealInner(ordinary, append(data(1), zeros(MaxPlaintext)...))
		}, RecordOverflow},
		{"5.4 nothing but padding", func(c *Conn) []byte { return c.sealInner(ordinary, zeros(100)) }, UnexpectedMessage},
		{"5.4 an empty alert", func(c *Conn) []byte { return c.sealType(typeAlert, nil) }, UnexpectedMessage},
		{"6 the level of an alert is ignored", func(c *Conn) []byte { return c.sealType(typeAlert, []byte{1, byte(BadRecordMAC)}) }, &PeerAlert{BadRecordMAC}},
		{"6 an unknown alert is an error alert", func(c *Conn) []byte { return c.sealType(typeAlert, []byte{1, 200}) }, &PeerAlert{200}},
		{"6.1 close_notify", func(c *Conn) []byte { return c.sealType(typeAlert, []byte{2, 0}) }, io.EOF},
		{"6.1 data after close_notify is ignored", func(c *Conn) []byte {
			return join(c.sealType(typeAlert, []byte{1, 0}), c.seal([]byte("x")), []byte("rubbish"))
		}, io.EOF},
		{"6.1 user_canceled, then close_notify", func(c *Conn) []byte {
			return join(c.sealType(typeAlert, []byte{1, byte(UserCanceled)}), c.sealType(typeAlert, []byte{1, 0}))
		}, io.EOF},
		{"4.6.1 a session ticket from a client", func(c *Conn) []byte { return c.sealType(typeHandshake, []byte{4, 0, 0, 1, 0}) }, UnexpectedMessage},
		{"4.6.2 a certificate that was not asked for", func(c *Conn) []byte { return c.sealType(typeHandshake, []byte{11}) }, UnexpectedMessage},
		{"4.2.10 EndOfEarlyData without early data", func(c *Conn) []byte { return c.sealType(typeHandshake, []byte{5, 0, 0, 0}) }, UnexpectedMessage},
		{"4.6.3 KeyUpdate", func(c *Conn) []byte { return c.sealKeyUpdate(noCache, noon, nil, updateNotRequested) }, nil},
		{"4.6.3 KeyUpdate with another value", func(c *Conn) []byte { return c.sealType(typeHandshake, update(2)) }, IllegalParameter},
		{"4.6.3 KeyUpdate of another length", func(c *Conn) []byte { return c.sealType(typeHandshake, []byte{24, 0, 0, 2, 0, 0}) }, DecodeError},
		{"4.6.3 data with the old key after KeyUpdate", func(c *Conn) []byte {
			return join(c.sealType(typeHandshake, update(0)), c.seal([]byte("x")))
		}, BadRecordMAC},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			everySuite(t, func(t *testing.T, suite uint16) {
				server, client := pair(t, suite)
				plain, _, err := server.open(tt.wire(client))
				var e *Error
				var p *PeerAlert
				switch want := tt.want.(type) {
				case nil:
					if err != nil {
						t.Errorf("Open: %v", err)
					}
				case Alert:
					if !errors.As(err, &e) || e.Alert != want {
						t.Errorf("Open = %q, %v, want the alert %v", plain, err, want)
					}
				case *PeerAlert:
					if !errors.As(err, &p) || *p != *want {
						t.Errorf("Open: %v, want %v", err, want)
					}
				case error:
					if err != want {
						t.Errorf("Open: %v, want %v", err, want)
					}
				}
			})
		})
	}
}

// 4.6.3: a request for a KeyUpdate is answered before the next application data; several
// are answered once; both directions go on with their new keys.
func TestRFC8446KeyUpdate(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		server, client := pair(t, suite)
		old := bytes.Clone(server.secrets[:])
		wire := client.sealKeyUpdate(noCache, noon, nil, updateRequested)
		wire = client.sealKeyUpdate(noCache, noon, wire, updateRequested)
		wire = append(wire, client.seal([]byte("question"))...)
		if plain, _, err := server.open(wire); string(plain) != "question" || err != nil {
			t.Fatalf("Open = %q, %v", plain, err)
		}
		wire = server.seal([]byte("answer"))
		if want := KeyUpdateLen + len("answer") + Overhead; len(wire) != want {
			t.Errorf("the answer has %d bytes, want %d: one KeyUpdate and one record", len(wire), want)
		}
		if plain, _, err := client.open(wire); string(plain) != "answer" || err != nil {
			t.Fatalf("Open = %q, %v", plain, err)
		}
		if len(server.seal([]byte("more"))) != len("more")+Overhead || client.owesUpdate.Load() {
			t.Error("a KeyUpdate without a request")
		}
		half := len(old) / 2
		if bytes.Equal(old[:half], server.secrets[:half]) || bytes.Equal(old[half:], server.secrets[half:]) {
			t.Error("a secret is still the old one")
		}
	})
}

// 4.6.3: KeyUpdates are limited to one a second, 16 at once.
func TestRFC8446KeyUpdateRate(t *testing.T) {
	server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
	now := uint32(1)
	send := func() error {
		wire := client.sealKeyUpdate(noCache, now, nil, updateNotRequested)
		wire = append(wire, client.seal([]byte("x"))...) // not one of many useless records
		_, _, err := server.Open(noCache, now, wire)
		return err
	}
	for i := range updatesAtOnce {
		if err := send(); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
	}
	for range 100 {
		now += updateEvery
		if err := send(); err != nil {
			t.Fatalf("one a second: %v", err)
		}
	}
	var e *Error
	if err := send(); !errors.As(err, &e) || e.Alert != UnexpectedMessage {
		t.Errorf("too many updates: %v", err)
	}
}

// 5.1: empty records are permitted, but not without end.
func TestRFC8446UselessRecords(t *testing.T) {
	server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
	empty := func() error {
		_, _, err := server.open(client.sealType(typeApplicationData, nil))
		return err
	}
	for range 3 {
		for i := range maxUseless {
			if err := empty(); err != nil {
				t.Fatalf("empty record %d: %v", i, err)
			}
		}
		if plain, _, err := server.open(client.seal([]byte("x"))); string(plain) != "x" || err != nil {
			t.Fatalf("%q, %v", plain, err)
		}
	}
	for range maxUseless {
		empty()
	}
	var e *Error
	if err := empty(); !errors.As(err, &e) || e.Alert != UnexpectedMessage {
		t.Errorf("one empty record too many: %v", err)
	}
}

// 5.5: the key is updated before it has encrypted too many records.
func TestRFC8446KeyLimit(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		server, client := pair(t, suite)
		server.out.seq, client.in.seq = rekeyAfter-1, rekeyAfter-1
		for i, want := range []int{1 + Overhead, KeyUpdateLen + 1 + Overhead, 1 + Overhead} {
			wire := server.seal([]byte("x"))
			if len(wire) != want {
				t.Errorf("record %d: %d bytes, want %d", i, len(wire), want)
			}
			if plain, _, err := client.open(wire); string(plain) != "x" || err != nil {
				t.Fatalf("record %d: %q, %v", i, plain, err)
			}
		}
		if server.out.seq != 2 { // 5.3: set to zero with the new key
			t.Errorf("sequence number %d, want 2", server.out.seq)
		}
		// The key also changes within one call.
		server.out.seq, client.in.seq = rekeyAfter-1, rekeyAfter-1
		text := bytes.Repeat([]byte("y"), 3*MaxPlaintext)
		if plain, _, err := client.open(server.seal(text)); !bytes.Equal(plain, text) || err != nil {
			t.Fatalf("%d bytes, %v", len(plain), err)
		}
	})
}

// 5.3: sequence numbers do not wrap.
func TestRFC8446SequenceNumber(t *testing.T) {
	server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
	server.in.seq, client.out.seq = math.MaxUint64-1, math.MaxUint64-1
	if plain, _, err := server.open(client.sealType(typeApplicationData, []byte("x"))); string(plain) != "x" || err != nil {
		t.Fatalf("%q, %v", plain, err)
	}
	var e *Error
	if _, _, err := server.open(client.sealType(typeApplicationData, []byte("x"))); !errors.As(err, &e) || e.Alert != InternalError {
		t.Errorf("Open: %v", err)
	}
}

// 6.1 and 6.2: close_notify is a warning, error alerts are fatal.
func TestRFC8446SentAlerts(t *testing.T) {
	for alert, level := range map[Alert]byte{CloseNotify: levelWarning, UserCanceled: levelWarning, BadRecordMAC: levelFatal, InternalError: levelFatal} {
		server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
		wire := server.SealAlert(noCache, noon, []byte("before"), alert)
		record := wire[len("before"):]
		inner, err := client.build(&client.in).Open(nil, client.in.nonce(), record[headerLen:], record[:headerLen])
		if err != nil || !bytes.Equal(inner, []byte{level, byte(alert), typeAlert}) {
			t.Errorf("%v: % x, %v", alert, inner, err)
		}
	}
}

// 4.6.3: a KeyUpdate without a request changes one direction only, and is not answered.
func TestRFC8446KeyUpdateNotRequested(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		server, client := pair(t, suite)
		before := server.secrets
		wire := client.sealKeyUpdate(noCache, noon, nil, updateNotRequested)
		if plain, _, err := server.open(append(wire, client.seal([]byte("x"))...)); string(plain) != "x" || err != nil {
			t.Fatalf("Open = %q, %v", plain, err)
		}
		if n := len(server.seal([]byte("y"))); n != 1+Overhead {
			t.Errorf("the next record has %d bytes, want %d: no KeyUpdate precedes it", n, 1+Overhead)
		}
		if bytes.Equal(before[:halfLen], server.secrets[:halfLen]) || !bytes.Equal(before[halfLen:], server.secrets[halfLen:]) {
			t.Error("the secrets of the wrong directions have changed")
		}
	})
}

// 5.1: a KeyUpdate in fragments of every length has the same effect as a whole one.
func TestRFC8446FragmentedKeyUpdate(t *testing.T) {
	message := []byte{handshakeKeyUpdate, 0, 0, 1, updateRequested}
	for cut := 1; cut < len(message); cut++ {
		for second := cut; second < len(message); second++ {
			server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
			for _, part := range [][]byte{message[:cut], message[cut:second], message[second:]} {
				if len(part) > 0 {
					if _, _, err := server.open(client.sealType(typeHandshake, part)); err != nil {
						t.Fatalf("cut at %d and %d: %v", cut, second, err)
					}
				}
			}
			client.update(&client.out)
			if plain, _, err := server.open(client.seal([]byte("x"))); string(plain) != "x" || err != nil || !server.owesUpdate.Load() {
				t.Errorf("cut at %d and %d: %q, %v", cut, second, plain, err)
			}
		}
	}
}
