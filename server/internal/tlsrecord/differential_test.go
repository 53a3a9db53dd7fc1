package tlsrecord

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// wireTap is the server's end of a handshake: it gives crypto/tls one record at a time, so
// that nothing is read ahead, and keeps what it sends.
type wireTap struct {
	net.Conn
	sent []byte
	left int // of the record that is being read
	head []byte
}

func (w *wireTap) Read(p []byte) (int, error) {
	if w.left > 0 {
		n, err := w.Conn.Read(p[:min(len(p), w.left)])
		w.left -= n
		return n, err
	}
	n, err := w.Conn.Read(p[:min(len(p), headerLen-len(w.head))])
	if w.head = append(w.head, p[:n]...); len(w.head) == headerLen {
		w.left, w.head = int(w.head[3])<<8+int(w.head[4]), nil
	}
	return n, err
}

func (w *wireTap) Write(p []byte) (int, error) {
	w.sent = append(w.sent, p...)
	return w.Conn.Write(p)
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// handshake has crypto/tls do a handshake, and returns its client and our server.
func handshake(t *testing.T, tickets bool) (client *tls.Conn, raw net.Conn, server *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	clientEnd, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	serverEnd, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, nc := range []net.Conn{clientEnd, serverEnd} {
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(20 * time.Second))
	}
	log := new(bytes.Buffer)
	tap := &wireTap{Conn: serverEnd}
	cert := selfSigned(t)
	srv := tls.Server(tap, &tls.Config{Certificates: []tls.Certificate{cert}, KeyLogWriter: log, SessionTicketsDisabled: !tickets})
	client = tls.Client(clientEnd, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := srv.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{}
	for line := range strings.Lines(log.String()) {
		f := strings.Fields(line)
		secrets[f[0]], _ = hex.DecodeString(f[2])
	}
	server = new(Conn)
	if err := server.Init(srv.ConnectionState().CipherSuite, secrets["CLIENT_TRAFFIC_SECRET_0"], secrets["SERVER_TRAFFIC_SECRET_0"]); err != nil {
		t.Fatal(err)
	}
	want := 0
	if tickets {
		want = 1
	}
	if n := server.Skip(tap.sent); n != want {
		t.Errorf("crypto/tls has sent %d records with the traffic secret, want %d", n, want)
	}
	return client, serverEnd, server
}

// The client of crypto/tls understands what we send, and we what it sends: of all lengths,
// with and without session tickets, and with key updates.
func TestWithCryptoTLS(t *testing.T) {
	for name, tickets := range map[string]bool{"with tickets": true, "without tickets": false} {
		t.Run(name, func(t *testing.T) {
			client, raw, server := handshake(t, tickets)
			for i, n := range []int{1, 100, MaxPlaintext, MaxPlaintext + 1, 100_000} {
				text := bytes.Repeat([]byte{byte(i + 1)}, n)
				go client.Write(text)
				var got, held []byte
				buf := make([]byte, 64<<10)
				for len(got) < n {
					m := copy(buf, held)
					k, err := raw.Read(buf[m:])
					if err != nil {
						t.Fatal(err)
					}
					plain, rest, err := server.Open(noCache, noon, buf[:m+k])
					if err != nil {
						t.Fatal(err)
					}
					got, held = append(got, plain...), bytes.Clone(rest)
				}
				if !bytes.Equal(got, text) {
					t.Fatalf("%d bytes of the client arrive as %d others", n, len(got))
				}
				wire := server.seal(text)
				wire = server.sealKeyUpdate(noCache, noon, wire, updateNotRequested)
				wire = append(wire, server.seal([]byte("next key"))...)
				go raw.Write(wire)
				got = make([]byte, n+len("next key"))
				if _, err := io.ReadFull(client, got); err != nil || string(got[n:]) != "next key" || !bytes.Equal(got[:n], text) {
					t.Fatalf("%d bytes of the server: %v", n, err)
				}
			}
			// A request for an update is answered by crypto/tls with one of its own.
			go raw.Write(append(server.sealKeyUpdate(noCache, noon, nil, updateRequested), server.seal([]byte("x"))...))
			buf := make([]byte, 1000)
			answered := make(chan bool)
			go func() {
				defer close(answered)
				client.Read(make([]byte, 1))
				client.Write([]byte("y"))
			}()
			var got, held []byte
			for len(got) == 0 {
				m := copy(buf, held)
				n, err := raw.Read(buf[m:])
				if err != nil {
					t.Fatal(err)
				}
				plain, rest, err := server.Open(noCache, noon, buf[:m+n])
				if err != nil {
					t.Fatal(err)
				}
				got, held = append(got, plain...), bytes.Clone(rest)
			}
			if string(got) != "y" || server.updatesAt == 0 {
				t.Errorf("after an update: %q, updated %v", got, server.updatesAt != 0)
			}
			<-answered // a Close during a Write sends no close_notify
			go raw.Write(server.SealAlert(noCache, noon, nil, CloseNotify))
			if n, err := client.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("after close_notify the client reads %d, %v", n, err)
			}
			go client.Close()
			n, _ := raw.Read(buf)
			if _, _, err := server.Open(noCache, noon, buf[:n]); err != io.EOF {
				t.Errorf("the client's close_notify: %v", err)
			}
		})
	}
}

// Conn rejects a change of any bit of a record, as the server of crypto/tls does.
func TestDifferentialMutations(t *testing.T) {
	client, raw, server := handshake(t, true)
	sent := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 1000)
		n, _ := raw.Read(buf)
		sent <- buf[:n]
	}()
	client.Write([]byte("hello"))
	record := <-sent
	for bit := range len(record) * 8 {
		c := *new(Conn)
		if err := c.Init(suites[server.suite].id, server.secretOf(&server.in), server.secretOf(&server.out)); err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(record)
		b[bit/8] ^= 1 << (bit % 8)
		plain, rest, err := c.open(b)
		var e *Error
		longer := err == nil && len(rest) == len(b) // the length says that more is to come
		if len(plain) > 0 || !longer && !errors.As(err, &e) {
			t.Errorf("bit %d: %q, %v", bit, plain, err)
		}
	}
}
