package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"strings"
	"time"
)

var errNotFanfare = errors.New("something answers at --api, but it is not fanfare")

// client talks to the API of a server, for shell scripts.
type client struct {
	API        string        `name:"api" help:"The server's API: HOST:PORT, unix:PATH or a URL." default:"127.0.0.1:8081"`
	APIKeyFile string        `name:"api-key-file" help:"The first key in it is used; without it FANFARE_API_KEY." placeholder:"FILE"`
	Timeout    time.Duration `help:"For the whole request." default:"10s"`
}

// longestAnswer is far above what the API answers; a user has a bounded number
// of connections.
const longestAnswer = 16 << 20

// do makes one request and returns the answer's body. Names are segments of the
// path and may have any characters.
func (c *client) do(method string, segments []string, contentType string, body []byte) ([]byte, error) {
	base, transport, err := c.target()
	if err != nil {
		return nil, usage(err)
	}
	defer transport.CloseIdleConnections()
	keys, err := apiKeys(c.APIKeyFile)
	if err != nil {
		return nil, usage(err)
	}
	var path strings.Builder
	path.WriteString("/v1")
	for _, s := range segments {
		path.WriteString("/" + neturl.PathEscape(s))
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path.String(), bytes.NewReader(body))
	if err != nil {
		return nil, usage(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if len(keys) > 0 {
		req.Header.Set("Authorization", "Bearer "+keys[0])
	}
	resp, err := transport.RoundTrip(req) // the API redirects nobody
	if err != nil {
		return nil, fmt.Errorf("cannot reach the API at %s: %w", c.API, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("the API's answer broke off: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Error struct{ Message string } }
		if json.Unmarshal(answer, &problem) == nil && problem.Error.Message != "" {
			if resp.StatusCode == http.StatusUnauthorized {
				return nil, errors.New("the API says 401: it wants one of its keys, by --api-key-file or " + apiKeyEnv)
			}
			return nil, fmt.Errorf("the API says %d: %s", resp.StatusCode, problem.Error.Message)
		}
		return nil, fmt.Errorf("the API says %s", resp.Status)
	}
	return answer, nil
}

// target turns --api, written as serve takes it or as a URL, into what net/http
// wants.
func (c *client) target() (base string, transport *http.Transport, err error) {
	transport = &http.Transport{}
	if path, ok := strings.CutPrefix(c.API, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return "http://unix", transport, nil
	}
	base = strings.TrimSuffix(c.API, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := neturl.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", nil, fmt.Errorf("--api is %q: want HOST:PORT, unix:PATH, http://… or https://…", c.API)
	}
	return base, transport, nil
}

// payload is what to push: an argument, or what comes on the standard input.
type payload struct {
	Binary bool `env:"-" help:"Push it as a binary message even if it is text."`
}

// read takes the standard input whole before the API is called, so that a slow
// producer does not spend the request's time.
func (p *payload) read(arg *string) (contentType string, body []byte, err error) {
	contentType = "text/plain; charset=utf-8" // what is no UTF-8 goes as binary all the same
	if p.Binary {
		contentType = "application/octet-stream"
	}
	if arg != nil && *arg != "-" {
		return contentType, []byte(*arg), nil
	}
	if body, err = io.ReadAll(os.Stdin); err != nil {
		return "", nil, fmt.Errorf("cannot read the message: %w", err)
	}
	return contentType, body, nil
}

// push pushes it, and prints how many connections it was written or queued to.
func (p *payload) push(c *client, segments []string, arg *string) error {
	contentType, body, err := p.read(arg)
	if err != nil {
		return err
	}
	answer, err := c.do("POST", segments, contentType, body)
	if err != nil {
		return err
	}
	var a struct{ Receivers *int }
	if err := json.Unmarshal(answer, &a); err != nil || a.Receivers == nil {
		return errNotFanfare
	}
	_, err = fmt.Println(*a.Receivers)
	return err
}

type pushCmd struct {
	client
	payload
	Topic   bool    `env:"-" help:"NAME is a topic, not a user."`
	Name    string  `arg:"" help:"User, or topic with --topic."`
	Payload *string `arg:"" optional:"" help:"The message; from the standard input if it is - or left out."`
}

func (cmd *pushCmd) Run() error {
	kind := "users"
	if cmd.Topic {
		kind = "topics"
	}
	return cmd.push(&cmd.client, []string{kind, cmd.Name, "push"}, cmd.Payload)
}

type broadcastCmd struct {
	client
	payload
	Payload *string `arg:"" optional:"" help:"The message; from the standard input if it is - or left out."`
}

func (cmd *broadcastCmd) Run() error {
	return cmd.push(&cmd.client, []string{"broadcast"}, cmd.Payload)
}

type usersCmd struct {
	client
	Names []string `arg:"" name:"user" help:"Users."`
}

// Run prints one line of JSON a user, and says with the exit code whether all
// of them are connected.
func (cmd *usersCmd) Run() error {
	offline := false
	for _, name := range cmd.Names {
		answer, err := cmd.do("GET", []string{"users", name}, "", nil)
		if err != nil {
			return err
		}
		var user struct{ Online *bool }
		if err := json.Unmarshal(answer, &user); err != nil || user.Online == nil {
			return errNotFanfare
		}
		offline = offline || !*user.Online
		fmt.Printf("%s\n", bytes.TrimSpace(answer))
	}
	if offline {
		return &exit{code: exitOffline}
	}
	return nil
}
