package api

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// inboxPage bounds the payloads in one answer to GET, in bytes.
const inboxPage = 1 << 20

// inboxMessage is a stored message in an answer.
type inboxMessage struct {
	Offset  uint64     `json:"offset"`
	Stored  time.Time  `json:"stored"`
	Expires *time.Time `json:"expires,omitzero"`
	Text    *string    `json:"text,omitzero"`
	Base64  []byte     `json:"base64,omitzero"`
}

// getInbox serves GET /v1/users/{user}/inbox?after=N: it lists stored messages after an
// offset, by default after the last acknowledged one. It acknowledges nothing.
func (a *API) getInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	st, box := a.limits.Store, store.Box{User: in.user}
	if st == nil {
		return storedProblem(server.ErrNoStore)
	}
	args := ctx.QueryArgs()
	given := args.Peek("after")
	after, err := strconv.ParseUint(string(given), 10, 63)
	if args.Has("after") && err != nil {
		return problemf(400, "bad_query", "after is %.40q: want an offset", given)
	}
	acked, _, err := st.Acked(a.quit, box, in.user)
	if err != nil {
		return readProblem(err)
	}
	if !args.Has("after") {
		after = acked
	}
	found, err := st.Read(a.quit, box, after, inboxPage)
	if err != nil {
		return readProblem(err)
	}
	answer := struct {
		User     string         `json:"user"`
		Epoch    string         `json:"epoch,omitempty"`
		Acked    uint64         `json:"acked"`
		Messages []inboxMessage `json:"messages"`
		More     int            `json:"more"` // after the last of messages
		Gap      bool           `json:"gap"`
	}{in.user, st.Epoch(box), acked, []inboxMessage{}, len(found.Rest), found.Gap}
	now := a.now()
	for i := range found.Messages {
		m := &found.Messages[i]
		if m.Expired(now) {
			continue
		}
		out := inboxMessage{Offset: m.Offset, Stored: m.Stored}
		if !m.Expires.IsZero() {
			expires := m.Expires.UTC()
			out.Expires = &expires
		}
		if m.Binary {
			out.Base64 = m.Payload
		} else {
			text := string(m.Payload)
			out.Text = &text
		}
		answer.Messages = append(answer.Messages, out)
	}
	answerJSON(ctx, answer)
	return nil
}

// deleteInbox serves DELETE /v1/users/{user}/inbox, also when the disk is full, because it
// frees space.
func (a *API) deleteInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	if a.limits.Store == nil {
		return storedProblem(server.ErrNoStore)
	}
	n, err := a.srv.Purge(a.quit, store.Box{User: in.user})
	if err != nil {
		return readProblem(err)
	}
	answerJSON(ctx, map[string]uint64{"deleted": n})
	return nil
}
