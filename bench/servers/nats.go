package servers

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"fanfare/bench/load"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// nats is a NATS server whose clients use its WebSocket listener. It has no HTTP API: a backend publishes with the NATS
// client and waits for the server's answer to a ping, so that a push is confirmed as those of the other servers are.
// Clients have JWTs with bearer tokens, the only ones that need no key in the client, and may subscribe to two subjects.
func (c Catalog) nats() Spec {
	return Spec{
		Name:    "nats",
		About:   "NATS core with its own WebSocket listener, user JWTs; the backend publishes with nats.go instead of HTTP",
		Version: natsVersion(c.NATS),
		Args: func(a Addresses, _ time.Duration) []string {
			return []string{c.NATS, "--config", filepath.Join(a.Dir, "nats.conf")}
		},
		Credentials: natsCredentials,
		Files:       natsFiles,
		Product: &Product{
			Dialect: load.NATS,
			Path:    "/",
			Backend: natsBackend,
			Lacks: map[string]string{
				"echo":   "NATS delivers to subscribers and has no echo",
				"events": "NATS has no server-sent events",
				"store":  "NATS core stores nothing; JetStream with a consumer for each user is another configuration, which is not measured",
			},
		},
	}
}

// natsVersion asks the program for its version.
func natsVersion(program string) string {
	if program == "" {
		return ""
	}
	out, err := exec.Command(program, "--version").Output() // prints "nats-server: vVERSION"
	_, version, ok := strings.Cut(strings.TrimSpace(string(out)), ": ")
	if err != nil || !ok {
		return ""
	}
	return version
}

// natsCredentials creates an operator, an account, and tokens of its users. The load client needs none of the keys.
func natsCredentials() (c Credentials, err error) {
	operator, err := nkeys.CreateOperator()
	if err != nil {
		return c, err
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		return c, err
	}
	operatorName, err := operator.PublicKey()
	if err != nil {
		return c, err
	}
	accountName, err := account.PublicKey()
	if err != nil {
		return c, err
	}
	operatorToken, err := jwt.NewOperatorClaims(operatorName).Encode(operator)
	if err != nil {
		return c, err
	}
	accountToken, err := jwt.NewAccountClaims(accountName).Encode(operator)
	if err != nil {
		return c, err
	}
	user := func(permit func(*jwt.UserClaims)) (string, error) {
		key, err := nkeys.CreateUser()
		if err != nil {
			return "", err
		}
		name, err := key.PublicKey()
		if err != nil {
			return "", err
		}
		claims := jwt.NewUserClaims(name)
		claims.BearerToken = true
		claims.Expires = time.Now().Add(tokenLife).Unix()
		permit(claims)
		return claims.Encode(account)
	}
	c.Config = fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: {%s: %s}\n", operatorToken, accountName, accountToken)
	if c.Backend, err = user(func(claims *jwt.UserClaims) { claims.Sub.Deny.Add(">") }); err != nil {
		return c, err
	}
	c.Token = func(name string) (string, error) {
		return user(func(claims *jwt.UserClaims) {
			claims.Name = name
			claims.Pub.Deny.Add(">")
			claims.Sub.Allow.Add(load.AllChannel, load.UserChannel(name))
		})
	}
	return c, nil
}

func natsFiles(a Addresses, ping time.Duration, c Credentials) map[string]string {
	return map[string]string{"nats.conf": fmt.Sprintf(`listen: %q
ping_interval: %q
max_connections: 1000000
logfile: %q
websocket {
  listen: %q
  no_tls: true
  compression: false
}
%s`, a.API, ping, filepath.Join(a.Dir, "nats.log"), a.Listen, c.Config)}
}

// A natsAPI publishes through connections that callers take in turn, one for each pending call.
type natsAPI struct {
	url   string
	token string
	free  chan *nats.Conn
}

const natsConns = 64 // more than callers

func natsBackend(s *Server) (Backend, error) {
	return &natsAPI{
		url:   "nats://" + strings.TrimPrefix(s.API, "http://"),
		token: s.credentials.Backend,
		free:  make(chan *nats.Conn, natsConns),
	}, nil
}

func (n *natsAPI) Ready(ctx context.Context) error {
	return n.publish(ctx, func(*nats.Conn) error { return nil })
}

// publish publishes and waits until the server has processed it.
func (n *natsAPI) publish(ctx context.Context, write func(*nats.Conn) error) (err error) {
	var conn *nats.Conn
	select {
	case conn = <-n.free:
	default:
		if conn, err = nats.Connect(n.url, nats.UserJWT(
			func() (string, error) { return n.token, nil },
			func([]byte) ([]byte, error) { return nil, nil }, // a bearer token is not signed again
		), nats.NoReconnect(), nats.NoEcho()); err != nil {
			return fmt.Errorf("servers: nats: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err = write(conn); err == nil {
		err = conn.FlushWithContext(ctx)
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("servers: nats: %w", err)
	}
	select {
	case n.free <- conn:
	default:
		conn.Close()
	}
	return nil
}

func (n *natsAPI) All(ctx context.Context, body []byte) (int, error) {
	return Unknown, n.publish(ctx, func(c *nats.Conn) error { return c.Publish(load.AllChannel, body) })
}

func (n *natsAPI) User(ctx context.Context, user string, body []byte) (int, error) {
	return Unknown, n.publish(ctx, func(c *nats.Conn) error { return c.Publish(load.UserChannel(user), body) })
}

func (n *natsAPI) Batch(ctx context.Context, pushes []Push) error {
	return n.publish(ctx, func(c *nats.Conn) error {
		for _, p := range pushes {
			if err := c.Publish(load.UserChannel(p.User), p.Body); err != nil {
				return err
			}
		}
		return nil
	})
}

// Stats has nothing: the server's monitoring knows its memory as a whole only.
func (n *natsAPI) Stats(context.Context) (map[string]float64, error) { return nil, nil }

// Close closes the free connections. No call may be pending.
func (n *natsAPI) Close() {
	for {
		select {
		case c := <-n.free:
			c.Close()
		default:
			return
		}
	}
}
