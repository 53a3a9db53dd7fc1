package api

import (
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/body"
	"fanfare/server/api/internal/problem"
	"fanfare/server/store"
)

var errInternal = problem.Errorf(500, "internal", "internal error; the log of the server has the details")

var errPanic = errors.New("api: panic")

// unreadable answers a request whose head fasthttp could not read. The connection is closed
// afterwards, because the start of the next request is unknown.
func (a *API) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p := problem.Errorf(400, "bad_request", "the request is not HTTP/1.1 that the server understands")
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		p = problem.Errorf(431, "head_too_long", "the head of the request is longer than %d bytes", maxHead)
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		p = problem.Errorf(501, "unsupported_encoding", "the Transfer-Encoding is not supported: want chunked") // RFC 9112, 6.1
	case body.IsTimeout(err):
		p = problem.Errorf(408, "timeout", "the request did not arrive in time")
	}
	p.Answer(&ctx.Response)
	setUnread(ctx, true)
	a.requests.count(nil, p.Status)
}

// pushProblem returns the answer to a push, or a command to sessions, that failed as a whole.
func pushProblem(err error) *problem.Problem {
	switch {
	case errors.Is(err, server.ErrTooBig):
		return problem.Errorf(413, "too_big", "%s", err)
	case errors.Is(err, errPanic):
		return errInternal
	}
	return problem.Errorf(503, "unavailable", "nothing was sent: %s", err)
}

// storedProblem returns the answer to a durable push that failed.
func storedProblem(err error) *problem.Problem {
	switch {
	case errors.Is(err, server.ErrNoStore):
		return problem.Errorf(501, "no_inbox", "the server stores no messages: it was started without a store")
	case errors.Is(err, server.ErrNoEscalator):
		return problem.Errorf(501, "no_escalation", "escalate needs a webhook that is told of message.unread: %s", strings.TrimPrefix(err.Error(), "server: "))
	case errors.Is(err, server.ErrEscalation):
		return problem.Errorf(400, "bad_escalate", "escalate: %s", strings.TrimPrefix(err.Error(), server.ErrEscalation.Error()+": "))
	case errors.Is(err, server.ErrNotDurable):
		return problem.Errorf(409, "not_durable", "a topic is not durable: name it among the durable topics of the server, or remove durable")
	case errors.Is(err, store.ErrFull):
		return problem.Errorf(507, "inbox_full", "%s", err)
	case errors.Is(err, store.ErrDiskFull):
		return problem.Errorf(507, "disk_full", "the message may not be stored; repeat it with the same id: %s", err)
	case errors.Is(err, store.ErrTooBig), errors.Is(err, server.ErrTooBig):
		return problem.Errorf(413, "too_big", "%s", err)
	case errors.Is(err, store.ErrTTL):
		return problem.Errorf(400, "bad_ttl", "%s: want a shorter ttl, or none", err)
	case errors.Is(err, store.ErrIDReused):
		return problem.Errorf(422, "id_reused", "%s: give another message another id, and repeat a message unchanged", err)
	case errors.Is(err, errPanic):
		return errInternal
	}
	return problem.Errorf(503, "unavailable", "the message may not be stored; repeat it with the same id: %s", err)
}

// readProblem returns the answer to a failed request to list or delete stored messages.
func readProblem(err error) *problem.Problem {
	if errors.Is(err, store.ErrDiskFull) {
		return problem.Errorf(507, "disk_full", "%s", err)
	}
	return problem.Errorf(503, "unavailable", "%s", err)
}
