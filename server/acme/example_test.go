package acme_test

import (
	"crypto/tls"
	"errors"
	"fmt"

	"fanfare/server"
	"fanfare/server/acme"
)

// A server whose certificates an authority issues: New checks the configuration, and Start
// obtains the certificates once the listener is open.
func ExampleNew() {
	_, err := acme.New(acme.Config{Domains: []string{"*.example.com"}, Agreed: true, Dir: "/var/lib/fanfare/acme"})
	var field interface{ Field() string }
	fmt.Println(errors.As(err, &field), err)

	// start serves a domain. The Manager is closed after the server.
	start := func(domain, dir string) (*acme.Manager, error) {
		m, err := acme.New(acme.Config{Domains: []string{domain}, Agreed: true, Dir: dir})
		if err != nil {
			return nil, err
		}
		srv, err := server.New(server.Config{
			Listen:           "0.0.0.0:443",
			InsecureIdentity: true, // for an Endpoint with an Identifier of your own, leave it out
			TLS:              server.NewTLS(m.TLS(&tls.Config{})),
		})
		if err != nil {
			return nil, err
		}
		if err := srv.Start(); err != nil {
			return nil, err
		}
		return m, m.Start(srv.Addr())
	}
	_ = start
	// Output: true acme: Domains has the wildcard "*.example.com", which needs DNS-01: name each domain
}
