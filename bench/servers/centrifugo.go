package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"fanfare/bench/load"

	"github.com/valyala/fasthttp"
)

// centrifugoVersion is the version that is built and measured.
const centrifugoVersion = "v6.9.1"

// centrifugo is Centrifugo with its unidirectional transports, for which clients need no library. The write buffer pool
// and the small read buffer are what its documentation recommends for many connections; compression, presence and history
// are off, as they are by default.
func (c Catalog) centrifugo() Spec {
	return Spec{
		Name:    "centrifugo",
		About:   "Centrifugo, unidirectional WebSocket (sse-broadcast: unidirectional SSE), memory engine, HS256 tokens, API key",
		Version: centrifugoVersion,
		Args: func(a Addresses, _ time.Duration) []string {
			return []string{c.Centrifugo, "--config", filepath.Join(a.Dir, "centrifugo.json")}
		},
		Credentials: func() (Credentials, error) {
			return Credentials{Token: hs256(secret, func(user string) string {
				return fmt.Sprintf(`{"sub":%q,"exp":%d,"channels":[%q]}`, user, time.Now().Add(tokenLife).Unix(), load.AllChannel)
			})}, nil
		},
		Files: centrifugoFiles,
		Product: &Product{
			Dialect: load.Centrifugo,
			Path:    "/connection/uni_websocket",
			Events:  "/connection/uni_sse?cf_connect=%7B%22token%22%3A%22{token}%22%7D",
			Backend: func(s *Server) (Backend, error) {
				s.scheme = "apikey "
				return centrifugoAPI{s}, nil
			},
			Lacks: map[string]string{
				"echo":  "Centrifugo's unidirectional transports do not accept messages",
				"store": "Centrifugo replays a channel's history to a client that names its last offset and epoch; it has no acknowledged inbox",
			},
		},
	}
}

func centrifugoFiles(a Addresses, ping time.Duration, _ Credentials) map[string]string {
	listen, api := netip.MustParseAddrPort(a.Listen), netip.MustParseAddrPort(a.API)
	config, err := json.MarshalIndent(map[string]any{
		"log": map[string]any{"level": "warn"},
		"http_server": map[string]any{
			"address": listen.Addr().String(), "port": listen.Port(),
			"internal_address": api.Addr().String(), "internal_port": fmt.Sprint(api.Port()),
		},
		"client": map[string]any{
			"token":                              map[string]any{"hmac_secret_key": secret},
			"subscribe_to_user_personal_channel": map[string]any{"enabled": true},
			"ping_interval":                      ping.String(),
			"pong_timeout":                       (ping / 3).String(), // below the interval, which the server requires
			"connection_limit":                   0,
		},
		"http_api":      map[string]any{"key": apiKey},
		"websocket":     map[string]any{"disabled": true},
		"uni_websocket": map[string]any{"enabled": true, "use_write_buffer_pool": true, "read_buffer_size": 512},
		"uni_sse":       map[string]any{"enabled": true},
		"health":        map[string]any{"enabled": true},
		"prometheus":    map[string]any{"enabled": true},
		"usage_stats":   map[string]any{"disabled": true},
	}, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return map[string]string{"centrifugo.json": string(config)}
}

// centrifugoAPI is Centrifugo's HTTP API.
type centrifugoAPI struct{ s *Server }

// centrifugoUser is the personal channel of a user.
func centrifugoUser(user string) string { return "#" + user }

func (c centrifugoAPI) Ready(ctx context.Context) error {
	return c.s.call(ctx, fasthttp.MethodGet, "/health", nil, nil)
}

func (c centrifugoAPI) All(ctx context.Context, body []byte) (int, error) {
	return Unknown, c.publish(ctx, load.AllChannel, body)
}

func (c centrifugoAPI) User(ctx context.Context, user string, body []byte) (int, error) {
	return Unknown, c.publish(ctx, centrifugoUser(user), body)
}

// A centrifugoError is in the body of a response whose status may be 200.
type centrifugoError struct {
	Code    int
	Message string
}

func (e *centrifugoError) err() error {
	if e == nil {
		return nil
	}
	return fmt.Errorf("servers: centrifugo: error %d: %s", e.Code, e.Message)
}

func (c centrifugoAPI) publish(ctx context.Context, channel string, body []byte) error {
	var answer struct{ Error *centrifugoError }
	if err := c.s.call(ctx, fasthttp.MethodPost, "/api/publish", appendPublish(nil, channel, body), &answer); err != nil {
		return err
	}
	return answer.Error.err()
}

// appendPublish appends a publish request. body is JSON, and the channel needs no escapes.
func appendPublish(dst []byte, channel string, body []byte) []byte {
	dst = append(append(append(dst, `{"channel":"`...), channel...), `","data":`...)
	return append(append(dst, body...), '}')
}

func (c centrifugoAPI) Batch(ctx context.Context, pushes []Push) error {
	body := []byte(`{"commands":[`)
	for i, p := range pushes {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(appendPublish(append(body, `{"publish":`...), centrifugoUser(p.User), p.Body), '}')
	}
	text, err := c.s.fetch(ctx, fasthttp.MethodPost, "/api/batch", append(body, "]}"...))
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(`"publish":`)); n != len(pushes) || bytes.Contains(text, []byte(`"error":`)) {
		return fmt.Errorf("servers: centrifugo: %d of %d publications of a batch succeeded: %.200s", n, len(pushes), text)
	}
	return nil
}

func (c centrifugoAPI) Stats(ctx context.Context) (map[string]float64, error) {
	m, err := c.s.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return goStats(m), nil
}

// goStats renames the metrics of the Go runtime.
func goStats(m map[string]float64) map[string]float64 {
	stats := map[string]float64{}
	for from, to := range map[string]string{
		"go_goroutines": "goroutines", "go_memstats_heap_alloc_bytes": "heap_alloc_bytes", "go_memstats_heap_inuse_bytes": "heap_inuse_bytes",
	} {
		if v, ok := m[from]; ok {
			stats[to] = v
		}
	}
	return stats
}

func (c centrifugoAPI) Close() {}
