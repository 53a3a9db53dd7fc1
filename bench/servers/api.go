package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Broadcast posts body to everybody and returns how many receivers the server says it has.
func (s *Server) Broadcast(ctx context.Context, body []byte) (receivers int, err error) {
	return s.push(ctx, "/v1/broadcast", body)
}

// PushUser posts body to one user.
func (s *Server) PushUser(ctx context.Context, user string, body []byte) (receivers int, err error) {
	return s.push(ctx, "/v1/users/"+url.PathEscape(user)+"/push", body)
}

// PushTopic posts body to one topic.
func (s *Server) PushTopic(ctx context.Context, topic string, body []byte) (receivers int, err error) {
	return s.push(ctx, "/v1/topics/"+url.PathEscape(topic)+"/push", body)
}

func (s *Server) push(ctx context.Context, path string, body []byte) (int, error) {
	var answer struct{ Receivers int }
	err := s.call(ctx, http.MethodPost, path, body, &answer)
	return answer.Receivers, err
}

// Stats are the figures that the server gives of itself.
func (s *Server) Stats(ctx context.Context) (map[string]float64, error) {
	var all map[string]any
	if err := s.call(ctx, http.MethodGet, "/v1/stats", nil, &all); err != nil {
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

func (s *Server) call(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, s.API+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("servers: %s: %w", s.Spec.Name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("servers: %s: %s: %w", s.Spec.Name, path, err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("servers: %s: %s: %s: %.200s", s.Spec.Name, path, resp.Status, b)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("servers: %s: %s: %w: %.200q", s.Spec.Name, path, err, b)
	}
	return nil
}
