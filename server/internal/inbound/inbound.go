// Package inbound has what the Responders of packages messagehook and messagenats have in common:
// the document in which a backend gets a message of a client, and how its answer is counted,
// logged, and told to the client.
package inbound

import (
	"github.com/go-json-experiment/json"

	"fanfare/server"
)

// Message is the document.
type Message struct {
	// ID is a new one for each message.
	ID string `json:"id"`
	// Request is the ID that a client of fanfare.v1 gave its request.
	Request  string `json:"request,omitzero"`
	User     string `json:"user,omitzero"` // empty: the session has none
	Session  string `json:"session"`       // server.SessionInfo.ID
	Endpoint string `json:"endpoint"`      // its path
	// Text or Base64 is the payload.
	Text   *string `json:"text,omitzero"`
	Base64 *[]byte `json:"base64,omitzero"`
}

// Encode returns the document of a message.
func Encode(id string, in *server.Inbound) ([]byte, error) {
	m := Message{ID: id, Request: in.ID, User: in.User, Session: in.SessionID, Endpoint: in.Endpoint}
	if in.Op == server.Text {
		text := string(in.Payload)
		m.Text = &text
	} else {
		m.Base64 = &in.Payload
	}
	return json.Marshal(&m)
}
