package pusher

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server/node"
)

// Config configures a Service.
type Config struct {
	Apps []App
	// Occupancy shares what the nodes of a cluster know of channels, such as a presence.Service with
	// Config.Occupants. A server with a Cluster needs it, and all nodes the same apps.
	Occupancy node.Occupancy
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// App is an application: what an account at pusher.com calls by the same names. The zero value
// of a limit is its default.
type App struct {
	ID     string `json:"id"`     // in the paths of the HTTP API
	Key    string `json:"key"`    // in the path of clients; not a secret
	Secret string `json:"secret"` // signs

	// Disabled: clients are closed with 4003, and the HTTP API answers 403.
	Disabled bool `json:"disabled"`
	// AllowedOrigins are the origins of pages that may connect, as in server.Config. Empty:
	// all, because the protocol relies on no cookie.
	AllowedOrigins []string `json:"allowed_origins"`
	// MaxConnections are closed with 4004 beyond that. 0: no limit but the server's.
	MaxConnections int `json:"max_connections"`
	// ActivityTimeout is after how many seconds without a message a client pings. 0: 120.
	ActivityTimeout int `json:"activity_timeout"`
	// ClientEvents lets subscribers of private and presence channels send events to the others.
	ClientEvents bool `json:"client_events"`
	// ClientEventsPerSecond bounds those of one connection. 0: 10.
	ClientEventsPerSecond int `json:"client_events_per_second"`
	// MaxEventBytes bounds the data of an event. 0: 10,240.
	MaxEventBytes int `json:"max_event_bytes"`
	// MaxEventChannels bounds the channels of an event. 0: 100.
	MaxEventChannels int `json:"max_event_channels"`
	// MaxBatch bounds the events of one batch. 0: 10.
	MaxBatch int `json:"max_batch"`
	// MaxMembers bounds the users of a presence channel. 0: 100.
	MaxMembers int `json:"max_members"`
	// MaxWatched bounds the users that a user watches. 0: 100.
	MaxWatched int `json:"max_watched"`
	// SubscriptionCount reports the number of subscribers to them, at most once a second for
	// each channel.
	SubscriptionCount bool `json:"subscription_count"`
	// CacheSeconds is how long a cache channel keeps its last event. 0: 1,800.
	CacheSeconds int `json:"cache_seconds"`
	// MaxCacheBytes bounds the events that the cache channels keep together. 0: 16 MiB.
	MaxCacheBytes int `json:"max_cache_bytes"`

	// Durable are channels whose messages are stored for subscribers that are away. They need a
	// server with a Store, and do not change while the server runs.
	Durable []Durable `json:"durable"`

	Webhooks []Webhook `json:"webhooks"`
}

// Webhook is a URL that learns of events.
type Webhook struct {
	URL string `json:"url"`
	// Events are its kinds: channel_occupied, channel_vacated, member_added, member_removed,
	// client_event, cache_miss, subscription_count. Empty: all.
	Events []string `json:"events"`
	// InsecureHTTP allows http for hosts other than loopback.
	InsecureHTTP bool `json:"insecure_http"`
}

// ParseApps reads {"apps":[{"id":…,"key":…,"secret":…}]} strictly. The error names no secret.
func ParseApps(text []byte) ([]App, error) {
	var doc struct {
		Apps []App `json:"apps"`
	}
	if err := json.Unmarshal(text, &doc, json.RejectUnknownMembers(true)); err != nil {
		// The text of a value may be a secret.
		if e, ok := errors.AsType[*json.SemanticError](err); ok {
			if errors.Is(e.Err, json.ErrUnknownName) {
				return nil, fmt.Errorf("pusher: unknown member %q", string(e.JSONPointer))
			}
			return nil, fmt.Errorf("pusher: the value of %q has the wrong type", string(e.JSONPointer))
		}
		return nil, errors.New("pusher: the apps are not valid JSON")
	}
	return doc.Apps, nil
}

// minSecret is the shortest secret, as for the keys of package api.
const minSecret = 16

var appName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
var keyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate returns the error with which New would reject cfg.
func (cfg Config) Validate() error { return cfg.validate() }

// validate fills in defaults, and returns what is wrong with cfg.
func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Apps = slices.Clone(cfg.Apps)
	var errs []error
	ids, keys := map[string]bool{}, map[string]bool{}
	for i := range cfg.Apps {
		app := &cfg.Apps[i]
		if ids[app.ID] {
			errs = append(errs, fmt.Errorf("two apps have the id %q", app.ID))
		}
		if keys[app.Key] {
			errs = append(errs, fmt.Errorf("two apps have the key %q", app.Key))
		}
		ids[app.ID], keys[app.Key] = true, true
		if err := app.validate(); err != nil {
			errs = append(errs, fmt.Errorf("app %q: %w", app.ID, err))
		}
	}
	if len(cfg.Apps) == 0 {
		errs = append(errs, errors.New("there is no app"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("pusher: %w", errors.Join(errs...))
	}
	return nil
}

func (app *App) validate() error {
	var errs []error
	if !appName.MatchString(app.ID) {
		errs = append(errs, errors.New("id: want 1 to 32 letters, digits, _ or -"))
	}
	if !keyName.MatchString(app.Key) {
		errs = append(errs, fmt.Errorf("key is %.80q: want 1 to 64 letters, digits, _ or -", app.Key))
	}
	if len(app.Secret) < minSecret {
		errs = append(errs, fmt.Errorf("secret has %d bytes: want at least %d", len(app.Secret), minSecret))
	}
	for _, f := range []struct {
		name     string
		v        *int
		def, top int
	}{
		{"max_connections", &app.MaxConnections, 0, 1 << 30},
		{"activity_timeout", &app.ActivityTimeout, 120, 3600},
		{"client_events_per_second", &app.ClientEventsPerSecond, 10, 10_000},
		{"max_event_bytes", &app.MaxEventBytes, 10 << 10, 1 << 20},
		{"max_event_channels", &app.MaxEventChannels, 100, 10_000},
		{"max_batch", &app.MaxBatch, 10, 1000},
		{"max_members", &app.MaxMembers, 100, 100_000},
		{"max_watched", &app.MaxWatched, 100, 10_000},
		{"cache_seconds", &app.CacheSeconds, 1800, 24 * 3600},
		{"max_cache_bytes", &app.MaxCacheBytes, 16 << 20, 1 << 30},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 || *f.v > f.top {
			errs = append(errs, fmt.Errorf("%s is %d: want 1 to %d, or 0 for the default", f.name, *f.v, f.top))
		}
	}
	for _, o := range app.AllowedOrigins {
		if o != "*" && !strings.Contains(o, "://") {
			errs = append(errs, fmt.Errorf("allowed_origins has %q: want an origin such as https://app.example.com, https://*.example.com, or *", o))
		}
	}
	for i := range app.Durable {
		if err := app.Durable[i].validate(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, hook := range app.Webhooks {
		if _, err := hook.target().Client(1); err != nil {
			errs = append(errs, fmt.Errorf("webhook: %w", err))
		}
		for _, kind := range hook.Events {
			if !slices.Contains(eventKinds, kind) {
				errs = append(errs, fmt.Errorf("webhook: unknown event %q: want %s", kind, strings.Join(eventKinds, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}

// topicPrefix begins the topics of all apps, and the users of their sessions.
const topicPrefix = "pusher/"

// Topic returns the topic of the server that a channel of the app is.
func (app *App) Topic(channel string) string { return topicPrefix + app.ID + "/" + channel }

// DurableTopics returns what server.Config.DurableTopics must have for App.Durable.
func DurableTopics(apps []App) (topics []string) {
	for i := range apps {
		for _, d := range apps[i].Durable {
			topics = append(topics, apps[i].Topic(d.Channel))
		}
	}
	return topics
}

func (app *App) cacheTTL() time.Duration { return time.Duration(app.CacheSeconds) * time.Second }
