package main

import (
	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/server"
	"fanfare/server/pusher"
)

// servePusher makes the service of the apps, and adds its endpoint and its HTTP API to the public
// listener.
func (p *program) servePusher(cfg *server.Config, apps *pusher.Config) (err error) {
	conf := *apps
	if cfg.Cluster != nil {
		conf.Occupancy = p.presence
	}
	if p.pusher, err = pusher.New(conf); err != nil {
		return err
	}
	like := &cfg.Endpoints[0]
	ep := p.pusher.Endpoint()
	ep.Rate, ep.Rules, ep.Compress, ep.AllowQuery = like.Rate, like.Rules, like.Compress, like.AllowQuery
	cfg.Endpoints = append(cfg.Endpoints[:len(cfg.Endpoints):len(cfg.Endpoints)], ep)
	cfg.Fallback = p.pusher.Handler(cfg.Fallback)
	return nil
}

func (p *program) reloadPusher(next *settings.Plan) (func() error, error) {
	if p.pusher == nil || next.Pusher == nil {
		return func() error { return nil }, nil
	}
	if err := p.pusher.CheckApps(next.Pusher.Apps); err != nil {
		return nil, err
	}
	return func() error { return p.pusher.SetApps(next.Pusher.Apps) }, nil
}
