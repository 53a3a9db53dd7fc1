package servers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fanfare/bench/load"

	"github.com/valyala/fasthttp"
)

// mercure is a Mercure hub, whose clients read server-sent events. It is the hub of the library, which the project
// recommends instead of its former program, with the local transport: no history, so that nothing is stored. Updates are
// private, which means that the tokens decide who receives them. One address serves clients and backends.
func (c Catalog) mercure() Spec {
	return Spec{
		Name:    "mercure",
		About:   "Mercure's hub (server-sent events in every scenario), local transport, HS256 tokens, private updates",
		Version: mercureVersion,
		Args: func(a Addresses, ping time.Duration) []string {
			return []string{c.Mercure, a.Listen, filepath.Join(a.Dir, secretFile), ping.String()}
		},
		Credentials: func() (c Credentials, err error) {
			sign := func(what string, topics ...string) (string, error) {
				return hs256(secret, func(string) string {
					return fmt.Sprintf(`{"exp":%d,"mercure":{%q:[%s]}}`, time.Now().Add(tokenLife).Unix(), what, quoted(topics))
				})("")
			}
			c.Token = func(user string) (string, error) { return sign("subscribe", load.AllChannel, load.UserChannel(user)) }
			c.Backend, err = sign("publish", "*")
			return c, err
		},
		Files: func(Addresses, time.Duration, Credentials) map[string]string {
			return map[string]string{secretFile: secret}
		},
		Product: &Product{
			Events: "/.well-known/mercure?topic=" + load.AllChannel + "&topic=user.{user}&authorization={token}",
			Backend: func(s *Server) (Backend, error) {
				s.API, s.Key = "http://"+s.Listen.String(), s.credentials.Backend
				return mercureAPI{s}, nil
			},
			Lacks: map[string]string{
				"echo":  "Mercure's clients send nothing on their stream",
				"batch": "Mercure has no batches: one request publishes one update",
				"store": "Mercure replays a shared history to a client that names its last event; it has no acknowledged inbox",
			},
		},
	}
}

// quoted returns names as elements of a JSON array.
func quoted(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, strconv.Quote(n))
	}
	return strings.Join(all, ",")
}

// mercureAPI is the publishing half of the Mercure protocol.
type mercureAPI struct{ s *Server }

// Ready asks without topics, which the hub rejects with 400 once it serves.
func (m mercureAPI) Ready(ctx context.Context) error {
	err := m.s.call(ctx, fasthttp.MethodGet, "/.well-known/mercure", nil, nil)
	var status *statusError
	if errors.As(err, &status) && status.code == fasthttp.StatusBadRequest {
		return nil
	}
	return err
}

func (m mercureAPI) All(ctx context.Context, body []byte) (int, error) {
	return Unknown, m.publish(ctx, load.AllChannel, body)
}

func (m mercureAPI) User(ctx context.Context, user string, body []byte) (int, error) {
	return Unknown, m.publish(ctx, load.UserChannel(user), body)
}

func (m mercureAPI) publish(ctx context.Context, topic string, body []byte) error {
	form := url.Values{"topic": {topic}, "data": {string(body)}, "private": {"on"}}
	_, err := m.s.send(ctx, fasthttp.MethodPost, "/.well-known/mercure", "application/x-www-form-urlencoded", []byte(form.Encode()))
	return err
}

func (m mercureAPI) Batch(context.Context, []Push) error { return errNoBatch }

// Stats has nothing: the library has no metrics of the Go runtime.
func (m mercureAPI) Stats(context.Context) (map[string]float64, error) { return nil, nil }

func (m mercureAPI) Close() {}
