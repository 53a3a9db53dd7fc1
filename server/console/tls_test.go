package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server"
)

// A browser connects with each version of TLS.
func TestBrowserOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var seen atomic.Uint32 // the version
	cfg := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		VerifyConnection: func(state tls.ConnectionState) error {
			seen.Store(uint32(state.Version))
			return nil
		},
	}
	srv := start(t, server.Config{TLS: server.NewTLS(cfg), Endpoints: []server.Endpoint{server.EchoEndpoint("/echo")}}, Page{})
	b := openBrowser(t)
	b.call("Security.setIgnoreCertificateErrors", map[string]any{"ignore": true}, nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := cfg.Clone()
		cfg.MinVersion, cfg.MaxVersion = version, version
		if err := srv.SetTLS(cfg); err != nil {
			t.Fatal(err)
		}
		b.open("https://" + srv.Addr().String() + "/")
		b.do(`new Promise((resolve, reject) => {
			const texts = ["", "hello", "é".repeat(30000)];
			const socket = new WebSocket("wss://" + location.host + "/echo");
			let at = 0;
			socket.onopen = () => socket.send(texts[at]);
			socket.onmessage = event => {
				if (event.data !== texts[at]) reject(new Error("message " + at + " came back with " + event.data.length + " characters"));
				if (++at < texts.length) socket.send(texts[at]);
				else socket.close(1000);
			};
			socket.onclose = event => event.code === 1000 && at === texts.length ? resolve() : reject(new Error("closed with " + event.code + " after message " + at));
		})`)
		if got := uint16(seen.Load()); got != version {
			t.Errorf("the browser speaks %s, want %s", tls.VersionName(got), tls.VersionName(version))
		}
	}
}
