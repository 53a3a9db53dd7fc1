package servers

import (
	"bytes"
	"context"
	"fmt"

	"fanfare/bench/load"

	"github.com/valyala/fasthttp"
)

// fanfareAPI is fanfare's HTTP API, with one topic for all sessions. It extends that of the other servers.
type fanfareAPI struct{ commonAPI }

// FanfareBackend is the Backend of a Product that is fanfare.
func FanfareBackend(s *Server) (Backend, error) { return fanfareAPI{commonAPI{s}}, nil }

func (f fanfareAPI) All(ctx context.Context, body []byte) (int, error) {
	return f.post(ctx, "/v1/topics/"+load.AllChannel+"/push", body)
}

func (f fanfareAPI) User(ctx context.Context, user string, body []byte) (int, error) {
	return f.post(ctx, userPath(user), body)
}

// StoreUser implements Storer.
func (f fanfareAPI) StoreUser(ctx context.Context, user string, body []byte) error {
	_, err := f.post(ctx, userPath(user)+"?durable=true", body)
	return err
}

// post pushes JSON, which clients receive as text.
func (f fanfareAPI) post(ctx context.Context, path string, body []byte) (int, error) {
	text, err := f.s.send(ctx, fasthttp.MethodPost, path, "application/json", body)
	if err != nil {
		return 0, err
	}
	var answer struct{ Receivers int }
	err = f.s.decode(path, text, &answer)
	return answer.Receivers, err
}

// Batch sends all lines in one request. The payloads are JSON.
func (f fanfareAPI) Batch(ctx context.Context, pushes []Push) error { return f.batch(ctx, pushes, "") }

// Store implements Storer.
func (f fanfareAPI) Store(ctx context.Context, pushes []Push) error {
	return f.batch(ctx, pushes, `"durable":true,`)
}

func (f fanfareAPI) batch(ctx context.Context, pushes []Push, options string) error {
	var body []byte
	for _, p := range pushes {
		body = append(append(append(append(body, '{'), options...), `"users":["`...), p.User...)
		body = append(body, `"],"data":`...)
		body = append(append(body, p.Body...), "}\n"...)
	}
	text, err := f.s.fetch(ctx, fasthttp.MethodPost, "/v1/batch", body)
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(`"receivers":`)); n != len(pushes) {
		return fmt.Errorf("servers: fanfare: %d of %d lines of a batch succeeded: %.200s", n, len(pushes), text)
	}
	return nil
}
