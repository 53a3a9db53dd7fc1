package messagenats

import (
	"errors"

	"github.com/nats-io/nats.go"

	"fanfare/server"
	"fanfare/server/internal/inbound"
)

// errorHeader rejects a message, as the services of NATS do (ADR-32).
const errorHeader = "Nats-Service-Error"

// message returns the answer to the client, nil if there is none. A *server.RequestError is
// the program's rejection.
func message(reply *nats.Msg) (*server.Message, error) {
	if reply == nil {
		return nil, nil
	}
	if _, ok := reply.Header[errorHeader]; ok {
		return nil, inbound.Rejection(reply.Header.Get(errorHeader), inbound.NoReason)
	}
	if len(reply.Data) > inbound.MaxAnswer {
		return nil, &inbound.InvalidError{Problem: errors.New("the reply is longer than 256 KiB")}
	}
	return inbound.Answer("the reply", reply.Header.Get("Content-Type"), reply.Data)
}
