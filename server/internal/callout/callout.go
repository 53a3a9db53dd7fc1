// Package callout has the rules for HTTP requests that the server makes by itself, to URLs
// that an operator names: TLS is verified, http is for this machine unless an operator
// allows it in words, redirects are not followed, and answers are bounded.
package callout

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// Target says where requests go.
type Target struct {
	URL string
	// CA is a file with the certificates, in PEM, of the authorities that the server is
	// verified with. Empty: those of the system.
	CA string
	// InsecureHTTP allows http for hosts other than loopback.
	InsecureHTTP bool
}

// ErrPlain says that a URL is http, and the host is not this machine. InsecureHTTP allows
// it.
var ErrPlain = errors.New("the URL is http, so an attacker on the network can forge answers: want https, unless this is allowed by InsecureHTTP")

// maxCA bounds a file of certificates.
const maxCA = 1 << 20

// dialTimeout ends attempts to connect whose request has been given up. net/http does not, and
// to a host that does not answer Linux tries for two minutes: one attempt for each request.
const dialTimeout = 10 * time.Second

// Client returns a client for requests to the target; conns is the number of connections
// that it keeps open, and the maximum; 0: one, which it does not keep. It does not use the
// network.
func (t Target) Client(conns int) (*http.Client, error) {
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		return nil, err
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("want an https URL")
	case u.User != nil:
		return nil, errors.New("the URL has a user or password: want it without")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment: want it without")
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !t.InsecureHTTP:
		return nil, ErrPlain
	case u.Scheme == "http" && t.CA != "":
		return nil, errors.New("the URL is http: a CA has no effect")
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		text, err := ReadFile(t.CA, maxCA)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("CA: %s has no certificate in PEM", t.CA)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        tlsConfig,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      conns == 0,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConnsPerHost:    conns,
			MaxConnsPerHost:        max(conns, 1),
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s: name that URL instead", r.URL.Redacted())
		},
	}, nil
}

// isLoopback reports whether a host is this machine. RFC 6761 section 6.3.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}

// ReadFile reads a file of at most some bytes.
func ReadFile(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, most)
}

// ReadAll reads at most some bytes, and returns an error if there are more.
func ReadAll(r io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(data) > most {
		return nil, fmt.Errorf("longer than %d bytes", most)
	}
	return data, err
}

// Do makes a request and returns the answer, whose status must be 200 and whose body is at
// most some bytes. Errors do not name the URL.
func Do(client *http.Client, r *http.Request, most int) (body []byte, header http.Header, err error) {
	resp, err := Send(client, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// What is read here lets the connection be used again.
		io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
		return nil, nil, fmt.Errorf("the answer is %s, not 200", resp.Status)
	}
	if body, err = ReadAll(resp.Body, most); err != nil {
		return nil, nil, fmt.Errorf("the answer: %w", err)
	}
	return body, resp.Header, nil
}
