package inbound

import (
	"errors"
	"mime"
	"strings"
	"unicode/utf8"

	"fanfare/server"
)

const (
	// MaxAnswer bounds an answer, in bytes.
	MaxAnswer = 256 << 10
	// MaxText bounds the text of a rejection.
	MaxText = 1 << 10
)

// InvalidError is an answer that no client can get.
type InvalidError struct{ Problem error }

func (e *InvalidError) Error() string { return e.Problem.Error() }

// Answer returns the answer to the client for the body of an answer with a Content-Type; nil: there
// is none. subject names the body in the error, which is an InvalidError.
func Answer(subject, contentType string, body []byte) (*server.Message, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
		return nil, nil
	case kind == "application/octet-stream":
		return server.NewMessage(server.Binary, body), nil
	case !utf8.Valid(body):
		return nil, &InvalidError{errors.New(subject + " is not UTF-8: want that, or the Content-Type application/octet-stream")}
	}
	return server.NewMessage(server.Text, body), nil
}

// Rejection returns the error for a message that the backend has rejected with a text. otherwise
// replaces a text that is empty, long, or not UTF-8.
func Rejection(text, otherwise string) *server.RequestError {
	if text = strings.TrimSpace(text); text == "" || len(text) > MaxText || !utf8.ValidString(text) {
		text = otherwise
	}
	return &server.RequestError{Code: "rejected", Message: text}
}

// NoReason is the text of a rejection that has none.
const NoReason = "the backend has rejected the message"
