package settings

import (
	"fmt"
	"log/slog"

	"fanfare/server"
	"fanfare/server/pusher"
)

// pusherFlags say which Pusher apps are served.
type pusherFlags struct {
	PusherApps string `help:"JSON file with the apps that are served by the Pusher protocol, at /app/KEY, and its HTTP API at /apps/ID/; without it neither is." placeholder:"FILE" live:"yes"`
}

// maxAppsFile bounds the file of apps.
const maxAppsFile = 4 << 20

// apps reads the file of apps; nil: none are served. No error contains a secret.
func (f *pusherFlags) apps() ([]pusher.App, error) {
	if f.PusherApps == "" {
		return nil, nil
	}
	text, err := readFile("pusher-apps", f.PusherApps, maxAppsFile)
	if err != nil {
		return nil, err
	}
	apps, err := pusher.ParseApps(text)
	if err != nil {
		return nil, fmt.Errorf("--pusher-apps: %s: %w", f.PusherApps, err)
	}
	return apps, nil
}

// pusher returns the configuration of the apps, nil if there are none, and adds their
// durable channels to cfg.
func (cmd *Serve) pusher(cfg *server.Config, stored bool, log *slog.Logger) (*pusher.Config, error) {
	apps, err := cmd.apps()
	if apps == nil || err != nil {
		return nil, err
	}
	c := &pusher.Config{Apps: apps, Logger: log}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("--pusher-apps: %s: %w", cmd.PusherApps, err)
	}
	durable := pusher.DurableTopics(apps)
	if len(durable) > 0 && !stored {
		return nil, fmt.Errorf("--pusher-apps: %s has durable channels, which need --data-dir", cmd.PusherApps)
	}
	cfg.DurableTopics = append(cfg.DurableTopics[:len(cfg.DurableTopics):len(cfg.DurableTopics)], durable...)
	return c, nil
}
