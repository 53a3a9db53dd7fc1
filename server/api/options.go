package api

import (
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/node"
)

// This file reads the options of messages that are not stored.

// readOptions reads the options from the query.
func readOptions(args *fasthttp.Args) (o server.MessageOptions, p *problem.Problem) {
	if args.Len() == 0 {
		return o, nil // most requests
	}
	if args.Has("receipt") {
		switch text := string(args.Peek("receipt")); text {
		case "true", "1":
			o.Receipt = true
		case "false", "0":
		default:
			return o, problem.Errorf(400, "bad_query", "receipt is %.40q: want true or false", text)
		}
	}
	if args.Has("conflate") {
		o.Conflate = string(args.Peek("conflate"))
		if p := checkConflate("bad_query", o.Conflate); p != nil {
			return o, p
		}
	}
	if args.Has("rate") {
		o.Interval, p = readRate("bad_query", string(args.Peek("rate")), o.Conflate)
	}
	return o, p
}

// readRate reads the rate of messages with a name.
func readRate(code, text, name string) (interval time.Duration, p *problem.Problem) {
	if name == "" {
		return 0, problem.Errorf(400, code, "rate is for messages with conflate: name what the message is about, or remove rate")
	}
	interval, err := node.ParseRate(text)
	if err != nil {
		return 0, problem.Errorf(400, code, "rate is %.40q: %s", text, err)
	}
	return interval, nil
}

// checkConflate checks a name that was given.
func checkConflate(code, name string) *problem.Problem {
	if name == "" {
		return problem.Errorf(400, code, "conflate is empty: give it a value, or remove it")
	}
	if err := node.CheckConflate(name); err != nil {
		return problem.Errorf(400, code, "conflate: %s", err)
	}
	return nil
}

// newMessage is server.NewMessage with options that are checked.
func newMessage(op server.Op, payload []byte, o server.MessageOptions) (*server.Message, *problem.Problem) {
	if o == (server.MessageOptions{}) {
		return server.NewMessage(op, payload), nil
	}
	m, err := server.NewMessageWith(op, payload, o)
	if err != nil {
		return nil, problem.Errorf(400, "bad_query", "%s", err)
	}
	return m, nil
}
