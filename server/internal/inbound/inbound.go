// Package inbound has the document in which a backend gets a message of a client, however it
// gets it.
package inbound

import "github.com/go-json-experiment/json"

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

// Encode returns the document with a payload.
func (m Message) Encode(isText bool, payload []byte) ([]byte, error) {
	if isText {
		text := string(payload)
		m.Text = &text
	} else {
		m.Base64 = &payload
	}
	return json.Marshal(&m)
}
