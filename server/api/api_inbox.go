package server

import (
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server/inbox"
)

// inboxPage bounds the payloads in one answer to GET, in bytes.
const inboxPage = 1 << 20

// inboxMessage is one that is stored.
type inboxMessage struct {
	Offset  uint64     `json:"offset"`
	Stored  time.Time  `json:"stored"`
	Expires *time.Time `json:"expires,omitempty"`
	Text    *string    `json:"text,omitempty"`
	Base64  []byte     `json:"base64,omitempty"`
}

// getInbox is GET /v1/users/{user}/inbox?after=N: what the user has not read, or
// what is behind an offset. Looking at it reads nothing for the user.
func (a *api) getInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	u := a.srv.unread
	if u == nil {
		return durableProblem(ErrNoInbox)
	}
	acked, _, err := u.store.Acked(a.srv.quit, inbox.User(in.user), in.user)
	if err != nil {
		return unreadable(err)
	}
	after := acked
	if args := ctx.QueryArgs(); args.Has("after") {
		n, err := args.GetUint("after")
		if err != nil {
			return problemf(400, "bad_query", "after: want an offset")
		}
		after = uint64(n)
	}
	found, err := u.store.Read(a.srv.quit, inbox.User(in.user), after, inboxPage)
	if err != nil {
		return unreadable(err)
	}
	answer := struct {
		User     string         `json:"user"`
		Acked    uint64         `json:"acked"`
		Messages []inboxMessage `json:"messages"`
		More     int            `json:"more"` // behind the last of messages
		Gap      bool           `json:"gap"`
	}{in.user, acked, []inboxMessage{}, len(found.Rest), found.Gap}
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
func (a *api) deleteInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	u := a.srv.unread
	if u == nil {
		return durableProblem(ErrNoInbox)
	}
	n, err := u.store.Purge(a.srv.quit, inbox.User(in.user))
	if err != nil {
		return unreadable(err)
	}
	answerJSON(ctx, map[string]uint64{"deleted": n})
	return nil
}

func unreadable(err error) *problem { return problemf(503, "unavailable", "%s", err) }
