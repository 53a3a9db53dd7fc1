package identity

import (
	"fmt"
	"math"

	"fanfare/server/internal/strict"
)

// Change is a change of what the open sessions of a user may do, and for how long.
// A field that is nil changes nothing.
type Change struct {
	// Expires is when the sessions are closed with 3000, in seconds since 1970; 0: never.
	Expires *float64 `json:"expires,omitzero"`
	// Subscribe, Publish and Presence replace MaySubscribe, MayPublish and
	// MayReadPresence of Identity. Subscribe also ends all subscriptions to topics that it
	// does not cover, those made through the API included.
	Subscribe *[]string `json:"subscribe,omitzero"`
	Publish   *[]string `json:"publish,omitzero"`
	Presence  *[]string `json:"presence,omitzero"`
	// Limits replaces Identity.Limits.
	Limits *Limits `json:"limits,omitzero"`
}

// maxExpires is the last second of the year 9999.
const maxExpires = 253402300799

// Validate returns what is wrong with a change.
func (c *Change) Validate() error {
	if e := c.Expires; e != nil && (math.IsNaN(*e) || *e < 0 || *e > maxExpires) {
		return fmt.Errorf("server: expires is %v: want seconds since 1970, or 0 for never", *e)
	}
	id := Identity{}
	Apply(c, &id)
	if err := Check(&id); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// Apply changes what id says of capabilities and limits.
func Apply(c *Change, id *Identity) {
	for _, l := range []struct {
		from *[]string
		to   *[]string
	}{{c.Subscribe, &id.MaySubscribe}, {c.Publish, &id.MayPublish}, {c.Presence, &id.MayReadPresence}} {
		if l.from != nil {
			*l.to = *l.from
		}
	}
	if c.Limits != nil {
		id.Limits = *c.Limits
	}
}

// ParseChange reads a change strictly: a member that is unknown, repeated or null is
// an error, since it may have been meant to take something away. The error names no value.
func ParseChange(text []byte) (c Change, err error) {
	if err := strict.Unmarshal(text, &c, "expires, subscribe, publish, presence or limits"); err != nil {
		return Change{}, err
	}
	return c, c.Validate()
}
