package messagenats

import (
	"errors"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"fanfare/server"
)

// errorHeader rejects a message, as the services of NATS do (ADR-32).
const errorHeader = "Nats-Service-Error"

const (
	maxAnswer = 256 << 10
	maxText   = 1 << 10 // of a rejection
)

// message returns the answer to the client, nil if there is none. A *server.RequestError is
// the program's rejection.
func message(reply *nats.Msg) (*server.Message, error) {
	if reply == nil {
		return nil, nil
	}
	if _, ok := reply.Header[errorHeader]; ok {
		return nil, &server.RequestError{Code: "rejected", Message: reason(reply.Header.Get(errorHeader))}
	}
	kind, _, _ := mime.ParseMediaType(reply.Header.Get("Content-Type"))
	switch {
	case len(reply.Data) == 0:
		return nil, nil
	case len(reply.Data) > maxAnswer:
		return nil, errors.New("the reply is longer than 256 KiB")
	case kind == "application/octet-stream":
		return server.NewMessage(server.Binary, reply.Data), nil
	case !utf8.Valid(reply.Data):
		return nil, errors.New("the reply is not UTF-8: want that, or the Content-Type application/octet-stream")
	}
	return server.NewMessage(server.Text, reply.Data), nil
}

// reason is the text of a rejection.
func reason(text string) string {
	if text = strings.TrimSpace(text); text != "" && len(text) <= maxText && utf8.ValidString(text) {
		return text
	}
	return "the backend has rejected the message"
}
