package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"fanfare/cmd/fanfare/internal/certs"
	"fanfare/cmd/fanfare/internal/settings"
)

// healthCmd is for health checks in places that have no curl, such as an image with
// nothing but this program.
type healthCmd struct {
	Config  settings.ConfigFile `help:"Config file of the server, for the address of its API." placeholder:"FILE"`
	API     string              `name:"api" help:"The server's API: HOST:PORT, unix:PATH or a URL." default:"127.0.0.1:8081"`
	Ready   bool                `env:"-" help:"Ask /readyz, whether new sessions are welcome, instead of /healthz."`
	Timeout time.Duration       `help:"Time limit of the request." default:"10s"`
	TLS     certs.Client        `embed:""`
	Served  certs.Served        `embed:""`
	URL     string              `arg:"" optional:"" help:"The API, in place of --api, or the whole URL to ask."`
}

// Run prints the answer, and exits with 0 if its status is 200.
func (cmd *healthCmd) Run() error {
	if cmd.Timeout <= 0 {
		return usage(fmt.Errorf("--timeout is %v: want more than 0s", cmd.Timeout))
	}
	path := "/healthz"
	if cmd.Ready {
		path = "/readyz"
	}
	c := client{API: cmd.API, TLS: cmd.TLS}
	if cmd.URL != "" {
		c.API = cmd.URL
	}
	if !strings.Contains(c.API, "://") && !strings.HasPrefix(c.API, "unix:") {
		secure, err := cmd.Served.Trust(&c.TLS)
		if err != nil {
			return usage(err)
		}
		if secure {
			c.API = "https://" + c.API
		}
	}
	// A URL with a path names the resource itself.
	if u, err := neturl.Parse(c.API); err == nil && strings.Contains(c.API, "://") && strings.Trim(u.Path, "/") != "" {
		if cmd.Ready {
			return usage(errors.New("--ready has no effect here: it needs a URL without a path"))
		}
		path = ""
	}
	base, transport, err := c.target()
	if err != nil && cmd.URL != "" { // it is not --api that is wrong
		return usage(errors.New("URL" + strings.TrimPrefix(err.Error(), "--api")))
	}
	if err != nil {
		return usage(err)
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), cmd.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return usage(err)
	}
	resp, err := transport.RoundTrip(req) // a redirect is not health
	if err != nil {
		return fmt.Errorf("cannot reach the API at %s: %w", c.API, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestHealth))
	if err != nil {
		return fmt.Errorf("reading the API's answer: %w", err)
	}
	body = bytes.TrimSpace(body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", base+path, resp.Status, body)
	}
	_, err = fmt.Printf("%s\n", body)
	return err
}

// longestHealth is what docker keeps of the output of a health check.
const longestHealth = 4 << 10
