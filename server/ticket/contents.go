package ticket

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/identity"
)

// contents is an identity in a ticket. Names are short because clients send them in URLs. A
// node rejects members that it does not know: they may restrict what a client may do.
type contents struct {
	User        string            `json:"u"`
	Topics      []string          `json:"t,omitempty"`
	Subscribe   []string          `json:"s,omitempty"`
	Publish     []string          `json:"p,omitempty"`
	Presence    []string          `json:"r,omitempty"`
	MaxMessages int               `json:"m,omitzero"`
	MaxTopics   int               `json:"n,omitzero"`
	Labels      map[string]string `json:"l,omitempty"`
	Data        jsontext.Value    `json:"d,omitempty"`
	TokenID     string            `json:"i,omitempty"`
	Issued      int64             `json:"j"`          // microseconds since 1970
	Expires     int64             `json:"x,omitzero"` // milliseconds since 1970; 0: never
	Until       int64             `json:"v"`          // the end of the ticket, likewise
}

// encode returns false for an identity that a ticket cannot hold.
func encode(id *server.Identity, now, until time.Time) (plain []byte, ok bool) {
	c := contents{
		User: id.User, Topics: id.Topics, Subscribe: id.MaySubscribe, Publish: id.MayPublish, Presence: id.MayReadPresence,
		MaxMessages: id.Limits.Messages, MaxTopics: id.Limits.Topics, Labels: id.Labels, TokenID: id.TokenID,
		Issued: now.UnixMicro(), Until: until.UnixMilli(),
	}
	if !id.Issued.IsZero() {
		c.Issued = id.Issued.UnixMicro()
	}
	if !id.Expires.IsZero() {
		c.Expires = id.Expires.UnixMilli()
	}
	if id.Data != nil {
		if c.Data, ok = id.Data.(jsontext.Value); !ok {
			return nil, false
		}
	}
	plain, err := json.Marshal(&c)
	return plain, err == nil // names that are not UTF-8
}

// decode is the reverse of encode. It returns false for what encode does not return.
func decode(plain []byte) (id server.Identity, ok bool) {
	var c contents
	if err := json.Unmarshal(plain, &c, json.RejectUnknownMembers(true)); err != nil {
		return id, false
	}
	id = server.Identity{
		User: c.User, Topics: c.Topics, MaySubscribe: c.Subscribe, MayPublish: c.Publish, MayReadPresence: c.Presence,
		Limits: server.SessionLimits{Messages: c.MaxMessages, Topics: c.MaxTopics}, Labels: c.Labels,
		TokenID: c.TokenID, Issued: time.UnixMicro(c.Issued), ValidUntil: time.UnixMilli(c.Until),
	}
	if c.Expires != 0 {
		id.Expires = time.UnixMilli(c.Expires)
	}
	if c.Data != nil {
		id.Data = c.Data
	}
	if registry.CheckName(c.User) != nil || identity.Check(&id) != nil {
		return server.Identity{}, false
	}
	return id, true
}
