package secure

import (
	"crypto/tls"
	"errors"
	"io"
	"net"

	"fanfare/server/internal/field"
)

// Validate returns the error in a configuration that would make every handshake fail. The
// error names the field TLS.
func Validate(cfg *tls.Config) error {
	switch {
	case len(cfg.Certificates) == 0 && cfg.GetCertificate == nil && cfg.GetConfigForClient == nil:
		return field.Errorf("TLS", "has no certificate: set Certificates, GetCertificate or GetConfigForClient")
	case cfg.MaxVersion != 0 && cfg.MinVersion > cfg.MaxVersion:
		return field.Errorf("TLS", "has the MinVersion %s, which is later than the MaxVersion %s", tls.VersionName(cfg.MinVersion), tls.VersionName(cfg.MaxVersion))
	}
	return nil
}

// Conn is a connection that crypto/tls serves, with a goroutine. It answers clients that
// speak HTTP without TLS.
type Conn struct {
	*tls.Conn
	over func(*tls.ConnectionState, error) // immutable
	done bool                              // over was called; owned by the reader
}

// NewConn returns the TLS server of a connection. The first Read does the handshake. over is
// called when that has succeeded, or failed with an error other than a timeout or the end of
// a connection on which nothing came.
func NewConn(nc net.Conn, cfg *tls.Config, over func(*tls.ConnectionState, error)) *Conn {
	return &Conn{Conn: tls.Server(nc, cfg), over: over}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	rh, ok := err.(tls.RecordHeaderError)
	http := ok && rh.Conn != nil && speaksHTTP(rh.RecordHeader[:])
	if !c.done && (n > 0 || err != nil) {
		c.done = true
		state := c.ConnectionState()
		var timeout net.Error
		switch {
		case state.HandshakeComplete:
			c.over(&state, nil)
		case http:
			c.over(nil, errHTTP)
		case err != io.EOF && !(errors.As(err, &timeout) && timeout.Timeout()):
			c.over(nil, err)
		}
	}
	if http {
		rh.Conn.Write([]byte(plainHTTPAnswer))
	}
	return n, err
}

// plainHTTPAnswer is what net/http says in this case.
const plainHTTPAnswer = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"client sent an HTTP request to an HTTPS server\n"

// speaksHTTP reports whether a stream begins like a request: with the name of a method.
func speaksHTTP(b []byte) bool { return len(b) > 0 && b[0] >= 'A' && b[0] <= 'Z' }
