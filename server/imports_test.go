package server

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Packages of this module, as the rules name them.
var (
	leaves = []string{"fanfare/netpoll", "fanfare/frame", "fanfare/registry"}
	// adapters use the server, or its contracts, and bring in a library each.
	adapters = []string{
		"fanfare/server/acme", "fanfare/server/api", "fanfare/server/auth", "fanfare/server/cluster", "fanfare/server/connecthook", "fanfare/server/console",
		"fanfare/server/fasthttpmount", "fanfare/server/inbox", "fanfare/server/keep", "fanfare/server/messagehook", "fanfare/server/messagenats", "fanfare/server/presence", "fanfare/server/pusher", "fanfare/server/sse", "fanfare/server/ticket", "fanfare/server/webhook",
	}
	internal = []string{
		"fanfare/internal/leak", "fanfare/internal/similar",
		"fanfare/server/internal/allnodes", "fanfare/server/internal/audience", "fanfare/server/internal/breaker", "fanfare/server/internal/callout", "fanfare/server/internal/conflate", "fanfare/server/internal/drain", "fanfare/server/internal/fallback", "fanfare/server/internal/fanfarev1", "fanfare/server/internal/fanout",
		"fanfare/server/internal/field", "fanfare/server/internal/gate",
		"fanfare/server/internal/guard", "fanfare/server/internal/handshake", "fanfare/server/internal/history", "fanfare/server/internal/hook", "fanfare/server/internal/interest", "fanfare/server/internal/lane", "fanfare/server/internal/limit",
		"fanfare/server/internal/natsconn", "fanfare/server/internal/natstest", "fanfare/server/internal/operate", "fanfare/server/internal/pace", "fanfare/server/internal/presence", "fanfare/server/internal/proxyproto", "fanfare/server/internal/receipt", "fanfare/server/internal/rejectlog", "fanfare/server/internal/roster",
		"fanfare/server/internal/replay",
		"fanfare/server/internal/secure", "fanfare/server/internal/strict", "fanfare/server/internal/tlsrecord", "fanfare/server/internal/trace", "fanfare/server/internal/handover",
	}
	// shared is what several adapters have in common; it knows the server.
	shared = []string{"fanfare/server/internal/inbound"}
	// fixtures start a server for the tests of several packages.
	fixtures = []string{"fanfare/server/internal/hooktest"}
	// clients are programs at the other end.
	clients = []string{"fanfare/client", "fanfare/client/js/build"}
	// parts are what package inbox is made of; Go keeps others from importing them.
	parts = []string{
		"fanfare/server/inbox/internal/account", "fanfare/server/inbox/internal/bloom", "fanfare/server/inbox/internal/datadir", "fanfare/server/inbox/internal/publisher", "fanfare/server/inbox/internal/subject",
	}
	// apiParts are what package api is made of.
	apiParts = []string{
		"fanfare/server/api/internal/answers", "fanfare/server/api/internal/body", "fanfare/server/api/internal/header", "fanfare/server/api/internal/metrics", "fanfare/server/api/internal/places",
		"fanfare/server/api/internal/problem", "fanfare/server/api/internal/profile", "fanfare/server/api/internal/query",
	}
)

// The arrows: a package imports only what is below it.
//
//	cmd → adapters → server → {internal, store, leaves}
var arrows = []struct {
	from  []string
	never []string // these packages and what is under them
	but   []string // exceptions
	why   string
}{
	{leaves, []string{"fanfare"}, nil,
		"the leaves know nothing of each other and of the server, so that each is understood, tested and replaced alone"},
	{[]string{"fanfare/netpoll"}, []string{"github.com/gobwas/ws"}, nil,
		"the poller moves bytes; what they mean is not its business"},
	{[]string{"fanfare/frame", "fanfare/registry", "fanfare/server/internal/fanfarev1", "fanfare/server/internal/handshake", "fanfare/server/internal/presence", "fanfare/server/internal/replay", "fanfare/server/internal/tlsrecord", "fanfare/server/store"}, []string{"net", "os"}, []string{"net/http", "net/netip", "net/url", "net/textproto"},
		"they take bytes and values: no descriptor can make them wait"},
	{[]string{"fanfare/server/store"}, []string{"fanfare"}, nil,
		"a contract that programs implement brings nothing with it"},
	{[]string{"fanfare/server/node"}, []string{"fanfare"}, []string{"fanfare/frame", "fanfare/registry", "fanfare/server/where"},
		"a contract that programs implement: its values are those of the leaves"},
	{[]string{"fanfare/server/identity"}, []string{"fanfare"}, []string{"fanfare/registry", "fanfare/server/internal/handshake", "fanfare/server/internal/strict", "fanfare/server/where"},
		"an identity is names and limits, whatever proves it"},
	{[]string{"fanfare/server/stats"}, []string{"fanfare"}, []string{"fanfare/frame", "fanfare/netpoll"},
		"counters know nothing of what they count"},
	{[]string{"fanfare/server/revoke"}, []string{"fanfare"}, []string{"fanfare/server/internal/field", "fanfare/server/internal/strict"},
		"revocations, and the contract of what stores them, bring nothing with them"},
	{[]string{"fanfare/server/where"}, []string{"fanfare"}, nil,
		"an expression is text about text, whatever is selected"},
	{[]string{"fanfare/server/listen"}, []string{"fanfare"}, nil,
		"an address becomes a listener, whatever serves it"},
	{[]string{"fanfare/server/internal/history", "fanfare/server/internal/replay"}, []string{"fanfare"}, []string{"fanfare/server/store"},
		"the delivery of stored messages knows a store and a receiver by interface, so that a model can test it"},
	{internal, append([]string{"fanfare/cmd", "fanfare/server"}, adapters...), []string{"fanfare/server/internal", "fanfare/server/store", "fanfare/server/node", "fanfare/server/where"},
		"what the server is made of does not know the server"},
	{[]string{"fanfare/server"}, append([]string{"fanfare/cmd"}, adapters...), nil,
		"an embedder pays for the server only"},
	{[]string{"fanfare/server"}, []string{"fanfare/server/internal/natsconn"}, nil,
		"NATS ends in the packages inbox, cluster, messagenats, presence and webhook"},
	{adapters, append([]string{"fanfare/cmd", "fanfare/netpoll"}, adapters...), slices.Concat(parts, apiParts),
		"an adapter can be used without the others, and sees the server, not its connections"},
	{[]string{"fanfare/server/inbox"}, []string{"fanfare/server"}, append([]string{"fanfare/server/store", "fanfare/server/revoke", "fanfare/server/internal"}, parts...),
		"the store implements a contract and can be used without a server"},
	{parts, []string{"fanfare", "github.com/nats-io"}, append([]string{"fanfare/server/store", "fanfare/server/internal/field"}, parts...),
		"the files of a store are read without a NATS and without the store"},
	{apiParts, []string{"fanfare"}, append([]string{"fanfare/internal/similar", "fanfare/registry", "fanfare/server/internal/limit", "fanfare/server/stats"}, apiParts...),
		"what the API is made of knows neither the API nor the server"},
	{slices.Concat(shared, fixtures), append([]string{"fanfare/cmd"}, adapters...), nil,
		"what serves several packages knows none of them"},
	{clients, []string{"fanfare"}, nil,
		"a client needs nothing of the server"},
	{[]string{"fanfare/cmd/fanfare"}, append([]string{"fanfare/server/internal"}, leaves...), nil,
		"the program uses what any embedder may use"},
}

// Libraries that end in the package that they are for: no other package imports them.
var libraries = []struct{ library, packages string }{
	{"github.com/valyala/fasthttp", "api fasthttpmount"},
	{"github.com/prometheus", "api"},
	{"github.com/nats-io", "acme inbox cluster messagenats presence webhook internal/natsconn internal/natstest"},
	{"github.com/caddyserver/certmagic", "acme"},
	{"github.com/mholt/acmez", "acme"},
	{"go.uber.org/zap", "acme"},
	{"github.com/golang-jwt", "auth"},
	{"github.com/MicahParks/jwkset", "auth"},
	{"github.com/sony/gobreaker", "internal/breaker"},
	{"github.com/alecthomas/kong", "cmd"},
	{"github.com/mailru/easygo", "netpoll"},
	{"github.com/coder/websocket", "client"},
	{"fanfare/internal/leak", "tests"},
	{"fanfare/server/internal/natstest", "tests"},
	{"fanfare/server/internal/hooktest", "tests"},
}

func under(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

func underAny(pkg string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return under(pkg, root) })
}

// violation returns the reason why a package must not import another one; empty: it may.
func violation(from, to string) string {
	for _, a := range arrows {
		if slices.Contains(a.from, from) && from != to && underAny(to, a.never) && !underAny(to, a.but) {
			return a.why
		}
	}
	for _, l := range libraries {
		if under(to, l.library) && !slices.ContainsFunc(strings.Fields(l.packages), func(p string) bool {
			return under(from, "fanfare/"+p) || under(from, "fanfare/server/"+p)
		}) {
			return "the library ends in " + l.packages
		}
	}
	return ""
}

func TestImports(t *testing.T) {
	root := os.DirFS("..")
	seen := make(map[string][]string)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." {
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Join("fanfare", path.Dir(name))
		for _, spec := range f.Imports {
			to, _ := strconv.Unquote(spec.Path.Value)
			if why := violation(from, to); why != "" {
				t.Errorf("%s imports %s: %s", name, to, why)
			}
			seen[from] = append(seen[from], to)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{leaves, adapters, internal, parts, apiParts, shared, fixtures, clients} {
		for _, pkg := range list {
			if _, ok := seen[pkg]; !ok {
				t.Errorf("package %s was not seen: was it renamed?", pkg)
			}
		}
	}
	for from := range seen {
		known := from == "fanfare/server" || from == "fanfare/server/store" || from == "fanfare/server/node" || from == "fanfare/server/identity" || from == "fanfare/server/stats" || from == "fanfare/server/revoke" || from == "fanfare/server/listen" || from == "fanfare/server/where" || under(from, "fanfare/cmd") ||
			slices.Contains(leaves, from) || slices.Contains(adapters, from) || slices.Contains(internal, from) || slices.Contains(parts, from) || slices.Contains(apiParts, from) || slices.Contains(shared, from) || slices.Contains(fixtures, from) || slices.Contains(clients, from)
		if !known {
			t.Errorf("package %s has no place in the rules", from)
		}
	}
	if !slices.Contains(seen["fanfare/server"], "fanfare/netpoll") || !slices.Contains(seen["fanfare/cmd/fanfare"], "fanfare/server") {
		t.Error("the test looks in the wrong place")
	}
}

// The rules find what they are made for.
func TestImportRules(t *testing.T) {
	for _, test := range []struct {
		from, to string
		allowed  bool
	}{
		{"fanfare/netpoll", "fanfare/frame", false},
		{"fanfare/frame", "net", false},
		{"fanfare/registry", "os", false},
		{"fanfare/server/store", "fanfare/server", false},
		{"fanfare/server/internal/replay", "fanfare/server/store", true},
		{"fanfare/server/internal/replay", "fanfare/netpoll", false},
		{"fanfare/server/internal/limit", "fanfare/server", false},
		{"fanfare/server", "fanfare/server/inbox", false},
		{"fanfare/server", "fanfare/server/internal/replay", true},
		{"fanfare/server", "github.com/nats-io/nats.go", false},
		{"fanfare/server", "github.com/valyala/fasthttp", false},
		{"fanfare/server/api", "fanfare/server/auth", false},
		{"fanfare/server/api", "github.com/valyala/fasthttp/fasthttpadaptor", true},
		{"fanfare/server/auth", "github.com/prometheus/client_golang/prometheus", false},
		{"fanfare/server/inbox", "fanfare/server", false},
		{"fanfare/server/inbox", "fanfare/server/store", true},
		{"fanfare/server/inbox", "fanfare/server/inbox/internal/account", true},
		{"fanfare/server/inbox/internal/account", "fanfare/server/inbox", false},
		{"fanfare/server/inbox/internal/account", "github.com/nats-io/nats.go", false},
		{"fanfare/client", "fanfare/server", false},
		{"fanfare/server", "fanfare/internal/leak", false},
		{"fanfare/server", "github.com/coder/websocket", false},
		{"fanfare/client", "github.com/coder/websocket", true},
		{"fanfare/cmd/fanfare", "fanfare/netpoll", false},
		{"fanfare/cmd/fanfare", "fanfare/server/api", true},
	} {
		if why := violation(test.from, test.to); (why == "") != test.allowed {
			t.Errorf("%s → %s: allowed %t, want %t (%s)", test.from, test.to, why == "", test.allowed, why)
		}
	}
}

// A program that embeds the server links no library that it may not need, not even
// indirectly. Each of these is several MiB of binary, goroutines or init functions.
func TestDependenciesOfAnEmbedder(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "fanfare/server").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "fanfare/frame") {
		t.Fatalf("go list names %q", deps)
	}
	for _, dep := range deps {
		for _, heavy := range []string{"github.com/nats-io", "github.com/prometheus", "github.com/valyala", "github.com/golang-jwt", "github.com/alecthomas", "github.com/coder/websocket", "github.com/caddyserver", "go.uber.org"} {
			if under(dep, heavy) {
				t.Errorf("fanfare/server depends on %s", dep)
			}
		}
		if underAny(dep, adapters) {
			t.Errorf("fanfare/server depends on %s", dep)
		}
	}
}
