package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"fanfare/server/internal/limit"
	"fanfare/server/internal/tlsrecord"
)

// The garbage of many handshakes is collected once, when it has been quiet for a while.
func TestGarbage(t *testing.T) {
	var g garbage
	handshakes := int64(0)
	sweeps := func(n int) (due int) {
		for range n {
			if g.due(handshakes) {
				due++
			}
		}
		return due
	}
	for _, step := range []struct {
		name   string
		more   int64
		sweeps int
		want   int
	}{
		{"few handshakes", minHandshakes - 1, 100, 0},
		{"one more, a moment ago", 1, quietSweeps, 0},
		{"quiet now", 0, 1, 1},
		{"quiet for long", 0, 100, 0},
		{"few again", 10, 100, 0},
		{"many", minHandshakes, 100, 1},
	} {
		handshakes += step.more
		if n := sweeps(step.sweeps); n != step.want {
			t.Errorf("%s: %d collections, want %d", step.name, n, step.want)
		}
	}
	busy := 0
	for range 100 { // never quiet
		handshakes += 1000
		busy += sweeps(2)
	}
	if busy != 0 {
		t.Errorf("%d collections while handshakes go on", busy)
	}
}

// The keys of session tickets change every day, and the last seven are accepted.
func TestTicketKeys(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(Config{
		TLS: &tls.Config{}, Memory: new(limit.Memory), Tick: func() uint32 { return 1 },
		Start: func(fn func()) { go fn() }, Time: func() time.Time { return now },
	})
	first := s.keys[0]
	for day := range 10 {
		s.config()
		if want := min(day+1, maxTicketKeys); len(s.keys) != want {
			t.Errorf("day %d: %d keys, want %d", day, len(s.keys), want)
		}
		if known := s.keys[len(s.keys)-1] == first; known != (day < maxTicketKeys) {
			t.Errorf("day %d: the first key is known: %v", day, known)
		}
		now = now.Add(ticketKeyLife - 1)
		if newest := s.keys[0]; s.config() == nil || s.keys[0] != newest {
			t.Errorf("day %d: the key changes early", day)
		}
		now = now.Add(1)
	}
	old := s.keys[0]
	s.SetConfig(&tls.Config{})
	if len(s.keys) != 1 || s.keys[0] == old {
		t.Error("a new configuration keeps a key of the old one")
	}
}

func TestReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errHTTP, "plain_http"},
		{errNotTLS, "not_tls"},
		{tls.RecordHeaderError{}, "not_tls"},
		{io.EOF, "connection_ended"},
		{fmt.Errorf("tls: %w", io.ErrUnexpectedEOF), "connection_ended"},
		{errNoMemory, "memory"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "client_alert"},
		{errors.New("tls: client didn't provide a certificate"), "client_certificate"},
		{&tls.CertificateVerificationError{Err: errors.New("x")}, "client_certificate"},
		{errors.New("tls: client offered only unsupported versions: [301]"), "version"},
		{errors.New("tls: no cipher suite supported by both client and server"), "other"},
		{&notAllowedError{errors.New("too many handshakes")}, "limit"},
		{errors.New("no certificate available"), "other"}, // of GetCertificate
	} {
		if got := Reason(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

// The alert that ends a connection depends on why it ends.
func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		why  error
		want tlsrecord.Alert
		none bool
	}{
		{nil, tlsrecord.CloseNotify, false},
		{io.EOF, tlsrecord.CloseNotify, false},
		{&tlsrecord.Error{Alert: tlsrecord.BadRecordMAC}, tlsrecord.BadRecordMAC, false},
		{errNoMemory, tlsrecord.InternalError, false},
		{&tlsrecord.PeerAlert{Alert: tlsrecord.BadRecordMAC}, 0, true},
	} {
		l := &Layer{service: &Service{memory: new(limit.Memory), tick: func() uint32 { return 1 }}}
		secret := make([]byte, 32)
		if err := l.rec.Init(tls.TLS_AES_128_GCM_SHA256, secret, secret); err != nil {
			t.Fatal(err)
		}
		got := l.End(nil, tt.why)
		if tt.none {
			if len(got) > 0 {
				t.Errorf("%v: %d bytes, want none", tt.why, len(got))
			}
			continue
		}
		var peer tlsrecord.Conn
		peer.Init(tls.TLS_AES_128_GCM_SHA256, secret, secret)
		_, _, err := peer.Open(new(tlsrecord.Cache), 1, got)
		var alert *tlsrecord.PeerAlert
		if tt.want == tlsrecord.CloseNotify && err != io.EOF || tt.want != tlsrecord.CloseNotify && (!errors.As(err, &alert) || alert.Alert != tt.want) {
			t.Errorf("%v: the peer gets %v, want %v", tt.why, err, tt.want)
		}
		l.Release()
	}
}
