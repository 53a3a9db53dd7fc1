package servers

import (
	"context"

	"github.com/valyala/fasthttp"
)

// commonAPI is the HTTP API of the servers without one of their own, which doc.go describes.
type commonAPI struct{ s *Server }

// api returns what pushes to the server's clients.
func (s *Server) api() Backend {
	if s.backend != nil {
		return s.backend
	}
	return commonAPI{s}
}

func (c commonAPI) Ready(ctx context.Context) error {
	return c.s.call(ctx, fasthttp.MethodGet, "/readyz", nil, nil)
}

func (c commonAPI) All(ctx context.Context, body []byte) (int, error) {
	return c.s.push(ctx, "/v1/broadcast", body)
}

func (c commonAPI) User(ctx context.Context, user string, body []byte) (int, error) {
	return c.s.push(ctx, userPath(user), body)
}

func (c commonAPI) Batch(context.Context, []Push) error { return errNoBatch }

// Stats returns the numbers among the members of the answer.
func (c commonAPI) Stats(ctx context.Context) (map[string]float64, error) {
	var all map[string]any
	if err := c.s.call(ctx, fasthttp.MethodGet, "/v1/stats", nil, &all); err != nil {
		return nil, err
	}
	figures := map[string]float64{}
	for name, v := range all {
		if f, ok := v.(float64); ok {
			figures[name] = f
		}
	}
	return figures, nil
}

func (c commonAPI) Close() {}
