package api

import (
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// inboxPage bounds the payloads in one answer to GET, in bytes.
const inboxPage = 1 << 20

// inboxMessage is one that is stored.
type inboxMessage struct {
	Offset  uint64     `json:"offset"`
	Stored  time.Time  `json:"stored"`
	Expires *time.Time `json:"expires,omitzero"`
	Text    *string    `json:"text,omitzero"`
	Base64  []byte     `json:"base64,omitzero"`
}

// getInbox is GET /v1/users/{user}/inbox?after=N: what the user has not read, or
// what is behind an offset. Looking at it reads nothing for the user.
func (a *API) getInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	st, box := a.limits.Store, store.Box{User: in.user}
	if st == nil {
		return pushProblem(server.ErrNoStore)
	}
	acked, _, err := st.Acked(a.quit, box, in.user)
	if err != nil {
		return storeProblem(err)
	}
	after := acked
	if args := ctx.QueryArgs(); args.Has("after") {
		n, err := args.GetUint("after")
		if err != nil {
			return problemf(400, "bad_query", "after: want an offset")
		}
		after = uint64(n)
	}
	found, err := st.Read(a.quit, box, after, inboxPage)
	if err != nil {
		return storeProblem(err)
	}
	answer := struct {
		User     string         `json:"user"`
		Epoch    string         `json:"epoch,omitempty"`
		Acked    uint64         `json:"acked"`
		Messages []inboxMessage `json:"messages"`
		More     int            `json:"more"` // after the last of messages
		Gap      bool           `json:"gap"`
	}{in.user, st.Epoch(box), acked, []inboxMessage{}, len(found.Rest), found.Gap}
	now := time.Now()
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

// deleteInbox is DELETE /v1/users/{user}/inbox.
func (a *API) deleteInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	if a.limits.Store == nil {
		return pushProblem(server.ErrNoStore)
	}
	n, err := a.limits.Store.Purge(a.quit, store.Box{User: in.user})
	if err != nil {
		return storeProblem(err)
	}
	answerJSON(ctx, map[string]uint64{"deleted": n})
	return nil
}

func storeProblem(err error) *problem { return problemf(503, "unavailable", "%s", err) }
