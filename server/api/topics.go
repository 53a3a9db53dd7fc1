package api

import (
	"errors"

	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
)

// getTopics serves GET /v1/topics?prefix=&after=&limit=: it lists topics that have subscribers.
func (a *API) getTopics(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	q, p := topicList.readPage(ctx.QueryArgs())
	if p != nil {
		return p
	}
	list, err := a.srv.Topics(a.quit, q)
	if err != nil {
		return listProblem(err)
	}
	answer := struct {
		coverage
		Topics []server.TopicSubscribers `json:"topics"`
		Next   string                    `json:"next,omitempty"`
	}{coverage: coverageOf(list.Coverage), Topics: list.Topics}
	if list.More {
		answer.Next = topicList.cursor(list.Topics[len(list.Topics)-1].Topic)
	}
	answerJSON(ctx, answer)
	return nil
}

// getTopic serves GET /v1/topics/{topic}: it counts the subscribers.
func (a *API) getTopic(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.Subscribers(a.quit, in.topic)
	if err != nil {
		return pushProblem(err)
	}
	answerJSON(ctx, struct {
		Topic       string `json:"topic"`
		Subscribers int    `json:"subscribers"`
		coverage
	}{in.topic, d.Receivers, coverageOf(d.Coverage)})
	return nil
}

// getSubscribers serves GET /v1/topics/{topic}/sessions.
func (a *API) getSubscribers(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	list := a.srv.TopicSessions(a.quit, in.topic)
	answerJSON(ctx, struct {
		Topic string `json:"topic"`
		coverage
		Sessions []server.SessionInfo `json:"sessions"`
	}{in.topic, coverageOf(list.Coverage), list.Sessions})
	return nil
}

// putSubscriber serves PUT /v1/topics/{topic}/users/{user}: it subscribes the sessions that
// the user has now.
func (a *API) putSubscriber(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.SubscribeUser(a.quit, in.user, in.topic)
	switch {
	case errors.Is(err, registry.ErrTooManyTopics):
		return problem.Errorf(409, "too_many_topics", "a session has %d subscriptions, its limit; %d sessions of this user subscribe to the topic now", a.srv.Config().TopicsPerSession, d.Receivers)
	case errors.Is(err, server.ErrTooBig), errors.Is(err, server.ErrInvalidCommand):
		return pushProblem(err)
	case d.Receivers == 0 && d.Complete(): // if err is not nil, the sessions have ended meanwhile
		return noSession
	}
	answerCount(ctx, "sessions", d)
	return nil
}

// deleteSubscriber serves DELETE /v1/topics/{topic}/users/{user}. A user without a session is
// an error; a user whose sessions do not subscribe to the topic is not.
func (a *API) deleteSubscriber(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	if list := a.srv.Sessions(a.quit, in.user); len(list.Sessions) == 0 && list.Complete() {
		return noSession
	}
	d, err := a.srv.UnsubscribeUser(a.quit, in.user, in.topic)
	if err != nil {
		return pushProblem(err)
	}
	answerCount(ctx, "sessions", d)
	return nil
}
