package pusher

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server"
)

// Service serves the apps of a Config.
type Service struct {
	// Immutable.
	log     *slog.Logger
	dialect *dialect
	now     func() time.Time
	cluster *cluster // nil: none

	srv  atomic.Pointer[server.Server] // set by Serve
	apps atomic.Pointer[directory]

	mu     sync.Mutex // held by SetApps and Close
	closed bool       // guarded by mu
}

// directory finds apps. It is immutable.
type directory struct{ byID, byKey map[string]*app }

// New makes a Service. Its Endpoint is for server.Config, and Serve joins both.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	v := &Service{log: cfg.Logger, now: time.Now}
	v.dialect = &dialect{service: v}
	if cfg.Occupancy != nil {
		v.cluster = &cluster{service: v, occupancy: cfg.Occupancy, roster: make(roster), led: make(roster)}
	}
	v.apps.Store(v.directory(cfg.Apps))
	return v, nil
}

// Serve tells the Service the server that has its Endpoint, before that is started. The error
// says what of the apps does not work with this server.
func (v *Service) Serve(srv *server.Server) error {
	cfg := srv.Config()
	if (cfg.Cluster != nil) != (v.cluster != nil) {
		return errors.New("pusher: a server with a Cluster needs Config.Occupancy, and one without does not use it: want both or neither")
	}
	for _, a := range v.apps.Load().byID {
		for _, d := range a.conf().Durable {
			if topic := a.conf().Topic(d.Channel); !slices.Contains(cfg.DurableTopics, topic) {
				return fmt.Errorf("pusher: app %q has the durable channel %q: want a server with a Store and with %q in Config.DurableTopics", a.id, d.Channel, topic)
			}
		}
	}
	v.srv.Store(srv)
	if v.cluster != nil {
		v.cluster.occupancy.ServeOccupants(v.cluster)
	}
	return nil
}

// SetApps replaces the apps while the server runs. An app whose ID is new is added, one whose ID
// is missing is removed: its clients are closed with 4001 when they next send something, which
// they do every App.ActivityTimeout. The error is that of New, or says that Durable of an app
// differs, which needs a restart; then nothing is changed.
func (v *Service) SetApps(apps []App) error {
	cfg, err := v.check(apps)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return errors.New("pusher: the service is closed")
	}
	old := v.apps.Load()
	next := v.directory(cfg.Apps)
	v.apps.Store(next)
	if v.cluster != nil {
		for _, a := range next.byID {
			a.holdAgain()
		}
	}
	closeApps(old, func(id string) bool { return next.byID[id] == nil })
	return nil
}

// CheckApps returns the error with which SetApps would reject apps.
func (v *Service) CheckApps(apps []App) error {
	_, err := v.check(apps)
	return err
}

func (v *Service) check(apps []App) (cfg Config, err error) {
	cfg = Config{Apps: apps, Logger: v.log}
	if err := cfg.validate(); err != nil {
		return cfg, err
	}
	for _, conf := range cfg.Apps {
		var durable []Durable
		if a := v.apps.Load().byID[conf.ID]; a != nil {
			durable = a.conf().Durable
		}
		if !slices.Equal(durable, conf.Durable) {
			return cfg, fmt.Errorf("pusher: app %q: durable changes with a restart only", conf.ID)
		}
	}
	return cfg, nil
}

// directory makes a directory of valid apps. An app that exists goes on with its clients.
func (v *Service) directory(apps []App) *directory {
	d := &directory{make(map[string]*app, len(apps)), make(map[string]*app, len(apps))}
	known := map[string]*app{}
	if old := v.apps.Load(); old != nil {
		known = maps.Clone(old.byID)
	}
	for i := range apps {
		a := known[apps[i].ID]
		if a == nil {
			a = newApp(v, apps[i].ID)
		}
		a.configure(&apps[i])
		d.byID[apps[i].ID], d.byKey[apps[i].Key] = a, a
	}
	return d
}

// Close ends the webhooks: what is queued is sent once more, within a second. It is called after
// the server's Shutdown.
func (v *Service) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	closeApps(v.apps.Load(), func(string) bool { return true })
}

// closeApps closes apps at the same time: each may wait for its webhooks.
func closeApps(d *directory, ends func(id string) bool) {
	var closing sync.WaitGroup
	for id, a := range d.byID {
		if ends(id) {
			closing.Go(a.close)
		}
	}
	closing.Wait()
}

// Endpoint returns the endpoint for clients, at /app/{key}.
func (v *Service) Endpoint() server.Endpoint {
	return server.Endpoint{
		Path: "/app/*", Identifier: v.identify, NonBlocking: true,
		Dialects: []server.Dialect{v.dialect}, AllowOrigins: []string{"*"},
		Hooks: server.Hooks{
			OnOpen: v.opened, OnTopic: v.topicChanged, OnClose: v.sessionClosed,
			OnHandOver: v.handOver, OnTakeOver: v.takeOver,
		},
	}
}
