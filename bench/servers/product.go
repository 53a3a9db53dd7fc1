package servers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// A Product is what a push server with its own interface needs to take part: what its clients say, and how a backend
// pushes. Each client has a user of its own, proves it with a token, and is subscribed to one channel that all share.
type Product struct {
	Dialect string // of package load; empty: plain messages
	Path    string // of a WebSocket; {user} and {token} stand for the user and its token
	Events  string // of a stream of server-sent events; empty: the server has none here
	// Backend opens the server's interface for backends.
	Backend func(s *Server) (Backend, error)
	// Counts says that the server counts its sessions in its Stats. The others confirm each session to its client.
	Counts bool
	// Lacks says why the server takes no part in a scenario that needs it: keys are "echo", "events", "batch" and "store".
	Lacks map[string]string
}

// Credentials are what clients and backends prove themselves with.
type Credentials struct {
	Token  func(user string) (string, error)
	Config string // what the server's configuration says about them
	// Backend is the token of a backend, where it is not the API key.
	Backend string
}

// A Push is a message for one user.
type Push struct {
	User string
	Body []byte
}

// A Backend pushes. Unknown is the number of receivers where the server does not say it.
type Backend interface {
	Ready(ctx context.Context) error
	All(ctx context.Context, body []byte) (receivers int, err error)
	User(ctx context.Context, user string, body []byte) (receivers int, err error)
	// Batch pushes to several users in one request.
	Batch(ctx context.Context, pushes []Push) error
	// Stats returns what GET /v1/stats of the other servers has, as far as the server tells.
	Stats(ctx context.Context) (map[string]float64, error)
	Close()
}

// A Storer is a Backend of a server that stores messages for absent users.
type Storer interface {
	// StoreUser pushes one durable message.
	StoreUser(ctx context.Context, user string, body []byte) error
	// Store pushes several in one request.
	Store(ctx context.Context, pushes []Push) error
}

// Unknown is a number of receivers that the server does not say.
const Unknown = -1

// hs256 returns a signer of tokens (RFC 7515) with a shared secret.
func hs256(secret string, claims func(user string) string) func(user string) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	head := encode([]byte(`{"alg":"HS256","typ":"JWT"}`))
	return func(user string) (string, error) {
		signed := head + "." + encode([]byte(claims(user)))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		return signed + "." + encode(mac.Sum(nil)), nil
	}
}

// secret and apiKey are those of the servers, which listen on loopback for a few seconds.
const (
	secret = "a-secret-of-the-benchmark-0123456789abcdef"
	apiKey = "an-api-key-of-the-benchmark-0123456789"
)

// tokenLife is longer than a run.
const tokenLife = 24 * time.Hour

// Tokens returns the tokens of users, or nil for a server without tokens.
func (s *Server) Tokens(users []string) ([]string, error) {
	if s.credentials.Token == nil {
		return nil, nil
	}
	tokens := make([]string, len(users))
	for i, u := range users {
		var err error
		if tokens[i], err = s.credentials.Token(u); err != nil {
			return nil, fmt.Errorf("servers: %s: token: %w", s.Spec.Name, err)
		}
	}
	return tokens, nil
}
