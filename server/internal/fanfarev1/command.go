package fanfarev1

import (
	"errors"
	"strconv"

	"github.com/go-json-experiment/json"
)

// Command is an object that a client sends.
type Command struct {
	Type   string  `json:"type"`
	Topic  string  `json:"topic"`
	Epoch  string  `json:"epoch"`
	Offset *uint64 `json:"offset"`
	Token  string  `json:"token"`
}

// Parse reads a command. The text of the error is for the client.
func (c *Command) Parse(payload []byte) error {
	err := json.Unmarshal(payload, c, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var member *json.SemanticError
	if !errors.As(err, &member) || member.JSONPointer == "" {
		return errors.New("expected one JSON object")
	}
	name := Quote(string(member.JSONPointer.LastToken()))
	if errors.Is(err, json.ErrUnknownName) {
		return errors.New("unknown field " + name)
	}
	return errors.New("field " + name + " has the wrong type")
}

// Quote returns at most 40 bytes of a client's text, in quotes.
func Quote(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}
