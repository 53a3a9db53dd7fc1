package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/cmd/fanfare/internal/certs"
	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/server/listen"
)

var errNotFanfare = errors.New("the server at --api is not fanfare")

// client talks to the API of a server, for shell scripts.
type client struct {
	API        string        `name:"api" help:"The server's API: HOST:PORT, unix:PATH or a URL." default:"127.0.0.1:8081"`
	APIKeyFile string        `name:"api-key-file" help:"File whose first key is sent; by default the key in FANFARE_API_KEY." placeholder:"FILE"`
	Timeout    time.Duration `help:"Time limit of the request." default:"10s"`
	TLS        certs.Client  `embed:""`
}

// longestAnswer is far above what the API answers: the number of a user's sessions is
// bounded.
const longestAnswer = 16 << 20

// do makes one request and returns the answer's body. segments are those of the path,
// and may have any characters.
func (c *client) do(method string, segments []string, contentType string, body []byte) ([]byte, error) {
	if c.Timeout <= 0 {
		return nil, usage(fmt.Errorf("--timeout is %v: want more than 0s", c.Timeout))
	}
	base, transport, err := c.target()
	if err != nil {
		return nil, usage(err)
	}
	defer transport.CloseIdleConnections()
	keys, err := settings.APIKeys(c.APIKeyFile)
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
	resp, err := transport.RoundTrip(req) // the API does not redirect
	if err != nil {
		return nil, fmt.Errorf("cannot reach the API at %s: %w", c.API, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the API's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct {
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if json.Unmarshal(answer, &problem) == nil && problem.Error.Message != "" {
			if resp.StatusCode == http.StatusUnauthorized {
				return nil, errors.New("the API answers 401: give one of its keys, by --api-key-file or " + settings.APIKeyEnv)
			}
			return nil, fmt.Errorf("the API answers %d: %s", resp.StatusCode, problem.Error.Message)
		}
		return nil, fmt.Errorf("the API answers %s", resp.Status)
	}
	return answer, nil
}

// target returns the URL and the transport for --api, which is written as for serve or
// as a URL.
func (c *client) target() (base string, transport *http.Transport, err error) {
	cfg, err := c.TLS.Config(strings.HasPrefix(c.API, "https://"))
	if err != nil {
		return "", nil, err
	}
	transport = &http.Transport{TLSClientConfig: cfg}
	if !strings.Contains(c.API, "://") {
		if err := listen.Validate(c.API); err != nil {
			return "", nil, fmt.Errorf("--api: %w, or a URL", err)
		}
	}
	if path, ok := strings.CutPrefix(c.API, "unix:"); ok {
		path, _, _ = strings.Cut(path, "?") // the mode concerns the server
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

// payload is the message: an argument, or the standard input.
type payload struct {
	Binary bool `env:"-" help:"Send a binary message even if the payload is text."`
}

// read reads the whole standard input before the API is called, so that a slow producer
// does not use up the time limit of the request.
func (p *payload) read(arg *string) (contentType string, body []byte, err error) {
	contentType = "text/plain; charset=utf-8" // the API sends invalid UTF-8 as binary
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

// push sends the message and prints the number of receivers.
func (p *payload) push(c *client, segments []string, arg *string) error {
	contentType, body, err := p.read(arg)
	if err != nil {
		return err
	}
	answer, err := c.do("POST", segments, contentType, body)
	if err != nil {
		return err
	}
	var a struct {
		Receivers *int `json:"receivers"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Receivers == nil {
		return errNotFanfare
	}
	_, err = fmt.Println(*a.Receivers)
	return err
}

type pushCmd struct {
	client
	payload
	Topic   bool    `env:"-" help:"Publish to the topic NAME."`
	Name    string  `arg:"" help:"User, or topic with --topic."`
	Payload *string `arg:"" optional:"" help:"The message; - or nothing: the standard input."`
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
	Payload *string `arg:"" optional:"" help:"The message; - or nothing: the standard input."`
}

func (cmd *broadcastCmd) Run() error {
	return cmd.push(&cmd.client, []string{"broadcast"}, cmd.Payload)
}

type usersCmd struct {
	client
	Names []string `arg:"" name:"user" help:"Users."`
}

// Run prints one line of JSON for each user. The exit code reports whether all of them
// are connected.
func (cmd *usersCmd) Run() error {
	offline := false
	for _, name := range cmd.Names {
		answer, err := cmd.do("GET", []string{"users", name}, "", nil)
		if err != nil {
			return err
		}
		var user struct {
			Online *bool `json:"online"`
		}
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
