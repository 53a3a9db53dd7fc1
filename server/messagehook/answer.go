package messagehook

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"

	"fanfare/server"
	"fanfare/server/internal/callout"
	"fanfare/server/internal/inbound"
)

// answer is the answer of the backend.
type answer struct {
	status      int
	contentType string
	body        []byte
}

// exchange makes a request, and reads the answer. Errors do not name the URL.
func exchange(client *http.Client, r *http.Request) (a answer, err error) {
	resp, err := callout.Send(client, r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	body, err := callout.ReadAll(resp.Body, inbound.MaxAnswer)
	if err != nil {
		return a, fmt.Errorf("the answer: %w", err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), body}, nil
}

// failure returns an error if the answer is none: the backend, or what is before it, does not
// work.
func (a *answer) failure() error {
	switch {
	case a.status == http.StatusOK, a.status == http.StatusNoContent:
		return nil
	case a.status >= 400 && a.status <= 499 && a.status != http.StatusRequestTimeout && a.status != http.StatusTooManyRequests:
		return nil
	}
	return fmt.Errorf("the answer is %d %s: want 200, 204, or 400 to 499", a.status, http.StatusText(a.status))
}

// message returns the answer to the client, nil if there is none. A *server.RequestError is the
// backend's rejection.
func (a *answer) message() (*server.Message, error) {
	if a.status < 400 {
		return inbound.Answer("it", a.contentType, a.body)
	}
	text := ""
	if kind, _, _ := mime.ParseMediaType(a.contentType); kind == "text/plain" {
		text = string(a.body)
	}
	return nil, inbound.Rejection(text, cmp.Or(http.StatusText(a.status), inbound.NoReason))
}
