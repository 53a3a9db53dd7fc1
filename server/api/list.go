package api

import (
	"encoding/base64"
	"errors"

	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

// This file has what the lists of users, topics and sessions have in common: pages and cursors.

// sessionQuery are the parameters of a page of a user's sessions, besides topic.
var sessionQuery = []string{"node", "dialect", "after", "limit"}

// listKind is the first byte of a cursor, so that one of another list is an error.
type listKind byte

const (
	userList    listKind = 'u'
	topicList   listKind = 't'
	sessionList listKind = 's'
)

// cursor returns the parameter after of the page that follows a key.
func (k listKind) cursor(key string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte(k)}, key...))
}

// readCursor returns the key in the parameter after, empty if there is none.
func (k listKind) readCursor(args *fasthttp.Args) (string, *problem.Problem) {
	if !args.Has("after") {
		return "", nil
	}
	given := args.Peek("after")
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(given))
	if err != nil || len(b) < 2 || b[0] != byte(k) {
		return "", problem.Errorf(400, "bad_query", "after is %.40q: want next of the page before, of the same list", given)
	}
	return string(b[1:]), nil
}

// readPage reads listQuery.
func (k listKind) readPage(args *fasthttp.Args) (q server.PageQuery, p *problem.Problem) {
	if q.After, p = k.readCursor(args); p != nil {
		return q, p
	}
	q.Prefix = string(args.Peek("prefix"))
	if args.Has("prefix") && q.Prefix == "" {
		return q, problem.Errorf(400, "bad_query", "prefix is empty: give it a value, or remove it")
	}
	q.Limit, p = query.Limit(args, defaultPage, server.MaxPage)
	return q, p
}

// listProblem returns the answer to a list, or to a close, that failed.
func listProblem(err error) *problem.Problem {
	switch {
	case errors.Is(err, registry.ErrName):
		return problem.Errorf(400, "bad_name", "%s", err)
	case errors.Is(err, server.ErrPage):
		return problem.Errorf(400, "bad_query", "%s", err)
	}
	return pushProblem(err)
}
