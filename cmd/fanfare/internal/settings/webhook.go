package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/presence"
	"fanfare/server/webhook"
)

// webhookFlags say which webhooks are told of events.
type webhookFlags struct {
	Webhook             []hookFlag    `help:"URL that events are posted to, followed by the events, separated by spaces: \"https://app.example.com/events user.* session.closed\"; without any, all but message.received; repeatable." placeholder:"URL" live:"yes"`
	WebhookSecretFile   string        `help:"Secrets that sign the requests, whsec_ and base64, one per line. Required with --webhook." placeholder:"FILE" live:"yes"`
	WebhookCA           string        `name:"webhook-ca" help:"Certificate authorities that verify webhooks, PEM; by default those of the system." placeholder:"FILE" live:"yes"`
	WebhookInsecureHTTP bool          `name:"webhook-insecure-http" help:"Allow http for webhooks on other machines." live:"yes"`
	WebhookQueue        size          `help:"Maximum size of the events that are not posted yet, and of dead letters." default:"64MiB"`
	WebhookAge          time.Duration `help:"Time after which events that cannot be posted become dead letters." default:"24h"`
	WebhookTimeout      time.Duration `help:"Time for a webhook to answer." default:"15s"`
	OfflineGrace        time.Duration `help:"How long a user must have no session to be offline, or to have left a presence topic." default:"10s"`
	PresenceTopic       []string      `help:"Topic whose subscribers are told which users join and leave, or a prefix such as room.*; repeatable." placeholder:"TOPIC"`
}

// hookFlag is a value of --webhook.
type hookFlag struct{ hook webhook.Hook }

// UnmarshalText reads a URL and names of events.
func (f *hookFlag) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return nil // checkEmpty rejects it
	}
	f.hook = webhook.Hook{URL: words[0], Events: words[1:]}
	if len(words) == 1 {
		f.hook.Events = nil
	}
	return nil
}

// String returns the webhook without its path and query, which may have a token.
func (f hookFlag) String() string {
	u, err := url.Parse(f.hook.URL)
	if err != nil || u.Host == "" {
		return "xxxxx"
	}
	shown := u.Scheme + "://" + u.Host
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		shown += "/xxxxx"
	}
	return strings.Join(append([]string{shown}, f.hook.Events...), " ")
}

// ofCluster are the events that one node of a cluster reports for all, see package presence.
var ofCluster = map[server.EventKind]bool{server.UserOnline: true, server.UserOffline: true, server.TopicOccupied: true, server.TopicVacated: true,
	server.MessageUnread: true}

// WebhooksDir returns the directory of what waits for webhooks in that of the store.
func WebhooksDir(dir string) string { return filepath.Join(dir, "webhooks") }

// webhooks is the configuration of the webhooks, nil if there are none. store is that of
// durable messages, nil if there is none.
func (cmd *Serve) webhooks(store *inbox.Config, log *slog.Logger) (*webhook.Config, error) {
	if len(cmd.Webhook) == 0 {
		return nil, nil
	}
	if cmd.WebhookSecretFile == "" {
		return nil, errors.New("--webhook needs --webhook-secret-file, because requests are signed")
	}
	secrets, err := webhook.ReadSecrets(cmd.WebhookSecretFile)
	if err != nil {
		return nil, fmt.Errorf("--webhook-secret-file: %w", err)
	}
	cfg := &webhook.Config{Secrets: secrets, CA: cmd.WebhookCA, InsecureHTTP: cmd.WebhookInsecureHTTP, OfflineGrace: cmd.OfflineGrace,
		MaxBytes: int64(cmd.WebhookQueue), MaxAge: cmd.WebhookAge, Timeout: cmd.WebhookTimeout, Node: cmd.NodeName, Logger: log}
	for _, f := range cmd.Webhook {
		cfg.Hooks = append(cfg.Hooks, f.hook)
	}
	if cmd.NATS != "" {
		if cmd.NodeName == "" {
			return nil, errors.New("--webhook with --nats needs --node-name, by which a node finds its events after a restart")
		}
		cfg.URL, cfg.Credentials, cfg.CAs, cfg.Cert, cfg.Key, cfg.Replicas = cmd.NATS, cmd.NATSCreds, cmd.NATSCA, cmd.NATSCert, cmd.NATSKey, cmd.NATSReplicas
	} else if store != nil {
		cfg.Dir = WebhooksDir(store.Dir)
	}
	if store != nil {
		// What is to be escalated may take as much as what is acknowledged.
		cfg.MessageAge, cfg.MaxEscalations = store.Age, store.Positions
		if cfg.MaxEscalations == 0 {
			cfg.MaxEscalations = store.Disk / 16
		}
	}
	if cfg.Node == "" {
		if cfg.Node, err = os.Hostname(); err != nil || cfg.Node == "" {
			cfg.Node = "localhost"
		}
	}
	return cfg, nil
}

// presence is the configuration of what reports who is online in a cluster, nil if no webhook,
// no topic and no Pusher app is told of it, or without a cluster.
func (cmd *Serve) presence(log *slog.Logger) *presence.Config {
	if cmd.NATS == "" || len(cmd.PresenceTopic) == 0 && cmd.PusherApps == "" && !slices.ContainsFunc(cmd.Webhook, hookFlag.ofCluster) {
		return nil
	}
	return &presence.Config{Members: len(cmd.PresenceTopic) > 0, Occupants: cmd.PusherApps != "", URL: cmd.NATS, Credentials: cmd.NATSCreds, CA: cmd.NATSCA, Cert: cmd.NATSCert, Key: cmd.NATSKey,
		Replicas: cmd.NATSReplicas, Name: cmd.NodeName, Grace: cmd.OfflineGrace, Logger: log}
}

// ofCluster reports whether a webhook is told of an event that concerns the cluster.
func (f hookFlag) ofCluster() bool {
	kinds, _ := f.hook.Kinds() // Validate reports the error
	return slices.ContainsFunc(kinds, func(k server.EventKind) bool { return ofCluster[k] })
}
