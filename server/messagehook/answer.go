package messagehook

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"fanfare/server"
	"fanfare/server/internal/callout"
)

// answer is the answer of the backend.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

// exchange makes a request, and reads the answer. Errors do not name the URL.
func exchange(client *http.Client, r *http.Request) (a answer, err error) {
	resp, err := callout.Send(client, r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	body, err := callout.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return a, fmt.Errorf("the answer: %w", err)
	}
	return answer{resp.StatusCode, kind, body}, nil
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
	switch {
	case a.status >= 400:
		return nil, &server.RequestError{Code: "rejected", Message: a.reason()}
	case len(a.body) == 0:
		return nil, nil
	case a.kind == "application/octet-stream":
		return server.NewMessage(server.Binary, a.body), nil
	case !utf8.Valid(a.body):
		return nil, errors.New("it is not UTF-8: want that, or the Content-Type application/octet-stream")
	}
	return server.NewMessage(server.Text, a.body), nil
}

// reason is the text of a rejection: the body if that is short plain text, or that of the status.
func (a *answer) reason() string {
	if text := strings.TrimSpace(string(a.body)); a.kind == "text/plain" && text != "" && len(text) <= maxText && utf8.ValidString(text) {
		return text
	}
	if text := http.StatusText(a.status); text != "" {
		return text
	}
	return "the backend has rejected the message"
}
